"""Which windows of a timeline are scored, and which of the video's frames each of them needs.

Windows are spans of presentation time, and their frames are those on screen.
"""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple, Protocol

import numpy as np

from tadacli.errors import UsageError, VideoError
from tadacli.results import Window
from tadacli.sampling import WindowSampling
from tadacli.sampling.clips import rest_frames
from tadacli.sampling.pace import SAME_TIME_SECONDS, Piece, frame_rate, pieces_of
from tadacli.sampling.plan import Part, clip_seconds, frames_on_screen, frames_within
from tadacli.specs import InputSpec
from tadacli.video.source import Indices, Seconds, VideoSource, shown


class Layout(Protocol):
    """Where windows lie, as a person asks for it."""

    @property
    def part(self) -> Part:
        """What of a video they are laid over."""
        ...

    def sampling_for(self, spec: InputSpec) -> WindowSampling:
        """How clips are taken from a window."""
        ...

    def laid(
        self, start: float, end: float, *, cuts: Sequence[float], fps: float, spec: InputSpec
    ) -> list[tuple[float, Seconds]]:
        """For each scale the length of a window, and the spans of all windows over [start, end), (W, 2) in seconds.

        None of them reaches across one of the `cuts`, which lie within, in order.
        """
        ...


def window_clip_times(
    sampling: WindowSampling, window: tuple[float, float], *, within: tuple[float, float], fps: float, spec: InputSpec
) -> Seconds:
    """Presentation times of the frames of a window's clips.

    "stretch": one clip, its frames at the middles of `clip_frames` equal parts of the window.
    "native": clips at the model's own rate, as interval sampling takes them from the video; as many as fit the window
    best (at least one), evenly from its start to its end, a single one in its middle, all moved into the video where
    they stick out.

    Args:
        sampling: "stretch" or "native".
        window: Start and end of the window, in seconds.
        within: Start and end of the video, or of a piece of it without a gap, in seconds.
        fps: Frames a second around the window.
        spec: How the model takes clips.

    Returns:
        float64 (num_clips, clip_frames), in seconds.

    Raises:
        UsageError: There is no such sampling.
    """
    start, end = window
    if sampling == "stretch":
        return start + (end - start) * (np.arange(spec.clip_frames)[None] + 0.5) / spec.clip_frames
    if sampling != "native":
        raise UsageError(f"unknown sampling {sampling!r}", hint="use stretch or native")
    span = clip_seconds(spec)
    count = max(1, round((end - start) / span))
    starts = np.linspace(start, end - span, count) if count > 1 else np.array([(start + end - span) / 2])
    starts = np.maximum(np.minimum(starts, within[1] - span), within[0])
    # From the first frame of a clip to its last it is that much less than the span.
    rest = rest_frames(spec.frame_stride, minus_interval=spec.minus_interval)
    steps = np.linspace(0, max(0.0, span - rest / fps), spec.clip_frames)
    return np.asarray(starts[:, None] + steps[None])


def window_clips(
    source: VideoSource, spec: InputSpec, *, sampling: WindowSampling, window: tuple[float, float]
) -> Indices:
    """The frames of the clips of one window, (num_clips, clip_frames), by number.

    Args:
        source: The opened video.
        spec: How the model takes clips.
        sampling: "stretch" or "native".
        window: Start and end, in seconds.

    Raises:
        VideoError: The window lies in a gap of the video's time.
    """
    pieces = pieces_of(source, gap_seconds=window[1] - window[0])
    cut = pieces.cut(*window)
    if cut is None:
        raise _nothing_within(source, window)
    return _clips(source, spec, sampling, cut, pieces.around(cut[0]))


def _clips(
    source: VideoSource, spec: InputSpec, sampling: WindowSampling, window: tuple[float, float], piece: Piece
) -> Indices:
    """The frames on screen at the times of a window's clips, of a window within a piece of the video's time.

    Of a piece that is shorter than a clip, the last frame is shown to the end of the clip.
    """
    first, end = frames_within(source.times_shown, *window)
    fps = frame_rate(source, max(0, first - 1), end + 1)
    within = piece.start_seconds, piece.end_seconds
    times = window_clip_times(sampling, window, within=within, fps=fps, spec=spec)
    return np.minimum(frames_on_screen(source.times_shown, times), piece.end - 1)


def _nothing_within(source: VideoSource, span: tuple[float, float]) -> VideoError:
    start, end = span
    return VideoError(
        f"{shown(source.info.path)} has no frame from {start:.2f} s to {end:.2f} s: there is a gap in its time",
        hint="look at another part of it",
    )


def at_frames(times: Seconds, cuts: Sequence[float]) -> list[float]:
    """Cuts, each moved to the nearest time at which a frame appears, in order and without repetition.

    Args:
        times: When the frames of a video appear, in seconds.
        cuts: Times in seconds, which may be rounded.
    """
    if not len(cuts):
        return []
    after = np.clip(np.searchsorted(times, cuts), 1, max(1, len(times) - 1))
    before, following = times[after - 1], times[np.minimum(after, len(times) - 1)]
    nearest = np.where(np.subtract(cuts, before) <= np.subtract(following, cuts), before, following)
    return [float(cut) for cut in np.unique(nearest)]


class _Planned(NamedTuple):
    """A window with the frames of its clips, (num_clips, clip_frames); `number` counts those laid of its scale."""

    start_seconds: float
    end_seconds: float
    scale: int
    number: int
    frames: Indices


class _Packed:
    """Planned windows in few bytes each: there are tens of thousands of snippets in some hours of video."""

    def __init__(self, windows: Iterable[_Planned]) -> None:
        spans, numbers, frames, ends, self._clip_frames = array("d"), array("q"), array("i"), array("q", [0]), 1
        for each in windows:
            spans.extend((each.start_seconds, each.end_seconds))
            numbers.extend((each.scale, each.number))
            frames.frombytes(each.frames.tobytes())
            ends.append(len(frames))
            self._clip_frames = each.frames.shape[1]
        self.spans: Seconds = np.array(spans, dtype=np.float64).reshape(-1, 2)
        self.numbers: Indices = np.array(numbers, dtype=np.int64).reshape(-1, 2)
        self.frames = np.array(frames, dtype=np.int32)
        self._ends = ends

    def __len__(self) -> int:
        return len(self.spans)

    def __iter__(self) -> Iterator[_Planned]:
        return self[:]

    def __getitem__(self, numbers: slice) -> Iterator[_Planned]:
        for place in range(*numbers.indices(len(self))):
            frames = self.frames[self._ends[place] : self._ends[place + 1]].reshape(-1, self._clip_frames)
            start, end = self.spans[place].tolist()
            scale, number = self.numbers[place].tolist()
            yield _Planned(start, end, scale, number, frames.astype(np.int64))


class WindowPlan:
    """The windows of one video, in the order in which their last frames come, and the frames they need.

    It is worked out once, when it is made. `start` and `end` are the range that the windows are laid over, in seconds,
    each shot apart: none reaches across a cut. `cuts` are where they are, each the time of the first frame after it.
    `frames` the numbers of the frames that they need, ascending. A window that lies in a gap of the video's time, so
    that no frame is its own, has no place in the plan, and one that reaches into a gap ends there; `num_laid` counts
    all that were laid over the range, and `gaps` are the spans of the gaps, in seconds.

    Raises `VideoError` where all of the range is a gap.
    """

    def __init__(self, source: VideoSource, spec: InputSpec, settings: Layout, *, cuts: Sequence[float] = ()) -> None:
        fps, sampling = frame_rate(source), settings.sampling_for(spec)
        self._times = source.times_shown
        self.start, self.end = settings.part.within(source.info)
        inside = [cut for cut in cuts if self.start < cut < self.end - SAME_TIME_SECONDS]
        self.cuts = tuple(cut for cut in at_frames(self._times, inside) if self.start < cut < self.end)
        laid = settings.laid(self.start, self.end, cuts=self.cuts, fps=fps, spec=spec)
        lengths, spans = [length for length, _ in laid], [each for _, each in laid]

        def planned(scale: int) -> Iterator[_Planned]:
            pieces = pieces_of(source, gap_seconds=lengths[scale]).split(self._times, self.cuts)
            for number, span in enumerate(spans[scale].tolist()):
                window = pieces.cut(*span)
                if window is not None:
                    frames = _clips(source, spec, sampling, window, pieces.around(window[0]))
                    yield _Planned(*window, scale, number, frames.astype(np.int32))

        scales = map(planned, range(len(lengths)))
        self._windows = _Packed(heapq.merge(*scales, key=lambda each: (each.frames[:, -1].max(), each.scale)))
        if not len(self._windows):
            raise _nothing_within(source, (self.start, self.end))
        self.frames = np.unique(self._windows.frames).astype(np.int64)
        self._pieces = pieces_of(source, gap_seconds=min(lengths))
        self.num_laid, self.gaps = sum(map(len, spans)), self._pieces.gaps(self.start, self.end)

    def __len__(self) -> int:
        return len(self._windows)

    def __iter__(self) -> Iterator[Window]:
        return map(self._window, self._windows)

    def __getitem__(self, numbers: slice) -> Iterator[Window]:
        return map(self._window, self._windows[numbers])

    def _window(self, planned: _Planned) -> Window:
        clips = tuple(tuple(clip) for clip in planned.frames.tolist())
        return Window(planned.start_seconds, planned.end_seconds, planned.scale, clips, self._used(planned.frames))

    def _used(self, frames: Indices) -> tuple[float, float]:
        return self.time_of(int(frames.min())), self.end_of_frame(int(frames.max()))

    def rows(self) -> tuple[Seconds, Seconds, Indices]:
        """The spans of all windows and those of the frames they use, (W, 2) seconds each, and their scales (W,)."""
        rows = ((each.start_seconds, each.end_seconds, *self._used(each.frames), each.scale) for each in self._windows)
        table = np.fromiter(chain.from_iterable(rows), dtype=np.float64).reshape(-1, 5)
        return table[:, :2], table[:, 2:4], table[:, 4].astype(np.int64)

    def numbers(self) -> Indices:
        """The number of each window among those that were laid of its scale, (W,)."""
        return self._windows.numbers[:, 1]

    def time_of(self, index: int) -> float:
        """When a frame appears, in seconds."""
        return float(self._times[index])

    def end_of_frame(self, index: int) -> float:
        """When a frame stops being shown, in seconds."""
        end = self.end_of_piece(index)
        return min(float(self._times[index + 1]), end) if index + 1 < len(self._times) else end

    def end_of_piece(self, index: int) -> float:
        """When the next gap after a frame begins, or the video ends, in seconds."""
        return self._pieces.around(float(self._times[index])).end_seconds

    def places(self, frames: Iterable[int]) -> Indices:
        """Where frames stand among `frames`."""
        return np.searchsorted(self.frames, list(frames)).astype(np.int64)

    def uses(self, *, first: int = 0, end: int | None = None) -> Indices:
        """How many of the windows from number `first` on, up to `end`, need each of `frames`, (F,)."""
        counts = np.zeros(len(self.frames), dtype=np.int64)
        for each in self._windows[first:end]:
            counts[self.places(np.unique(each.frames))] += 1
        return counts
