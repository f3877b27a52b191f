"""Scores for every item of a data set: videos are decoded ahead in several threads, and scored one by one, in order."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Container, Generator, Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import TypeAlias

from tadacli.concurrency import default_workers, map_ahead
from tadacli.datasets.samples import Dataset, Sample
from tadacli.errors import UsageError, VideoError
from tadacli.evaluation.prediction_file import ItemScores, Shard
from tadacli.profiling import Stage, during
from tadacli.sampling.plan import annotated_part, is_short
from tadacli.scoring.options import ScoringOptions
from tadacli.scoring.views import DecodedViews, decode_views, kept_digits, score_in_order
from tadacli.specs import EvalProtocol
from tadacli.video.boundary import VideoBoundary
from tadacli.video.inputs import file_size
from tadacli.video.reading import open_video
from tadacli.video.source import VideoSource
from tadacli.zoo.loading import Model

# An item without its scores, and its views or why there are none.
Decoded: TypeAlias = tuple[ItemScores, DecodedViews | VideoError]
NO_FILE = "no video file was found"


def shard_of(samples: Sequence[Sample], shard: Shard) -> Sequence[Sample]:
    """The samples of one of nearly equal parts; all shards together are all samples, each once.

    Args:
        samples: All samples.
        shard: Which part.

    Returns:
        The samples of the part, in order.
    """
    return samples[len(samples) * (shard.number - 1) // shard.count : len(samples) * shard.number // shard.count]


def check_heads(dataset: Dataset, model: Model) -> None:
    """Check that the classes of a model are those of a data set, in the same order.

    Args:
        dataset: The data set.
        model: The model.

    Raises:
        UsageError: They are not; the first difference is named. Or samples have several labels, and the model gives
            one.
    """
    if dataset.multi_label and not model.spec.multi_label:
        raise UsageError(
            f"samples of {dataset.name} have several labels, and {model.spec.name} tells which one holds",
            hint="train a model of several labels: tada finetune --multi-label",
        )
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
    options: ScoringOptions | None = None,
    workers: int | None = None,
    done: Container[str] = (),
    index: str | os.PathLike[str] | None = None,
) -> Generator[ItemScores, None, None]:
    """The scores of each sample, in order, as soon as they are known; close the iterator to end early.

    Args:
        samples: the samples; those whose id is in `done` are passed over, since their scores are there already.
        model: the model.
        options: how views are scored. An item's scores are those that `classify` gives for its span with the same
            options, to the bit.
        workers: videos decoded ahead, each in a thread; by default by the number of cores.
        done: ids of samples that are not scored.
        index: a folder in which the frame tables of video files are kept (see `tadacli.video.open_video`).

    Yields:
        The scores of each sample, (num_classes,) by head; one that cannot be read has status "error".

    Raises:
        UsageError: for fewer than one worker.
        TadaError: for scores that are not numbers.
    """
    options = options or ScoringOptions()
    workers = default_workers() if workers is None else workers
    if workers < 1:
        raise UsageError(f"{workers} workers cannot decode", hint="use --workers 1 or more")
    stop = threading.Event()
    scorer = SampleScorer(model, options, index=index, stop=stop)
    left = (sample for sample in samples if sample.id not in done)
    with closing(map_ahead(scorer.decode, left, workers=workers, stop=stop)) as coming:
        yield from scorer.score(coming)


class SampleScorer:
    """Scores samples for a caller that says when each is decoded, in any thread, and when it is scored.

    Args:
        model: The model.
        options: How views are scored.
        index: A folder in which the frame tables of video files are kept.
        stop: Set when nothing more is wanted; decoding then gives up.
    """

    def __init__(
        self,
        model: Model,
        options: ScoringOptions,
        *,
        index: str | os.PathLike[str] | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        self._model, self._options = model, options
        self.decode = _Decoder(model, options.views_of(model.spec), index, stop or threading.Event())

    def score(
        self, decoded: Iterable[Decoded], *, on_views: Callable[[int], object] | None = None
    ) -> Generator[ItemScores, None, None]:
        """The scores of samples that are decoded, in order; `on_views` is called with the views of each batch."""
        for item, scores in score_in_order(decoded, model=self._model, options=self._options, on_views=on_views):
            if isinstance(scores, VideoError):
                yield replace(item, status="error", error=scores.reason)
            else:
                yield replace(item, scores={name: kept_digits(values) for name, values in scores.items()})


class _Decoder:
    """Decodes the views of samples, for several threads; each keeps the video it read last, for spans of the same."""

    def __init__(
        self, model: Model, views: EvalProtocol, index: str | os.PathLike[str] | None, stop: threading.Event
    ) -> None:
        self._model, self._views, self._index, self._stop = model, views, index, stop
        self._thread = threading.local()

    def __call__(self, sample: Sample) -> Decoded:
        item = ItemScores(
            id=sample.id,
            path="" if sample.path is None else os.fspath(sample.path),
            status="ok",
            start_seconds=sample.start_seconds,
            end_seconds=sample.end_seconds,
        )
        if not item.path:
            return item, VideoError(sample.missing or NO_FILE)
        item = replace(item, size_bytes=file_size(item.path))
        try:
            with VideoBoundary(item.path):
                source = self._source(item.path, sample.fps)
                part = annotated_part(source.info, sample.start_seconds, sample.end_seconds)
                views = decode_views(source, model=self._model, views=self._views, part=part, stop=self._stop)
                short = is_short(source, part, self._model.spec.input)
        except VideoError as error:
            self._thread.path = None  # what else can be read of it must not depend on what was read before
            return item, error
        cut = max(0.0, (sample.end_seconds or 0.0) - source.info.duration_seconds)
        return replace(item, status="short" if short else "ok", cut_seconds=round(cut, 6)), views

    def _source(self, path: str, fps: float | None) -> VideoSource:
        if getattr(self._thread, "path", None) != (path, fps):
            self._thread.path = None
            opened = ExitStack()
            with during(Stage.OPEN):
                self._thread.source = opened.enter_context(open_video(path, fps=fps, index=self._index))
            self._thread.opened = opened  # the one before is let go
            self._thread.path = path, fps
        source: VideoSource = self._thread.source
        return source
