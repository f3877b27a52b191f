"""Windows of a timeline: which spans, and which frames they take."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tadacli.errors import UsageError
from tadacli.sampling.clips import clip_indices
from tadacli.sampling.plan import frames_on_screen, frames_within
from tadacli.sampling.settings import parse_length, parse_time
from tadacli.sampling.spans import unseen_seconds, window_spans
from tadacli.sampling.windows import window_clip_times
from tadacli.specs import InputSpec


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2s", 2.0),
        ("0.5s", 0.5),
        (".5", 0.5),
        ("500ms", 0.5),
        ("64f", 64 / 25),
        ("3", 3.0),
        ("2m", 120.0),
        ("1m30s", 90.0),
        ("1.5m", 90.0),
        ("2min", 120.0),
        ("1h", 3600.0),
    ],
)
def test_a_length_is_read_in_seconds_or_frames(text: str, seconds: float) -> None:
    assert parse_length(text).seconds(25.0) == seconds


@pytest.mark.parametrize("text", "0s|-1s||s|2 m|m|0m|1s1m|1m30|1.5f|0f|nan|inf|1e3s|2s2s".split("|"))
def test_what_is_no_length_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no length of time"):
        parse_length(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90.5s", 90.5),
        ("1:30", 90),
        ("00:10:00", 600),
        ("01:00:00.25", 3600.25),
        ("0", 0),
        ("7:5", 425),
        ("2m", 120),
        ("1h2m3.5s", 3723.5),
    ],
)
def test_a_time_is_read_in_seconds_or_as_a_clock(text: str, seconds: float) -> None:
    assert parse_time(text) == seconds


@pytest.mark.parametrize("text", ["", "-1", "1:60", "1:61:00", "a", "1m1m", "::", "1:", "1e3", "nan"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no time"):
        parse_time(text)


@pytest.mark.parametrize(
    ("start", "end", "window", "stride", "expected", "why"),
    [
        (0, 10, 2, 1, [(i, i + 2) for i in range(9)], "the last one just fits"),
        (0, 10.5, 2, 1, [(i, min(i + 2, 10.5)) for i in range(10)], "the rest gets a shorter window"),
        (1.4, 2.4, 2, 1, [(1.4, 2.4)], "shorter than a window"),
        (0, 2, 2, 1, [(0, 2)], "exactly one window"),
        (0, 5, 1, 2, [(0, 1), (2, 3), (4, 5)], "with gaps between"),
        (0, 4, 1, 2, [(0, 1), (2, 3)], "a gap at the end stays one"),
        (0, 0.3, 0.1, 0.1, [(0, 0.1), (0.1, 0.2), (0.2, 0.3)], "rounded numbers make no further window"),
    ],
)
def test_windows_cover_the_span(
    start: float, end: float, window: float, stride: float, expected: list[tuple[float, float]], why: str
) -> None:
    spans = window_spans(start, end, window_seconds=window, stride_seconds=stride)
    np.testing.assert_allclose(spans, expected, atol=1e-12, err_msg=why)


@example(start=7693.0, length=499.3333333333333, window=1.0, share=1 / 3, at=0.0)  # rounding ends it a bit early
@given(st.floats(-100, 1e4), st.floats(0.01, 500), st.floats(0.05, 60), st.floats(0.05, 1), st.floats(0.0, 1.0))
def test_every_instant_is_in_a_window_and_no_window_is_needless(
    start: float, length: float, window: float, share: float, at: float
) -> None:
    spans = window_spans(start, start + length, window_seconds=window, stride_seconds=window * share)
    instant = start + at * length * 0.999
    assert ((spans[:, 0] <= instant) & (instant < spans[:, 1])).any()
    assert spans[-1, 1] == start + length
    assert (spans[:-1, 1] < start + length).all()
    assert (spans[:, 1] > spans[:, 0]).all()


def clips_of(clip_frames: int, frame_stride: int = 1) -> InputSpec:
    """How a model takes clips at 30 frames a second."""
    size = {"short_side": 64, "crop_size": 64, "mean": (0.45,) * 3, "std": (0.225,) * 3}
    return InputSpec("interval", clip_frames=clip_frames, frame_stride=frame_stride, target_fps=30.0, **size)


@given(
    spans=st.lists(st.tuples(st.integers(-5, 25), st.integers(1, 8)), max_size=8),
    part=st.tuples(st.integers(0, 9), st.integers(10, 20)),
)
def test_what_no_span_covers_is_unseen(spans: list[tuple[int, int]], part: tuple[int, int]) -> None:
    table = np.array([(start, start + length) for start, length in spans], dtype=np.float64).reshape(-1, 2)
    bare = [second for second in range(*part) if not any(a <= second < b for a, b in table)]
    assert unseen_seconds(table, *part) == len(bare)


def test_stretch_takes_the_middles_of_equal_parts() -> None:
    times = window_clip_times("stretch", (10.0, 12.0), within=(0.0, 60.0), fps=30.0, spec=clips_of(4))
    assert times.tolist() == [[10.25, 10.75, 11.25, 11.75]]


@pytest.mark.parametrize(
    ("window", "starts", "why"),
    [
        ((10.0, 12.0), [10.0, 11.0], "two clips of a second fit"),
        ((10.0, 11.0), [10.0], "one fits exactly"),
        ((10.0, 10.5), [9.75], "a longer clip lies over the middle"),
        ((0.0, 0.5), [0.0], "moved after the start of the video"),
        ((59.5, 60.0), [59.0], "moved before its end"),
        ((10.0, 13.2), [10.0, 11.1, 12.2], "three clips from start to end"),
        ((10.0, 12.6), [10.0, 10.8, 11.6], "three fit better than two"),
    ],
)
def test_native_clips_lie_evenly_and_inside_the_video(
    window: tuple[float, float], starts: list[float], why: str
) -> None:
    times = window_clip_times("native", window, within=(0.0, 60.0), fps=30.0, spec=clips_of(6, 5))
    np.testing.assert_allclose(times[:, 0], starts, atol=1e-9, err_msg=why)
    np.testing.assert_allclose(times[:, -1] - times[:, 0], 1 - 1 / 30)


def test_a_native_clip_of_a_video_that_is_too_short_starts_with_it() -> None:
    times = window_clip_times("native", (5.0, 5.4), within=(5.0, 5.4), fps=30.0, spec=clips_of(6, 5))
    assert times[:, 0].tolist() == [5.0]


def test_a_native_clip_of_a_very_slow_video_does_not_run_backwards() -> None:
    times = window_clip_times("native", (4.0, 6.0), within=(0.0, 60.0), fps=0.5, spec=clips_of(6, 5))
    assert (np.diff(times) >= 0).all()


@settings(deadline=None)  # the first call imports torch
@given(
    *(st.integers(1, 32), st.integers(1, 8), st.sampled_from([24.0, 25.0, 30.0, 50.0, 60.0]), st.integers(0, 400)),
    st.booleans(),
)
def test_a_native_clip_of_a_whole_video_is_the_published_clip(
    clip_frames: int, frame_stride: int, fps: float, extra: int, minus_interval: bool
) -> None:
    span = clip_frames * frame_stride * fps / 30.0
    num_frames = int(span) + 2 + extra
    whole = (0.0, num_frames / fps)
    clip = {"clip_frames": clip_frames, "frame_stride": frame_stride, "target_fps": 30.0}
    published = clip_indices("interval", num_frames, fps=fps, **clip, minus_interval=minus_interval)
    middle = sum(whole) / 2
    window = (middle - span / fps / 2, middle + span / fps / 2)
    spec = dataclasses.replace(clips_of(clip_frames, frame_stride), minus_interval=minus_interval)
    times = window_clip_times("native", window, within=whole, fps=fps, spec=spec)
    frames = frames_on_screen(np.arange(num_frames) / fps, times)
    # float32 may put a position on the other side of a whole number
    assert np.abs(frames[0] - np.array(published)).max() <= 1


def test_the_frame_of_a_time_is_the_one_on_screen() -> None:
    times = np.array([1.0, 1.04, 1.5, 1.54])
    wanted = np.array([0.0, 1.0, 1.0399, 1.04, 1.3, 1.4999999, 1.5399, 9.0])
    assert frames_on_screen(times, wanted).tolist() == [0, 0, 0, 1, 1, 2, 2, 3]


def test_frames_within_a_span_are_those_that_appear_in_it() -> None:
    times = np.arange(10) / 10
    assert frames_within(times, 0.2, 0.5) == (2, 5)
    assert frames_within(times, 0.15, 0.45) == (2, 5)
    assert frames_within(times, 0.3000000001, 0.3000000002) == (3, 3)


@pytest.mark.parametrize(
    ("module", "absent"), [("settings", "numpy torch av"), ("plan", "torch av"), ("windows", "torch av")]
)
def test_the_defaults_cost_little_to_import(module: str, absent: str) -> None:
    program = f"import sys, tadacli.sampling.{module}; sys.exit(bool(set({absent.split()}) & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
