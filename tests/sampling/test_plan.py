"""Parts of a video, the frames they hold, and the order in which windows need them, by the times of frames alone."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from tadacli.errors import VideoError
from tadacli.results import VideoInfo
from tadacli.sampling.plan import Part, annotated_part, frames_of, is_short, plan_clips, seconds_of
from tadacli.sampling.settings import parse_length, window_settings
from tadacli.sampling.windows import WindowPlan
from tests.sampling.test_time_gaps import Timeline, looks

HOUR = 3600.0


def even(num_frames: int, *, fps: float = 30.0, start: float = HOUR) -> Timeline:
    """A video that starts an hour after the origin of its times, as recordings do."""
    return Timeline([start + number / fps for number in range(num_frames)])


@pytest.mark.parametrize(
    ("start", "end", "frames", "seconds", "why"),
    [
        (None, None, (0, 300), 10.0, "all of it"),
        (HOUR + 2, HOUR + 4, (60, 120), 2.0, "inside"),
        (HOUR + 8, HOUR + 99, (240, 300), 2.0, "ends with the video"),
        (0.0, HOUR + 1, (0, 30), 1.0, "starts with the video"),
        (None, HOUR + 1, (0, 30), 1.0, "from its start"),
        (HOUR + 9, None, (270, 300), 1.0, "to its end"),
        (HOUR + 2.01, HOUR + 2.02, (60, 61), 0.01, "between two frames, the one on screen"),
        (HOUR + 9.99, HOUR + 99, (299, 300), 0.01, "after the last one appeared"),
    ],
)
def test_a_part_holds_the_frames_that_appear_in_it(
    start: float | None, end: float | None, frames: tuple[int, int], seconds: float, why: str
) -> None:
    source, part = even(300), Part(start, end)
    assert frames_of(source, part) == frames, why
    assert seconds_of(source, part) == pytest.approx(seconds, abs=1e-6), why
    for clip in plan_clips(source, looks(), num_clips=3, part=part):
        assert frames[0] <= min(clip) <= max(clip) < frames[1]


@pytest.mark.parametrize(("start", "end"), [(HOUR + 10, None), (None, HOUR), (HOUR + 3, HOUR + 3), (0.0, 60.0)])
def test_a_part_without_anything_of_the_video_is_refused(start: float | None, end: float | None) -> None:
    with pytest.raises(VideoError, match=r"it lasts from 3600\.00 s to 3610\.00 s"):
        frames_of(even(300), Part(start, end))


def test_a_video_that_lasts_no_time_is_all_of_itself() -> None:
    still = VideoInfo("v.png", 1, Fraction(1), 0.0, 96, 160, 0, "png", start_seconds=5.0)
    assert Part().within(still) == (5.0, 5.0)


def test_annotations_count_from_the_first_frame_whatever_its_time() -> None:
    source = even(300)
    assert annotated_part(source.info, None, None) is None
    assert annotated_part(source.info, 2.0, 4.0) == Part(HOUR + 2, HOUR + 4)
    assert annotated_part(source.info, None, 4.0) == Part(None, HOUR + 4)
    assert frames_of(source, annotated_part(source.info, 9.0, None)) == (270, 300)


def test_as_many_frames_as_a_clip_spans_are_not_short() -> None:
    interval, segment = looks(clip_frames=8, frame_stride=4), looks("segment", clip_frames=8)
    assert [is_short(even(count), None, interval) for count in (31, 32)] == [True, False]
    assert [is_short(even(count), None, segment) for count in (7, 8)] == [True, False]
    assert [is_short(even(300), Part(HOUR, HOUR + end), interval) for end in (1.0, 2.0)] == [True, False]


def test_a_frame_whose_time_is_earlier_than_that_of_one_before_it_is_never_on_screen() -> None:
    source = Timeline([0.0, 0.1, 0.4, 0.2, 0.3, 0.5])
    assert source.times_shown.tolist() == [0.0, 0.1, 0.4, 0.4, 0.4, 0.5]
    assert frames_of(source, Part(0.1, 0.4)) == (1, 2)
    assert frames_of(source, Part(0.4, 0.6)) == (2, 6)


# --- windows ----------------------------------------------------------------------------------------


def test_a_window_uses_all_from_its_first_frame_to_the_end_of_its_last() -> None:
    source = even(90, start=0.0)
    spec = looks(clip_frames=6, frame_stride=5)  # a clip lasts a second
    plan = WindowPlan(source, spec, window_settings(window="2s", stride="1s", sampling="native"))
    assert [len(window.clips) for window in plan] == [2, 2]
    for window in plan:
        frames = [frame for clip in window.clips for frame in clip]
        start, end = window.used
        assert (start, end) == pytest.approx((min(frames) / 30, (max(frames) + 1) / 30))
    assert list(plan)[-1].used[1] == pytest.approx(3.0)
    np.testing.assert_allclose(plan.rows()[1], [window.used for window in plan])


@pytest.mark.parametrize("sampling", ["native", "stretch"])
def test_windows_of_all_lengths_come_in_the_order_of_their_last_frames(sampling: str) -> None:
    """So a frame can be dropped as soon as the windows that need it are scored."""
    settings = window_settings(window="4s,1s,2s", stride="500ms", sampling=sampling)  # type: ignore[arg-type]
    plan = WindowPlan(even(300), looks(clip_frames=6, frame_stride=5), settings)
    last = [max(frame for clip in window.clips for frame in clip) for window in plan]
    assert last == sorted(last)
    assert {window.scale for window in plan} == {0, 1, 2}


def test_unless_it_is_said_otherwise_windows_are_sampled_as_the_model_is() -> None:
    settings = window_settings()
    assert settings.sampling_for(looks("segment")) == "stretch"
    assert settings.sampling_for(looks("interval")) == "native"
    assert window_settings(sampling="stretch").sampling_for(looks("interval")) == "stretch"


def test_a_stride_in_frames_is_not_compared_with_a_window_in_seconds() -> None:
    settings = window_settings(window="2s", stride="30f")
    assert [stride.seconds(30.0) for stride in settings.strides] == [1.0]
    assert parse_length("60f").seconds(30_000 / 1001) == pytest.approx(2.002)
