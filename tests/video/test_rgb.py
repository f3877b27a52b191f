"""Pixels that are picked from a decoded frame are those of the whole frame, to the bit."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from tadacli.video import reading, rgb
from tadacli.video.reading import open_video
from tadacli.video.rgb import picked_rgb, rgb_of
from tadacli.video.source import Frame, Picked
from tests import media

COLOURS = (None, 1, 5, 6, 9)  # of BT.709 and others, as FFmpeg numbers them


def noise(height: int, width: int, pixel_format: str, *, seed: int = 0) -> av.VideoFrame:
    """A frame whose bytes are random."""
    random = np.random.default_rng(seed)
    frame = av.VideoFrame(width, height, pixel_format)
    for plane in frame.planes:
        values = np.frombuffer(memoryview(plane), np.uint8)
        values[:] = random.integers(0, 256, values.shape)
    return frame


def some_pixels(height: int, width: int, *, num_rows: int = 12, num_columns: int = 10, seed: int = 0) -> Picked:
    random = np.random.default_rng(seed)
    return Picked(random.integers(0, height, num_rows), random.integers(0, width, num_columns))


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("colour_range", [None, 1, 2])
@pytest.mark.parametrize(
    ("height", "width", "pixel_format"),
    [
        (240, 320, "yuv420p"),
        (238, 427, "yuv420p"),  # an odd width
        (241, 320, "yuv420p"),  # an odd height, which FFmpeg converts in another way
        (720, 1280, "yuvj420p"),
        (1080, 1920, "yuv420p"),
        (240, 320, "yuv422p"),
        (240, 320, "yuv444p"),
        (240, 320, "nv12"),
        (240, 320, "rgb24"),
    ],
)
def test_picked_pixels_are_those_of_the_whole_frame(
    height: int, width: int, pixel_format: str, colour: int | None, colour_range: int | None
) -> None:
    frame = noise(height, width, pixel_format)
    if colour is not None:
        frame.colorspace = colour
    if colour_range is not None:
        frame.color_range = colour_range
    for seed, num_rows in enumerate((12, 11, 128)):
        picked = some_pixels(height, width, num_rows=num_rows, seed=seed)
        assert np.array_equal(picked_rgb(frame, picked), rgb_of(frame)[picked.rows][:, picked.columns])


def test_few_pixels_of_a_large_frame_are_converted_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, honest = [], rgb.rgb_of

    def watched(frame: av.VideoFrame) -> np.ndarray:
        sizes.append(frame.height * frame.width)
        return honest(frame)

    monkeypatch.setattr(rgb, "rgb_of", watched)
    picked_rgb(noise(240, 320, "yuv420p"), some_pixels(240, 320))
    assert sizes[-1] == 2 * 120
    picked_rgb(noise(240, 320, "yuv420p"), some_pixels(240, 320, num_rows=120, num_columns=120))
    assert sizes[-1] == 240 * 320, "not worth it"


def test_where_this_ffmpeg_does_not_agree_whole_frames_are_converted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rgb, "_rgb_alone", lambda _, picked: np.zeros((len(picked.rows), len(picked.columns), 3)))
    rgb._picking_agrees.cache_clear()
    try:
        frame, picked = noise(240, 320, "yuv420p"), some_pixels(240, 320)
        assert np.array_equal(picked_rgb(frame, picked), picked.of(rgb_of(frame)))
    finally:
        rgb._picking_agrees.cache_clear()


@pytest.mark.parametrize("rotation", [None, (90, False, False), (180, False, False), (0, True, False)])
@pytest.mark.parametrize("options", [{}, {"x264-params": "tff=1"}])
def test_files_give_picked_pixels(
    tmp_path: Path, rotation: tuple[float, bool, bool] | None, options: dict[str, str]
) -> None:
    path = tmp_path / "v.mp4"
    media.render(path, 6, size=(160, 96), rotation=rotation, noise=90, options=options)
    with open_video(path) as source:
        picked = some_pixels(source.info.height, source.info.width)
        frames = list(source.require_frames(range(6)))
        for whole, few in zip(frames, source.require_frames(range(6), picked=picked), strict=True):
            assert np.array_equal(few.pixels, picked.of(whole.pixels))
            assert (few.index, few.time_seconds) == (whole.index, whole.time_seconds)


def test_frames_on_the_way_to_a_wanted_one_are_not_converted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, converted, honest = tmp_path / "v.mp4", [], reading.rgb_of
    media.render(path, 20)

    def watched(frame: av.VideoFrame) -> np.ndarray:
        converted.append(frame.pts)
        return honest(frame)

    monkeypatch.setattr(reading, "rgb_of", watched)
    with open_video(path) as source:
        assert [frame.index for frame in source.require_frames([5, 12])] == [5, 12]
    assert len(converted) == 2


def test_pictures_and_arrays_give_picked_pixels(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(1, 4):
        (folder / f"frame_{number:010d}.jpg").write_bytes(media.jpeg_bytes(number))
    picked = some_pixels(96, 160)
    with open_video(folder) as source:
        frames = list(source.require_frames(range(3)))
        few = list(source.require_frames(range(3), picked=picked))
    assert all(np.array_equal(a.pixels, picked.of(b.pixels)) for a, b in zip(few, frames, strict=True))
    assert all(isinstance(frame, Frame) for frame in few)
