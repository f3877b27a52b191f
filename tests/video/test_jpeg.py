"""A JPEG picture comes out as Pillow decodes it, or is refused where libjpeg filled in what it could not read."""

from __future__ import annotations

import io
import tarfile
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tadacli.errors import VideoError
from tadacli.video.jpeg import decode_jpeg
from tadacli.video.reading import iter_frames, read_frames
from tadacli.video.source import Frame, Unreadable
from tests.media import jpeg_bytes

SIZES = [(1, 1), (7, 9), (16, 16), (33, 50), (97, 131)]
SUBSAMPLINGS = ["4:4:4", "4:2:2", "4:2:0", "4:1:1"]


def photo(height: int, width: int, *, mode: str = "RGB") -> Image.Image:
    """Waves in three colours with some noise, so that every coefficient of a block is used."""
    y, x = np.mgrid[0:height, 0:width]
    waves = np.stack([128 + 90 * np.sin(x / 7 + k) + 60 * np.cos(y / (5 + k)) for k in range(3)], axis=-1)
    noise = np.random.default_rng(height * width).normal(0, 15, waves.shape)
    return Image.fromarray((waves + noise).clip(0, 255).astype(np.uint8)).convert(mode)


def encoded(image: Image.Image, **options: object) -> bytes:
    data = io.BytesIO()
    image.save(data, "JPEG", **options)
    return data.getvalue()


def with_pillow(data: bytes) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(data), formats=("JPEG",)).convert("RGB"))


def outcome(data: bytes) -> np.ndarray | str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, about sizes and EXIF
        return decode_jpeg(data)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
def test_every_kind_of_colour_picture_has_the_pixels_of_pillow(subsampling: str, progressive: bool) -> None:
    for size in SIZES:
        for quality in (10, 75, 95):
            options = {"subsampling": subsampling, "progressive": progressive, "quality": quality}
            for data in (
                encoded(photo(*size), **options),
                encoded(photo(*size), **options, restart_marker_blocks=3),
                encoded(photo(33, 50), keep_rgb=True),  # without the change to luminance and colours
            ):
                np.testing.assert_array_equal(decode_jpeg(data), with_pillow(data))


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_pictures_without_three_colours_have_the_pixels_of_pillow(mode: str) -> None:
    data = encoded(photo(33, 50, mode=mode))
    np.testing.assert_array_equal(decode_jpeg(data), with_pillow(data))
    assert isinstance(outcome(data[:-200]), str)


def test_orientation_and_what_stands_after_the_picture_change_nothing() -> None:
    turned, plain = jpeg_bytes(1, orientation=6), jpeg_bytes(1)
    for data in (turned, plain + b"more", plain + turned):
        np.testing.assert_array_equal(decode_jpeg(data), with_pillow(plain))
    assert isinstance(outcome(b"\0" + plain), str)


@pytest.mark.parametrize("progressive", [False, True])
def test_no_cut_is_concealed(progressive: bool) -> None:
    data = encoded(photo(24, 40), progressive=progressive)
    assert all(isinstance(outcome(data[:length]), str) for length in range(len(data)))


@pytest.mark.parametrize("progressive", [False, True])
def test_no_damage_that_libjpeg_sees_is_concealed(progressive: bool) -> None:
    data = encoded(photo(24, 40), progressive=progressive)
    right = decode_jpeg(data)
    rng = np.random.default_rng(0)
    num_refused, num_concealed = 0, 0
    for _ in range(600):
        damaged = bytearray(data)
        for place in rng.integers(len(data), size=rng.integers(1, 5)):
            damaged[place] = rng.integers(256)
        found = outcome(bytes(damaged))
        num_refused += isinstance(found, str)
        try:
            num_concealed += isinstance(found, str) and with_pillow(bytes(damaged)).shape == right.shape
        except (OSError, ValueError, SyntaxError):
            continue
    assert num_refused > 200
    assert num_concealed > 60, "Pillow alone gives what libjpeg filled in"


def frames_folder(folder: Path, contents: list[bytes]) -> Path:
    folder.mkdir()
    for number, data in enumerate(contents, 1):
        (folder / f"frame_{number:010d}.jpg").write_bytes(data)
    return folder


@pytest.mark.parametrize("kind", ["folder", "tar"])
def test_a_frame_that_libjpeg_warns_of_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    whole = encoded(photo(24, 40))
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 0xFF]) * 6 + whole[middle + 6 :]
    no_end = whole[: middle + 100] + b"\xff\xd9"
    path = frames_folder(tmp_path / "frames", [whole, flipped, no_end, whole])
    if kind == "tar":
        with tarfile.open(tmp_path / "frames.tar", "w") as tar:
            tar.add(path, "frames")
        path = tmp_path / "frames.tar"
    with pytest.raises(VideoError, match=r"frame_0000000002\.jpg of .* is not a whole JPEG picture: Corrupt JPEG data"):
        read_frames(path, [0, 1])
    found = list(iter_frames(path, range(4), skip_unreadable=True))
    assert [type(frame) for frame in found] == [Frame, Unreadable, Unreadable, Frame]
