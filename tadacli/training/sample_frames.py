"""Random frames of samples, from the videos or from where they are kept: the same ones, to the byte."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from tadacli.datasets.samples import Sample
from tadacli.errors import VideoError
from tadacli.profiling import Stage, count, during
from tadacli.sampling.clips import training_indices
from tadacli.sampling.pace import frame_rate
from tadacli.sampling.plan import annotated_part, check_length_known, frames_of
from tadacli.specs import InputSpec
from tadacli.training.frame_cache import FrameCache, NewFrames, Span, identity_of, span_bytes
from tadacli.video.boundary import VideoBoundary
from tadacli.video.reading import open_video
from tadacli.video.source import Frame, Pixels, VideoSource

# To open a video takes as long as to decode a clip: its packets are listed. What is kept of it are these lists.
MAX_OPENED = 16


class SampleFrames:
    """Reads the frames of clips of samples. Not for several threads at once.

    Args:
        samples: All of them; they are read by their numbers.
        input: Which frames a clip has.
        index: A folder in which frame tables of video files are kept, for all processes and epochs; None: nowhere.
        cache: Where frames are kept, with a place for each sample; None: nowhere.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        input: InputSpec,
        *,
        index: str | os.PathLike[str] | None = None,
        cache: FrameCache | None = None,
    ) -> None:
        self._samples, self._input, self._cache = samples, input, cache
        self._videos = _Videos(index)
        places: dict[object, int] = {}
        spans = [(each.path, each.fps, each.start_seconds, each.end_seconds) for each in samples]
        # Those of the same span have one place.
        self._places = [places.setdefault(span, number) for number, span in enumerate(spans)] if cache else []

    def read(self, number: int, rng: np.random.Generator, *, num_draws_left: float = 1) -> tuple[Pixels, float]:
        """Random frames of a sample, in order.

        Args:
            number: Of the sample.
            rng: Decides which frames.
            num_draws_left: How often the sample will be drawn, this time included; its frames are kept where to decode
                all of them once is less than to decode those of as many clips.

        Returns:
            uint8 (T, H, W, 3), and when the middle of them is, in seconds from the start of the video.

        Raises:
            VideoError: They cannot be had; it names the sample.
        """
        sample = self._samples[number]
        identity = None if self._cache is None else identity_of(sample)
        kept = None if identity is None or self._cache is None else self._cache.find(self._places[number], identity)
        if kept is not None:
            wanted = self._drawn(kept.span, rng)
            with during(Stage.DECODE):
                pixels = kept.read(wanted)
            count(used=len(set(wanted)))
            return pixels, _middle(kept.span, wanted)
        path = os.fspath(sample.path or "")
        try:
            with VideoBoundary(path):
                source = self._opened(sample, path)
                span = _span(sample, source)
                wanted = self._drawn(span, rng)
                if identity is not None and self._is_worth(number, source, span, wanted, num_draws_left):
                    found = self._keep(number, identity, source, span, wanted)
                    if found is not None:
                        return found, _middle(span, wanted)
                    self._videos.forget(path)  # what is read of it next must not depend on that
                    source = self._opened(sample, path)
                return _decoded(source, span, wanted), _middle(span, wanted)
        except VideoError as error:
            self._videos.forget(path)  # what else can be read of it must not depend on what was read before
            raise VideoError(f"sample {sample.id}: {error.message}", hint=error.hint) from error

    def _opened(self, sample: Sample, path: str) -> VideoSource:
        with during(Stage.OPEN):
            return self._videos.get(path, sample.fps)

    def _drawn(self, span: Span, rng: np.random.Generator) -> list[int]:
        """Numbers of random frames, counted from the first of the span."""
        return training_indices(
            self._input.sampling,
            span.end - span.first,
            fps=span.rate,
            clip_frames=self._input.clip_frames,
            frame_stride=self._input.frame_stride,
            minus_interval=self._input.minus_interval,
            target_fps=self._input.target_fps,
            rng=rng,
        )

    # --- keeping ------------------------------------------------------------------------------------------

    def _is_worth(
        self, number: int, source: VideoSource, span: Span, wanted: Sequence[int], num_draws_left: float
    ) -> bool:
        """Whether the frames of a sample are to be kept now."""
        num_frames = span.end - span.first
        if self._cache is None or num_frames > num_draws_left * _num_needed(source, span, wanted):
            return False
        size = span_bytes(num_frames, source.info.height, source.info.width)
        return self._cache.wants(self._places[number], size)

    def _keep(
        self, number: int, identity: bytes, source: VideoSource, span: Span, wanted: Sequence[int]
    ) -> Pixels | None:
        """The wanted frames of a sample all of whose frames are kept now; None where that cannot be."""
        assert self._cache is not None
        info = source.info
        room = self._cache.reserve(self._places[number], identity, span, height=info.height, width=info.width)
        if room is None:
            return None
        try:
            with room:
                _fill(room, source, span)
        except VideoError:  # of a frame that this clip may not need
            return None
        kept = self._cache.find(self._places[number], identity)
        if kept is None:
            return None
        count(used=len(set(wanted)))
        return kept.read(wanted)


def frame_range(sample: Sample, source: VideoSource) -> tuple[int, int]:
    """(first, end) numbers of the frames of a sample; for a span between two frames, of the one on screen.

    Raises `VideoError` where nothing of the video lies in the span, or its length cannot be known.
    """
    check_length_known(source.info)
    return frames_of(source, annotated_part(source.info, sample.start_seconds, sample.end_seconds))


def _span(sample: Sample, source: VideoSource) -> Span:
    first, end = frame_range(sample, source)
    times = source.times_shown[first:end]
    return Span(first, end, frame_rate(source, first, end), times, source.info.start_seconds)


def _middle(span: Span, wanted: Sequence[int]) -> float:
    """When the middle of these frames is, in seconds from the start of the video."""
    return float(span.times[[int(wanted[0]), int(wanted[-1])]].mean()) - span.start_seconds


def _decoded(source: VideoSource, span: Span, wanted: Sequence[int]) -> Pixels:
    """uint8 (T, H, W, 3): the frames with these numbers, counted from the first of the span."""
    before = source.num_decoded
    with during(Stage.DECODE):
        needed = source.require_frames({span.first + index for index in wanted})
        frames = {frame.index: frame.pixels for frame in needed}
        pixels = np.stack([frames[span.first + index] for index in wanted])
    count(decoded=source.num_decoded - before, used=len(frames))
    return pixels


def _fill(room: NewFrames, source: VideoSource, span: Span) -> None:
    """Decodes all frames of a span into their room, up to one that cannot be had."""
    before = source.num_decoded
    with during(Stage.DECODE):
        for frame in source.iter_frames(range(span.first, span.end), skip_unreadable=True):
            if not (isinstance(frame, Frame) and room.add(frame.pixels)):
                break
    count(decoded=source.num_decoded - before)


def _num_needed(source: VideoSource, span: Span, wanted: Sequence[int]) -> int:
    """About how many frames are decoded for these: from where decoding can start before each, up to the last."""
    numbers = span.first + np.unique(np.asarray(wanted, dtype=np.int64))
    if not len(source.restarts):
        return len(numbers)
    starts = source.restarts[np.maximum(0, np.searchsorted(source.restarts, numbers, side="right") - 1)]
    is_last = np.append(starts[1:] != starts[:-1], True)
    return int((numbers - starts + 1)[is_last].sum())


class _Videos:
    """The videos that were read last, opened; those of another process are opened there anew.

    In the folder `index` their frame tables are kept, for all processes and epochs.
    """

    def __init__(self, index: str | os.PathLike[str] | None) -> None:
        self._index = index
        self._opened: OrderedDict[str, tuple[VideoSource, ExitStack]] = OrderedDict()

    def get(self, path: str, fps: float | None) -> VideoSource:
        if path not in self._opened:
            files = ExitStack()
            self._opened[path] = files.enter_context(open_video(path, fps=fps, index=self._index)), files
        self._opened.move_to_end(path)
        if len(self._opened) > MAX_OPENED:
            self.forget(next(iter(self._opened)))
        return self._opened[path][0]

    def forget(self, path: str) -> None:
        if path in self._opened:
            self._opened.pop(path)[1].close()

    def __getstate__(self) -> dict[str, Any]:
        return {"_index": self._index, "_opened": OrderedDict()}
