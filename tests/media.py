"""Videos made for tests: their pixels say which frame they are, so "which frame did I get" has an answer."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from tadacli.doctor.codecs import tame_encoder

_BLOCK = 16
_BITS = 10


def shared_folder() -> Path:
    """The folder with real test media; skips the test without it, or fails it in CI."""
    folder = _shared()
    if folder.is_dir():
        return folder
    reason = f"the shared test media are not at {folder} (set TADA_SHARED)"
    if os.environ.get("TADA_REQUIRE_SHARED") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def _shared() -> Path:
    default = Path(__file__).resolve().parents[2] / "shared"
    return Path(os.environ.get("TADA_SHARED", default))


def shared_media() -> list[dict[str, str]]:
    """The rows of media.csv, which say what each file holds; none without the shared folder."""
    table = _shared() / "media" / "media.csv"
    if not table.is_file():
        return []
    with table.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def picture(number: int, *, height: int = 96, width: int = 160, noise: int = 0) -> np.ndarray:
    """uint8 (height, width, 3): `number` as ten black and white blocks in the upper left, on slow colours.

    `noise` is the amplitude of noise below the blocks, which makes packets large.
    """
    y, x = np.mgrid[0:height, 0:width]
    red = 60 + (x * 2 + number * 3) % 120
    image = np.stack([red, np.full_like(x, 90), 60 + y % 120], axis=-1).astype(np.uint8)
    if noise:
        rng = np.random.default_rng(number)
        below = image[2 * _BLOCK :]
        below += rng.integers(0, noise, below.shape, dtype=np.uint8)
    for bit in range(_BITS):
        row, column = divmod(bit, 5)
        block = np.s_[row * _BLOCK : (row + 1) * _BLOCK, column * _BLOCK : (column + 1) * _BLOCK]
        image[block] = 235 if number >> bit & 1 else 20
    return image


def number_in(image: np.ndarray) -> int:
    """The number that `picture` wrote into a frame."""
    number = 0
    for bit in range(_BITS):
        row, column = divmod(bit, 5)
        middle = image[row * _BLOCK :, column * _BLOCK :][4 : _BLOCK - 4, 4 : _BLOCK - 4]
        number |= int(middle.mean() > 128) << bit
    return number


def render(
    path: Path | str,
    num_frames: int = 30,
    *,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    options: Mapping[str, str] | None = None,
    container_options: Mapping[str, str] | None = None,
    format_name: str | None = None,
    pts: Sequence[int] | None = None,
    time_base: Fraction = Fraction(1, 30),
    rotation: tuple[float, bool, bool] | None = None,
    aspect: Fraction | None = None,
    size: tuple[int, int] = (96, 160),
    noise: int = 0,
    audio: bool = False,
    rate: Fraction = Fraction(30),
    timecode: str = "",
) -> None:
    """Writes a video of pictures numbered from 0, shown at `pts` (default: 0, 1, ...) times `time_base`.

    `timecode` is that of the first frame, for a file that can say it, of `rate` frames a second.
    """
    settings = dict(container_options or {})
    with tame_encoder(), av.open(str(path), "w", format=format_name, container_options=settings) as out:
        stream = out.add_stream(codec, rate=rate, options=dict(options or {}))
        if timecode:
            stream.metadata["timecode"] = timecode
        stream.height, stream.width = size
        stream.pix_fmt = pixel_format
        stream.thread_count = 1
        stream.codec_context.time_base = time_base
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        if rotation is not None:
            stream.set_display_rotation(rotation[0], hflip=rotation[1], vflip=rotation[2])
        sound = out.add_stream("aac", rate=8000, layout="mono") if audio else None
        for number in range(num_frames):
            image = picture(number, height=size[0], width=size[1], noise=noise)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = (pts[number] if pts else number), time_base
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        if sound is not None:
            _silence(out, sound)


def _silence(out: av.container.OutputContainer, sound: av.AudioStream) -> None:
    for start in range(0, 8192, 1024):
        nothing = np.zeros((1, 1024), dtype=np.float32)
        block = av.AudioFrame.from_ndarray(nothing, format="fltp", layout="mono")
        block.sample_rate, block.pts, block.time_base = 8000, start, Fraction(1, 8000)
        out.mux(sound.encode(block))
    out.mux(sound.encode(None))


def render_audio(path: Path | str) -> None:
    """Writes a file with sound and no picture."""
    with av.open(str(path), "w") as out:
        _silence(out, out.add_stream("aac", rate=8000, layout="mono"))


def jpeg_bytes(number: int, *, height: int = 96, width: int = 160, orientation: int | None = None) -> bytes:
    """The numbered picture as a JPEG file, with an EXIF orientation if given."""
    image, exif = Image.fromarray(picture(number, height=height, width=width)), Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    data = io.BytesIO()
    image.save(data, "JPEG", quality=95, exif=exif)
    return data.getvalue()
