"""Properties of frame sampling; the exact published numbers are in tests/parity."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tadacli.errors import UsageError
from tadacli.sampling.clips import clip_indices, interval_length, training_indices


@settings(deadline=None)  # the first call imports torch
@given(
    mode=st.sampled_from(["interval", "interval_hub", "segment"]),
    num_video_frames=st.integers(1, 100_000),
    fps=st.floats(1, 240),
    clip_frames=st.integers(1, 64),
    frame_stride=st.integers(1, 16),
    num_clips=st.integers(1, 10),
    data=st.data(),
)
def test_indices_exist_and_do_not_go_back(
    mode, num_video_frames, fps, clip_frames, frame_stride, num_clips, data
) -> None:
    indices = clip_indices(
        mode,
        num_video_frames,
        fps=fps,
        clip_frames=clip_frames,
        frame_stride=frame_stride,
        num_clips=num_clips,
        clip_index=data.draw(st.integers(0, num_clips - 1)),
    )
    assert len(indices) == clip_frames
    assert min(indices) >= 0
    assert max(indices) < num_video_frames
    # A clip that spans less than one frame of a very slow video runs backwards by that rest, as published.
    if mode == "segment" or interval_length(clip_frames, frame_stride, target_fps=30.0, fps=fps) >= 1:
        assert indices == sorted(indices)


@pytest.mark.parametrize(
    ("arguments", "expected", "reason"),
    [
        ({"mode": "interval", "num_video_frames": 1, "fps": 30.0}, [0, 0, 0, 0], "one frame is repeated"),
        ({"mode": "segment", "num_video_frames": 1}, [0, 0, 0, 0], "one frame is repeated"),
        ({"mode": "segment", "num_video_frames": 8}, [1, 3, 5, 7], "the middles of four parts"),
        (
            {"mode": "interval", "num_video_frames": 104, "fps": 30.0, "frame_stride": 1},
            [50, 51, 52, 53],
            "centred",
        ),
        (
            {"mode": "interval", "num_video_frames": 104, "fps": 60.0, "frame_stride": 2, "minus_interval": True},
            [44, 48, 53, 58],
            "a span of 16 whose last frame lies 2 frames of the video before its end",
        ),
        (
            {"mode": "interval", "num_video_frames": 103, "fps": 30.0, "num_clips": 3, "clip_index": 2},
            [66, 67, 68, 69],
            "two thirds of the room",
        ),
        (
            {"mode": "interval_hub", "num_video_frames": 103, "fps": 30.0, "num_clips": 3, "clip_index": 2},
            [98, 99, 100, 101],
            "twice the whole part of half the room",
        ),
        (
            {"mode": "segment", "num_video_frames": 2},
            [0, 1, 1, 1],
            "0.25, 0.75, 1.25, 1.75, the last clamped",
        ),
    ],
)
def test_known_clips(arguments, expected, reason) -> None:
    assert clip_indices(clip_frames=4, **arguments) == expected, reason


@pytest.mark.parametrize(
    "arguments",
    [
        {"mode": "interval", "num_video_frames": 0, "fps": 30.0},
        {"mode": "interval", "num_video_frames": 9, "fps": None},
        {"mode": "interval", "num_video_frames": 9, "fps": 0.0},
        {"mode": "interval", "num_video_frames": 9, "fps": 30.0, "frame_stride": 0},
        {"mode": "segment", "num_video_frames": 9, "num_clips": 2, "clip_index": 2},
        {"mode": "segment", "num_video_frames": 9, "clip_index": -1},
        {"mode": "random", "num_video_frames": 9},
    ],
)
def test_numbers_without_a_clip_are_refused(arguments) -> None:
    with pytest.raises(UsageError):
        clip_indices(clip_frames=4, **arguments)


# --- training ---------------------------------------------------------------------------------------


@given(
    mode=st.sampled_from(["interval", "segment"]),
    num_video_frames=st.integers(1, 100_000),
    fps=st.floats(1, 240),
    clip_frames=st.integers(1, 64),
    frame_stride=st.integers(1, 16),
    seed=st.integers(0, 1000),
)
def test_a_training_clip_lies_inside_the_video_and_is_the_seeds(
    mode, num_video_frames, fps, clip_frames, frame_stride, seed
) -> None:
    settings = {"fps": fps, "clip_frames": clip_frames, "frame_stride": frame_stride, "target_fps": 30.0}
    indices, again = (
        training_indices(mode, num_video_frames, rng=np.random.default_rng(seed), **settings) for _ in range(2)
    )
    assert indices == again
    assert len(indices) == clip_frames
    assert 0 <= min(indices) <= max(indices) < num_video_frames
    length = interval_length(clip_frames, frame_stride, target_fps=30.0, fps=fps)
    if mode == "segment":
        parts = [num_video_frames * part / clip_frames for part in range(clip_frames + 1)]
        inside = zip(parts[:-1], indices, parts[1:], strict=True)
        assert all(int(left + 1e-6) <= index <= right + 1e-6 for left, index, right in inside)
    elif num_video_frames <= length:
        assert indices == clip_indices(mode, num_video_frames, **settings)
    elif length >= 1:
        # The same steps as the test clip takes, up to the truncation of either.
        start = clip_indices(mode, num_video_frames, **settings)
        assert all(abs((a - indices[0]) - (b - start[0])) <= 1 for a, b in zip(indices, start, strict=True))


def test_starts_and_parts_are_evenly_likely() -> None:
    rng = np.random.default_rng(0)
    settings = {"fps": 30.0, "clip_frames": 4, "frame_stride": 2, "target_fps": 30.0, "rng": rng}
    starts = np.bincount([training_indices("interval", 18, **settings)[0] for _ in range(4000)])
    assert len(starts) == 10  # frames 0 to 9; the clip from 10.0 on is as rare as a number
    assert starts.min() > 320
    assert starts.max() < 480
    clips = np.array([training_indices("segment", 40, **settings) for _ in range(4000)])
    for part in range(4):
        counts = np.bincount(clips[:, part] - 10 * part, minlength=10)
        assert len(counts) == 10
        assert counts.min() > 320


@pytest.mark.parametrize(
    "arguments",
    [
        {"mode": "interval", "num_video_frames": 0, "fps": 30.0},
        {"mode": "interval", "num_video_frames": 9},
        {"mode": "segment", "num_video_frames": 9, "clip_frames": 0},
        {"mode": "random", "num_video_frames": 9},
    ],
)
def test_numbers_without_a_training_clip_are_refused(arguments) -> None:
    with pytest.raises(UsageError):
        training_indices(**{"clip_frames": 4, "rng": np.random.default_rng(0), **arguments})
