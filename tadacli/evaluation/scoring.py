"""Scores for every item of a data set: videos are decoded ahead in several threads, and scored one by one, in order."""

from __future__ import annotations

import os
import threading
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace

from tadacli.concurrency import map_ahead
from tadacli.datasets.samples import Dataset, Sample
from tadacli.errors import UsageError, VideoError
from tadacli.profiling import Stage, during
from tadacli.results import Status
from tadacli.sampling.plan import annotated_part, extent, is_short
from tadacli.scoring.options import DEFAULT_BATCH_SIZE, ScoringOptions
from tadacli.scoring.views import DecodedViews, decode_views, kept_digits, score_in_order
from tadacli.specs import EvalProtocol
from tadacli.video.inputs import file_size
from tadacli.video.reading import open_video
from tadacli.video.source import VideoSource
from tadacli.zoo.loading import Model

NO_FILE = "no video file was found"


@dataclass(frozen=True)
class ItemScores:
    """The scores of one item by head, (num_classes,) probabilities with seven digits; or why it has none.

    `status` is "ok", "short" (fewer frames than a clip spans, so that some were repeated) or "error" (then `error`
    says why). `cut_seconds` is how much of the span lies behind the end of the video.
    """

    id: str
    path: str
    status: Status
    error: str = ""
    scores: Mapping[str, Sequence[float]] = field(default_factory=dict)
    start_seconds: float | None = None
    end_seconds: float | None = None
    cut_seconds: float = 0.0
    size_bytes: int | None = None


def default_workers() -> int:
    """Threads that decode: half the cores, since the network wants them too, but at least two and at most eight."""
    return max(2, min(8, (os.cpu_count() or 1) // 2))


def shard_of(samples: Sequence[Sample], number: int, count: int) -> Sequence[Sample]:
    """Part `number` (from 1) of `count` nearly equal parts, in order; together they are all samples, each once."""
    if not 1 <= number <= count:
        raise UsageError(f"there is no shard {number}/{count}", hint="use 1/8 to 8/8, for example")
    return samples[len(samples) * (number - 1) // count : len(samples) * number // count]


def check_heads(dataset: Dataset, model: Model) -> None:
    """Raises `UsageError` if the classes of the model are not those of the data set, in the same order."""
    ours, theirs = model.spec.heads, dataset.heads
    if {name: tuple(labels) for name, labels in ours.items()} == dict(theirs):
        return
    if set(ours) != set(theirs):
        said = [" and ".join(repr(name) for name in heads) if "" not in heads else "one" for heads in (ours, theirs)]
        raise UsageError(
            f"the heads of {model.spec.name} ({said[0]}) are not those of {dataset.name} ({said[1]})",
            hint="choose a model that was trained on this data set",
        )
    name = next(name for name in ours if tuple(ours[name]) != theirs[name])
    sizes = len(ours[name]), len(theirs[name])
    where = f" of the head {name}" if name else ""
    if sizes[0] != sizes[1]:
        what = f"{model.spec.name} tells {sizes[0]} classes{where} apart, {dataset.name} has {sizes[1]}"
    else:
        index = next(index for index in range(sizes[0]) if ours[name][index] != theirs[name][index])
        what = (
            f"class {index}{where} is {ours[name][index]!r} for {model.spec.name}, "
            f"but {theirs[name][index]!r} in {dataset.name}"
        )
    raise UsageError(what, hint="choose a model that was trained on this data set")


def score_samples(
    samples: Iterable[Sample],
    *,
    model: Model,
    views: EvalProtocol,
    batch_size: int = DEFAULT_BATCH_SIZE,
    fill_batches: bool = False,
    workers: int = 1,
) -> Generator[ItemScores, None, None]:
    """The scores of each sample, in order; what cannot be read has status "error" and stops nothing.

    As many videos as there are `workers` are decoded ahead. An item's scores are those that `classify` gives for its
    span with the same `batch_size` and `fill_batches`, to the bit. Close the iterator to end early.
    """
    if workers < 1:
        raise UsageError(f"{workers} workers cannot decode", hint="use --workers 1 or more")
    stop = threading.Event()
    coming = map_ahead(_Decoder(model, views, stop), samples, workers=workers, stop=stop)
    with closing(coming):
        scored = score_in_order(coming, model=model, options=ScoringOptions(views, batch_size, fill_batches))
        for item, scores in scored:
            kept = {name: kept_digits(values) for name, values in (scores or {}).items()}
            yield replace(item, scores=kept)


class _Decoder:
    """Decodes the views of samples, for several threads; each keeps the video it read last, for spans of the same."""

    def __init__(self, model: Model, views: EvalProtocol, stop: threading.Event) -> None:
        self._model, self._views, self._stop = model, views, stop
        self._thread = threading.local()

    def __call__(self, sample: Sample) -> tuple[ItemScores, DecodedViews | None]:
        if sample.path is None:
            return _failed(sample, NO_FILE), None
        path = os.fspath(sample.path)
        try:
            source = self._source(path)
            part = annotated_part(source.info, sample.start_seconds, sample.end_seconds)
            views = decode_views(source, model=self._model, views=self._views, part=part, stop=self._stop)
        except VideoError as error:
            self._thread.path = None  # what else can be read of it must not depend on what was read before
            return _failed(sample, error.reason), None
        _, num_frames = extent(source, part)
        short = is_short(num_frames, source.info, self._model.spec.input)
        cut = max(0.0, (sample.end_seconds or 0.0) - source.info.duration_seconds)
        return _item(sample, status="short" if short else "ok", cut_seconds=round(cut, 6)), views

    def _source(self, path: str) -> VideoSource:
        if getattr(self._thread, "path", None) != path:
            self._thread.path = None
            opened = ExitStack()
            with during(Stage.OPEN):
                self._thread.source = opened.enter_context(open_video(path))
            self._thread.opened = opened  # the one before is let go
            self._thread.path = path
        source: VideoSource = self._thread.source
        return source


def _failed(sample: Sample, reason: str) -> ItemScores:
    return _item(sample, status="error", error=reason)


def _item(sample: Sample, *, status: Status, error: str = "", cut_seconds: float = 0.0) -> ItemScores:
    path = "" if sample.path is None else os.fspath(sample.path)
    return ItemScores(
        id=sample.id,
        path=path,
        status=status,
        error=error,
        start_seconds=sample.start_seconds,
        end_seconds=sample.end_seconds,
        cut_seconds=cut_seconds,
        size_bytes=file_size(path) if path else None,
    )
