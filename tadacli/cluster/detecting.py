"""What a worker of `tada detect` and of `tada features` does with one video: what the commands do, to the byte."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tadacli.cluster.dividing import Dividing, ShareError, write_journal
from tadacli.cluster.models import loaded
from tadacli.detection.detecting import detection_job
from tadacli.detection.extraction import Extraction, extraction_row, feature_job, iter_features, shared_snippets
from tadacli.detection.feature_layouts import FeatureStore, settings_for
from tadacli.detection.jobs import iter_detections
from tadacli.detection.score_file import write_scores
from tadacli.formats.detection_rows import detection_row
from tadacli.results import Detection
from tadacli.video.inputs import file_size
from tadacli.video.stores import whole_files

if TYPE_CHECKING:
    from tadacli.cluster.items import Item
    from tadacli.cluster.work import DetectWork, FeaturesWork, Row, Seat
    from tadacli.sampling.shares import Share


class Detecting:
    """What `tada detect` does. A video is read ahead of the network, and no other one meanwhile."""

    num_at_once = 1
    about: Mapping[str, Any] = {}

    def __init__(self, work: DetectWork, seat: Seat, on_step: Callable[[], object]) -> None:
        model = loaded(work.model, seat)
        self._job = detection_job(
            (),
            model=model,
            windows=work.windows,
            segments=work.segments,
            max_download=work.max_download,
            index=work.index,
        )
        self.run, self.notes, self._on_step = self._job.run, tuple(map(str, model.notes)), on_step
        self._dividing = Dividing(self._job.shared, work.share_seconds, on_step)

    def begin(self, item: Item) -> Callable[[], Row]:
        """As `work.Processing` says it."""
        return lambda: self._dividing.divided(item) or self._row(item)

    def begin_share(self, item: Item, share: Share) -> Callable[[], Row]:
        """As `work.SharedProcessing` says it."""
        return partial(self._dividing.share, item, share)

    def begin_whole(self, item: Item, shares: Iterable[Row]) -> Callable[[], Row]:
        """As `work.SharedProcessing` says it."""
        return partial(self._whole, item, shares)

    def failed(self, item: Item, reason: str) -> Row:
        """As `work.Processing` says it."""
        result = Detection(item.path, "error", self._job.spec.name, error=reason)
        return detection_row(result, self.run, size_bytes=file_size(item.path))

    def _whole(self, item: Item, shares: Iterable[Row]) -> Row:
        with tempfile.TemporaryDirectory(prefix="tada-") as folder:
            journal = Path(folder, "journal")
            try:
                write_journal(shares, journal)
            except ShareError as error:
                return self.failed(item, str(error))
            return self._row(item, journal)

    def _row(self, item: Item, journal: Path | None = None) -> Row:
        job = replace(self._job, videos=[item.path])
        (found,) = iter_detections(job, journal=journal, on_progress=lambda *_: self._on_step())
        if item.file is not None and found.scores is not None:
            with whole_files(item.file, replace=True) as file:
                write_scores(file, found.scores, replace=True)
        return detection_row(found.result, self.run, size_bytes=found.size_bytes)


class Extracting:
    """What `tada features` does; the files are written before the row is kept."""

    num_at_once = 1
    about: Mapping[str, Any] = {}

    def __init__(self, work: FeaturesWork, seat: Seat, on_step: Callable[[], object]) -> None:
        model = loaded(work.model, seat)
        snippets = settings_for(work.layout, work.snippets, model.spec.input)
        self._job = feature_job(
            (),
            model=model,
            snippets=snippets,
            stored=work.stored,
            max_download=work.max_download,
            index=work.index,
        )
        self._layout = work.layout
        self.run, self.notes, self._on_step = self._job.run, tuple(map(str, model.notes)), on_step
        self._dividing = Dividing(shared_snippets(self._job), work.share_seconds, on_step)

    def begin(self, item: Item) -> Callable[[], Row]:
        """As `work.Processing` says it."""
        return lambda: self._dividing.divided(item) or self._row(item)

    def begin_share(self, item: Item, share: Share) -> Callable[[], Row]:
        """As `work.SharedProcessing` says it."""
        return partial(self._dividing.share, item, share)

    def begin_whole(self, item: Item, shares: Iterable[Row]) -> Callable[[], Row]:
        """As `work.SharedProcessing` says it."""
        return partial(self._row, item, shares)

    def failed(self, item: Item, reason: str) -> Row:
        """As `work.Processing` says it."""
        result = Extraction(item.path, "error", reason, size_bytes=file_size(item.path))
        return extraction_row(result, self.run)

    def _row(self, item: Item, shares: Iterable[Row] = ()) -> Row:
        assert item.file is not None  # of features
        job = replace(self._job, videos=[item.path])
        with whole_files(item.file, replace=True) as file:
            store = FeatureStore.of_one(item.path, file, layout=self._layout)
            try:
                write_journal(shares, store.journal_of(item.path))
            except ShareError as error:
                return self.failed(item, str(error))
            (result,) = iter_features(job, store=store, on_progress=lambda *_: self._on_step())
        row = extraction_row(result, self.run)
        return row if row["file"] is None else {**row, "file": item.file}
