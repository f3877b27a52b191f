"""Frames in memory: they are the video they were decoded from, and what is no frames is refused before any work."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tadacli
from tadacli import Classification, Detection, Model, Progress, UsageError, VideoError
from tadacli.camera_motion.virtual_camera import render_sample
from tadacli.results import NoteKind
from tadacli.video import iter_frames, open_video, probe, read_frames
from tadacli.video.array_frames import named_videos
from tests import media

NUM_FRAMES = 60


@pytest.fixture(scope="module")
def model() -> Model:
    return tadacli.load_model(device="cpu")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "video.mp4"
    render_sample(str(path), motion="pan left", seconds=2, height=96, width=160)
    return path


@pytest.fixture(scope="module")
def frames(file: Path) -> np.ndarray:
    return read_frames(file, range(NUM_FRAMES))


def seen(result: Classification | Detection) -> object:
    """All that a result says but what its video is called and how it is coded."""
    assert result.video is not None
    video = replace(result.video, path="", codec="", pixel_format="")
    return replace(result, path="", video=video)


@pytest.mark.parametrize("form", [np.asarray, torch.from_numpy, np.asfortranarray], ids=["numpy", "torch", "strided"])
def test_the_frames_of_a_file_give_the_results_of_the_file(
    model: Model, file: Path, frames: np.ndarray, form: Callable[[np.ndarray], Any]
) -> None:
    array = form(frames)
    (of_file,), (of_array,) = model.classify(file), model.classify(array, fps=30)
    assert of_array.path == "frames"
    assert type(of_array.path) is str  # not what holds the frames
    assert seen(of_array) == seen(of_file)
    settings = {"window": "1s", "stride": "500ms", "threshold": 0.2}
    (of_file,), (of_array,) = model.detect(file, **settings), model.detect(array, fps=30, **settings)
    assert len(of_array) > 0
    assert seen(of_array) == seen(of_file)


def test_frames_with_the_times_of_a_file_give_its_results(model: Model, tmp_path: Path) -> None:
    """Of a variable rate and a late start."""
    shown_at = [30 + number + (5 if number > 20 else 0) for number in range(45)]
    media.render(tmp_path / "a.mkv", 45, pts=shown_at)
    times = [frame.time_seconds for frame in iter_frames(tmp_path / "a.mkv", range(45))]
    assert times[0] == 1.0
    pixels = read_frames(tmp_path / "a.mkv", range(45))
    (of_file,) = model.detect(tmp_path / "a.mkv", window="500ms", threshold=0.1)
    (of_array,) = model.detect(pixels, times=times, window="500ms", threshold=0.1)
    assert of_array.segments[0].start_seconds == of_file.segments[0].start_seconds >= 1.0
    clips = [
        tadacli.classify(each, model=model, times=given)[0].clips
        for each, given in ((tmp_path / "a.mkv", None), (pixels, times))
    ]
    assert clips[0] == clips[1]


def test_a_list_may_hold_files_and_frames(model: Model, file: Path, frames: np.ndarray) -> None:
    results = model.classify([frames, file, torch.from_numpy(frames)], fps=30)
    assert [each.path for each in results] == ["frames[0]", str(file), "frames[2]"]
    assert len({each.score for each in results}) == 1


def test_frames_may_be_read_only_mapped_or_backwards(tmp_path: Path, frames: np.ndarray) -> None:
    np.save(tmp_path / "frames.npy", frames)
    mapped = np.load(tmp_path / "frames.npy", mmap_mode="r")
    for array in (mapped, frames[::-1], frames[..., ::-1]):
        (video,) = named_videos(array, fps=30, times=None, needs_rate=True)
        with open_video(video) as source:
            (frame,) = source.require_frames([3])
        assert np.array_equal(frame.pixels, array[3])
        assert frame.pixels.flags.c_contiguous
        assert frame.pixels.flags.writeable


def test_the_rate_of_frames_is_told_or_assumed_with_a_note(model: Model, frames: np.ndarray) -> None:
    (assumed,) = model.classify(frames)
    assert [note.kind for note in assumed.notes if note.kind is NoteKind.ASSUMED_RATE]
    (video,) = named_videos(frames, fps=None, times=np.arange(NUM_FRAMES) * 1001 / 30000 + 5, needs_rate=True)
    info = probe(video)
    assert (info.fps, info.start_seconds) == (Fraction(30000, 1001), 5.0)
    assert info.duration_seconds == pytest.approx(NUM_FRAMES * 1001 / 30000)
    assert info.notes == ()


GOOD = np.zeros((4, 8, 8, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("videos", "given", "said"),
    [
        (GOOD, {}, "nothing says when frames are shown"),
        (GOOD, {"fps": 30, "times": [0, 1, 2, 3]}, "fps and times both"),
        (GOOD, {"fps": 0}, "no rate of a video"),
        (GOOD, {"fps": float("nan")}, "no rate of a video"),
        (GOOD.astype(np.float32), {"fps": 30}, "is of float32"),
        (torch.zeros(4, 8, 8, 3), {"fps": 30}, "is of float32"),
        (GOOD.astype(object), {"fps": 30}, "is of object"),
        (GOOD.transpose(0, 3, 1, 2), {"fps": 30}, r"the shape \(4, 3, 8, 8\)"),
        (GOOD[0], {"fps": 30}, r"the shape \(8, 8, 3\)"),
        ([GOOD[0], GOOD[1]], {"fps": 30}, r"frames\[0\] has the shape"),
        (GOOD[:0], {"fps": 30}, r"the shape \(0, 8, 8, 3\)"),
        (np.broadcast_to(GOOD[:1, :1, :1], (1, 1 << 14, 1 << 14, 3)), {"fps": 30}, "million are read"),
        (GOOD, {"times": [0, 1, 2]}, "do not fit 4 frames"),
        (GOOD, {"times": [0, 1, float("nan"), 3]}, "the time of frame 2 is no number"),
        (GOOD, {"times": [0, 1, float("inf"), 3]}, "the time of frame 2 is no number"),
        (GOOD, {"times": [0, 2, 1, 3]}, "frame 2 is shown before"),
        (GOOD, {"times": ["a", "b", "c", "d"]}, "times are no numbers"),
        (GOOD, {"times": [5, 5, 5, 5]}, "say no rate"),
        (GOOD[:1], {"times": [5]}, "say no rate"),
        (GOOD, {"times": [0, 1, 2, 1e12]}, "no rate of a video"),
        ([GOOD, GOOD], {"times": [0, 1, 2, 3]}, "one array"),
        ("a.mp4", {"times": [0, 1, 2, 3]}, "one array"),
        (3, {"fps": 30}, "no video, but int"),
        ([3], {"fps": 30}, "video 0 of the list is no video, but int"),
    ],
)
def test_what_is_no_frames_is_refused(model: Model, videos: Any, given: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        model.detect(videos, **given)


def test_a_frame_that_is_not_there_is_an_error() -> None:
    (video,) = named_videos(GOOD, fps=30, times=None, needs_rate=True)
    with open_video(video) as source, pytest.raises(VideoError, match="frames has no frame 4"):
        next(source.iter_frames([4]))


# --- one result at a time ---------------------------------------------------------------------------------------


def test_results_come_one_at_a_time_with_progress(model: Model, file: Path, frames: np.ndarray) -> None:
    told: list[Progress] = []
    results = tadacli.iter_classify([file, "none.mp4", frames], model=model, fps=30, progress=told.append)
    first = next(results)
    assert {each.path for each in told} == {str(file)}
    assert [first.status, *(each.status for each in results)] == ["ok", "error", "ok"]
    assert [(each.index, each.path) for each in told if each.fraction == 0] == [
        (0, str(file)),
        (1, "none.mp4"),
        (2, "frames[2]"),
    ]
    assert told[-1].overall == 1.0


def test_detection_tells_how_far_it_is(model: Model, file: Path) -> None:
    told: list[Progress] = []
    (result,) = tadacli.iter_detect(file, model=model, window="1s", progress=told.append)
    assert result == tadacli.detect(file, model=model, window="1s")[0]
    fractions = [each.fraction for each in told]
    assert fractions == sorted(set(fractions))
    assert (fractions[0], fractions[-1], told[0].num_videos) == (0.0, 1.0, 1)


@pytest.mark.parametrize("name", ["iter_classify", "iter_detect"])
def test_an_error_of_the_callers_own_ends_the_call(model: Model, file: Path, name: str) -> None:
    def stop(progress: Progress) -> None:
        if progress.fraction > 0:
            raise KeyError(progress.path)

    with pytest.raises(KeyError):
        list(getattr(tadacli, name)(file, model=model, progress=stop))


@pytest.mark.parametrize("name", ["iter_classify", "iter_detect"])
def test_arguments_are_checked_when_they_are_given(model: Model, name: str) -> None:
    with pytest.raises(UsageError, match="no rate"):
        getattr(tadacli, name)("a.mp4", model=model, fps=-1)


@pytest.mark.parametrize("name", ["classify", "detect"])
def test_a_model_has_the_arguments_of_the_function(name: str) -> None:
    whole = inspect.signature(getattr(tadacli, name)).parameters
    own = inspect.signature(getattr(Model, name)).parameters
    assert {each: own[each].default for each in own if each != "self"} == {
        each: whole[each].default for each in whole if each not in ("model", "weights", "device", "dtype")
    }
