"""Videos whose time has gaps: clips go by the rate of the frames around, and windows without a frame are gaps."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tadacli
from tadacli.errors import VideoError
from tadacli.results import NoteKind, VideoInfo
from tadacli.sampling.pace import frame_rate, pieces_of
from tadacli.sampling.plan import is_short, plan_clips, time_gaps
from tadacli.sampling.settings import window_settings
from tadacli.sampling.windows import WindowPlan, window_clips
from tadacli.specs import InputSpec
from tadacli.video.reading import open_video
from tadacli.video.source import VideoSource
from tests import media


class Timeline(VideoSource):
    """A video of which nothing but the times of its frames is known."""

    num_decoded = 0

    def __init__(self, times: list[float], *, end: float | None = None) -> None:
        end = times[-1] + (times[-1] - times[-2]) if end is None else end
        length = end - times[0]
        fps = Fraction((len(times) - 1) / (times[-1] - times[0])).limit_denominator(1001)
        info = VideoInfo("v.mp4", len(times), fps, length, 96, 160, 0, "h264", start_seconds=times[0])
        self._set_timeline(info, np.array(times))

    def reopened(self):
        raise NotImplementedError

    _decode = _error = reopened


def looks(sampling: str = "interval", *, clip_frames: int = 8, frame_stride: int = 4) -> InputSpec:
    size = {"short_side": 64, "crop_size": 64, "mean": (0.45,) * 3, "std": (0.225,) * 3}
    return InputSpec(sampling, clip_frames=clip_frames, frame_stride=frame_stride, target_fps=30.0, **size)


def bursts(num_bursts: int, *, frames: int = 75, start: float = 0) -> list[float]:
    """The times of a camera that records on motion, at 25 frames a second and then for a minute not at all."""
    period = frames / 25 + 60
    return [start + burst * period + frame / 25 for burst in range(num_bursts) for frame in range(frames)]


def pieces_with(frames: list[int], times: list[float]) -> set[int]:
    """Which bursts of 63 s the frames are of."""
    return {int(times[frame] // 63) for frame in frames}


@pytest.mark.parametrize("num_bursts", [2, 4, 5])
@pytest.mark.parametrize("num_clips", [1, 3, 5])
def test_a_clip_is_taken_at_the_rate_of_its_frames_and_from_one_burst(num_bursts: int, num_clips: int) -> None:
    times = bursts(num_bursts)
    source = Timeline(times)
    assert source.info.fps < 3  # on average
    assert frame_rate(source) == pytest.approx(25)
    for clip in plan_clips(source, looks(), num_clips=num_clips):
        assert clip[-1] - clip[0] == pytest.approx(8 * 4 * 25 / 30 - 1, abs=1)
        assert len(set(clip)) == 8
        assert len(pieces_with(clip, times)) == 1
    assert not is_short(source, None, looks())
    expected = [(63 * n + 3, 63 * n + 63) for n in range(num_bursts - 1)]
    np.testing.assert_allclose(time_gaps(source, looks()), expected)


def test_bursts_that_are_shorter_than_a_clip_are_taken_together() -> None:
    clip = plan_clips(Timeline(bursts(20, frames=5)), looks(), num_clips=1)[0]
    assert len(set(clip)) == 8


@pytest.mark.parametrize("sampling", ["native", "stretch"])
def test_windows_in_a_gap_have_no_place_and_others_end_where_it_begins(sampling) -> None:
    times = bursts(3, start=1.48)
    plan = WindowPlan(Timeline(times), looks(), window_settings(window="1s", stride="500ms", sampling=sampling))
    np.testing.assert_allclose(plan.gaps, [(4.48, 64.48), (67.48, 127.48)])
    assert plan.num_laid == 257
    assert 15 <= len(plan) <= 24
    for window in plan:
        assert not any(
            start < window.end_seconds - 1e-6 and window.start_seconds < end - 1e-6 for start, end in plan.gaps
        )
        used = {int((times[index] - 1.48) // 63) for clip in window.clips for index in clip}
        assert used == {int((window.start_seconds + 1e-6 - 1.48) // 63)}
        assert window.used[1] - window.used[0] < 3.1
        if sampling == "native":
            (clip,) = window.clips
            assert clip[-1] - clip[0] == pytest.approx(8 * 4 * 25 / 30 - 1, abs=1)


def test_one_window_is_taken_as_that_of_the_plan() -> None:
    source = Timeline(bursts(3))
    plan = WindowPlan(source, looks(), window_settings(window="1s", stride="1s", sampling="native"))
    for window in plan:
        span = (float(np.floor(window.start_seconds)), float(np.floor(window.start_seconds)) + 1)
        clips = window_clips(source, looks(), sampling="native", window=span)
        assert clips.tolist() == [list(clip) for clip in window.clips]
    with pytest.raises(VideoError, match=r"v\.mp4 has no frame from 10\.00 s to 12\.00 s"):
        window_clips(source, looks(), sampling="stretch", window=(10.0, 12.0))
    with pytest.raises(VideoError, match=r"no frame from 10\.00 s to 50\.00 s"):
        WindowPlan(source, looks(), window_settings(start_seconds=10, end_seconds=50))


@pytest.mark.parametrize(
    ("times", "gap_seconds", "num_pieces", "reason"),
    [
        (np.arange(100) / 30, 0.01, 1, "windows shorter than a frame are of the frame on screen"),
        (np.arange(20) * 5.0, 2.0, 1, "one frame each five seconds is an even rate"),
        (np.round(np.arange(200) / 29.97, 3), 0.02, 1, "times in milliseconds"),
        (np.round(np.arange(200) / 60, 2), 0.01, 1, "times in hundredths, as a GIF has them"),
        (np.cumsum([0.0, *([1 / 60 * 2, 1 / 60 * 3] * 50)]), 0.02, 1, "3:2 pulldown"),
        (np.array([0, 0.04, 0.08, 0.12, 0.5, 0.54, 0.58]), 0.5, 1, "a gap shorter than the window"),
        (np.array([0, 0.04, 0.08, 0.12, 0.7, 0.74, 0.78]), 0.5, 2, "a gap longer than the window"),
        (np.array([0.0, 0.04, 60.0, 60.04, 120.0, 120.04]), 2.0, 3, "two frames each minute"),
    ],
)
def test_what_is_a_gap(times: np.ndarray, gap_seconds: float, num_pieces: int, reason: str) -> None:
    source = Timeline(times.tolist(), end=float(times[-1]) + 0.01)
    assert len(pieces_of(source, gap_seconds=gap_seconds)) == num_pieces, reason


def test_a_last_frame_that_stays_for_long_is_followed_by_a_gap() -> None:
    plan = WindowPlan(Timeline(bursts(1), end=30.0), looks(), window_settings(window="1s", stride="1s"))
    np.testing.assert_allclose(plan.gaps, [(3.0, 30.0)])
    assert (len(plan), plan.num_laid) == (3, 30)


@settings(deadline=None)
@given(st.integers(1, 120), st.integers(2, 400), st.floats(0, 1e5), st.sampled_from([None, 3, 2]))
def test_an_even_rate_is_that_of_the_whole_video_to_the_bit(
    fps: int, num_frames: int, start: float, digits: int | None
) -> None:
    times = start + np.arange(num_frames) / fps
    if digits is not None and 10**-digits < 0.2 / fps:
        times = times.round(digits)
    source = Timeline(times.tolist())
    assert frame_rate(source) == frame_rate(source, num_frames // 3, num_frames) == float(source.info.fps)
    assert len(pieces_of(source, gap_seconds=1e-3)) == 1


def test_a_video_that_slows_down_has_the_rate_of_each_part() -> None:
    times = np.cumsum([0.0, *[1 / 60] * 300, *[1 / 10] * 100]).tolist()
    source = Timeline(times)
    assert frame_rate(source, 0, 300) == pytest.approx(60)
    assert frame_rate(source, 301, 401) == pytest.approx(10)
    assert frame_rate(source, 301, 302) == pytest.approx(60)  # one frame has no rate of its own


def test_a_file_with_gaps_is_read_as_one(tmp_path: Path) -> None:
    path = tmp_path / "bursts.mkv"
    pts = [burst * 1000 + frame for burst in range(3) for frame in range(30)]
    media.render(path, 90, pts=pts, options={"bf": "0"})
    with open_video(path) as source:
        for clip in plan_clips(source, looks(clip_frames=4), num_clips=2):
            assert len({number // 30 for number in clip}) == 1
        assert len(time_gaps(source, looks())) == 2


def test_classify_says_that_a_clip_repeats_a_frame(tmp_path: Path) -> None:
    media.render(tmp_path / "slow.mp4", 30, pts=[15 * number for number in range(30)])  # two frames a second
    media.render(tmp_path / "usual.mp4", 90)
    slow, usual = tadacli.classify([tmp_path / "slow.mp4", tmp_path / "usual.mp4"], device="cpu", views="2x1")
    assert (slow.status, usual.status) == ("ok", "ok")
    (note,) = [note for note in slow.notes if note.kind is NoteKind.REPEATED]
    assert note.text == "2 of 2 clips show a frame more than once"
    assert NoteKind.REPEATED not in [note.kind for note in usual.notes]
