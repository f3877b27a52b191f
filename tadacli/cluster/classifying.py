"""What a worker of `tada classify` does with one video: what the command does with it, to the byte."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

from tadacli.classification import Classifier, Decoded, classification_run
from tadacli.cluster.models import loaded
from tadacli.formats.rows import classification_row
from tadacli.results import Classification
from tadacli.video.inputs import file_size

if TYPE_CHECKING:
    from tadacli.cluster.items import Item
    from tadacli.cluster.work import ClassifyWork, Row, Seat


class Classifying:
    """What `tada classify` does. The next videos are decoded while one is scored."""

    about: Mapping[str, Any] = {}

    def __init__(self, work: ClassifyWork, seat: Seat, on_step: Callable[[], object]) -> None:
        model = loaded(work.model, seat)
        self.run = classification_run(model, work.options)
        self.notes = tuple(map(str, model.notes))
        self._classifier = Classifier(model, options=work.options, max_download=work.max_download)
        num_ahead = self._classifier.num_ahead
        self.num_at_once = 1 + num_ahead
        self._pool = ThreadPoolExecutor(num_ahead, thread_name_prefix="tada-worker-decode")
        self._name, self._on_step = model.spec.name, on_step

    def begin(self, item: Item) -> Callable[[], Row]:
        """As `work.Processing` says it."""
        return partial(self._row, item.path, self._pool.submit(self._classifier.decode, item.path))

    def failed(self, item: Item, reason: str) -> Row:
        """As `work.Processing` says it."""
        result = Classification(path=item.path, status="error", model=self._name, error=reason)
        return classification_row(result, self.run, size_bytes=file_size(item.path))

    def _row(self, path: str, decoding: Future[Decoded]) -> Row:
        decoded = decoding.result()
        self._on_step()
        (result,) = self._classifier.score([decoded], on_views=lambda _: self._on_step())
        return classification_row(result, self.run, size_bytes=file_size(path))
