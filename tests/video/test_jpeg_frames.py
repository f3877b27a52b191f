"""JPEG frames come out the same whoever decodes them; folders, tars and their damage are in `test_video`."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from PIL import Image

from tadacli.errors import VideoError
from tadacli.video import jpeg_frames
from tadacli.video.reading import read_frames
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


@contextmanager
def decoded_by(decoder: object) -> Iterator[mock.Mock]:
    """Frames are offered to `decoder` first; to Pillow alone if it is None."""
    calls = mock.Mock(side_effect=decoder)
    with mock.patch.object(jpeg_frames, "faster_decoder", return_value=calls if decoder else None):
        yield calls


def outcome(data: bytes) -> bytes | str:
    """The pixels of a file's content with their shape, or what is said against it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, about sizes and EXIF
        pixels = jpeg_frames.decode_jpeg(data)
    return pixels if isinstance(pixels, str) else repr(pixels.shape).encode() + pixels.tobytes()


def assert_same(data: bytes) -> bool:
    """Whether simplejpeg gave the pixels; in any case they, or the reason why there are none, are Pillow's."""
    simplejpeg = pytest.importorskip("simplejpeg")
    with decoded_by(None):
        expected = outcome(data)
    was_used = []

    def decode(content: bytes) -> np.ndarray:
        pixels = simplejpeg.decode_jpeg(content)
        was_used.append(True)
        return pixels

    with decoded_by(decode):
        assert outcome(data) == expected
    return bool(was_used)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
def test_every_kind_of_colour_picture_is_decoded_faster_to_the_same_pixels(subsampling: str, progressive: bool) -> None:
    for size in SIZES:
        for quality in (10, 75, 95):
            options = {"subsampling": subsampling, "progressive": progressive, "quality": quality}
            assert assert_same(encoded(photo(*size), **options))
            assert assert_same(encoded(photo(*size), **options, restart_marker_blocks=3))
    assert assert_same(encoded(photo(33, 50), keep_rgb=True)), "without the change to luminance and colours"


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_pictures_without_three_colours_are_left_to_pillow(mode: str) -> None:
    assert not assert_same(encoded(photo(33, 50, mode=mode)))


def test_orientation_and_what_stands_after_the_picture_change_nothing() -> None:
    assert assert_same(jpeg_bytes(1, orientation=6))
    data = encoded(photo(33, 50))
    assert assert_same(data + b"more")
    assert assert_same(data + data)
    assert not assert_same(b"\0" + data)


@pytest.mark.parametrize("progressive", [False, True])
def test_no_cut_is_concealed(progressive: bool) -> None:
    data = encoded(photo(24, 40), progressive=progressive)
    assert not any(assert_same(data[:length]) for length in range(len(data)))


@pytest.mark.parametrize("progressive", [False, True])
def test_no_damage_is_concealed(progressive: bool) -> None:
    data = encoded(photo(24, 40), progressive=progressive)
    rng = np.random.default_rng(0)
    taken = []
    for _ in range(600):
        damaged = bytearray(data)
        for place in rng.integers(len(data), size=rng.integers(1, 5)):
            damaged[place] = rng.integers(256)
        taken.append(assert_same(bytes(damaged)))
    assert 0.05 < np.mean(taken) < 0.95, "damage that a decoder can see, and damage that none can"


def test_arithmetic_coding_is_judged_as_by_pillow() -> None:
    data = bytearray(encoded(photo(24, 40)))
    data[data.index(b"\xff\xc0") + 1] = 0xC9  # says that it is coded so, which it is not
    assert_same(bytes(data))


@pytest.mark.parametrize(
    ("decoder", "reason"),
    [
        (ValueError("Premature end of JPEG file"), "damage, or what it does not know"),
        (RuntimeError("out of order"), "any failure of its own"),
        (lambda _: np.zeros((12, 20, 3), np.uint8), "a picture of another size"),
    ],
)
def test_pillow_decodes_where_thefaster_decoder_does_not(decoder: object, reason: str) -> None:
    data = encoded(photo(24, 40))
    with decoded_by(None):
        expected = outcome(data)
    with decoded_by(decoder) as calls:
        assert outcome(data) == expected, reason
    assert calls.called


def test_thefaster_decoder_is_asked_for_frames_of_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "P01_01"
    folder.mkdir()
    (folder / "frame_0000000001.jpg").write_bytes(encoded(photo(24, 40)))
    (folder / "frame_0000000002.jpg").write_bytes(encoded(photo(24, 40))[:-100])
    grey = np.full((24, 40, 3), 77, np.uint8)
    with decoded_by(lambda _: grey):
        assert np.array_equal(read_frames(folder, [0])[0], grey)
    with decoded_by(ValueError("damaged")), pytest.raises(VideoError, match=r"frame_0000000002\.jpg .*truncated"):
        read_frames(folder, [0, 1])


def test_without_the_extra_pillow_does_it_all() -> None:
    jpeg_frames.faster_decoder.cache_clear()
    with mock.patch.dict("sys.modules", simplejpeg=None):
        assert jpeg_frames.faster_decoder() is None
    jpeg_frames.faster_decoder.cache_clear()
