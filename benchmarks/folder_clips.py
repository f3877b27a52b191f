"""A folder of short videos as people have them by the thousand: several containers, codecs, sizes and groups.

Every other clip is made of real frames, of videos of the shared folder as far as it is there, the others show a
rendered scene. Each is encoded by itself, once; a clip that is there already is kept.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import islice
from pathlib import Path

import av
import numpy as np

RATE = 30
SECONDS = (3.0, 10.0)
_GOLDEN = 0.6180339887  # multiples of it spread evenly over 0 to 1, however many there are


@dataclass(frozen=True)
class Kind:
    """How a clip is encoded: its container, which is the ending of its name, and its codec with options."""

    container: str
    encoder: str
    options: tuple[tuple[str, str], ...]


_VP9 = (("deadline", "realtime"), ("cpu-used", "8"), ("crf", "33"), ("b", "0"))
KINDS = tuple(
    Kind(container, encoder, (*options, ("g", group)))
    for container, encoder, options in (
        ("mp4", "libx264", (("preset", "medium"),)),
        ("mkv", "libx264", (("preset", "medium"),)),
        ("webm", "libvpx-vp9", _VP9),
        ("avi", "mpeg4", (("qscale", "5"),)),
    )
    for group in ("12", "250")
)
CONTAINERS = tuple(dict.fromkeys(kind.container for kind in KINDS))
# (height, width): half of the clips are about as small as those of data sets, an eighth is large.
SIZES = ((240, 320), (256, 340), (360, 640), (240, 320), (720, 1280), (256, 340), (360, 640), (1080, 1920))
_LARGE = 720

_PEOPLE = "people"
SMALL_SOURCES = (
    "OpenGVLab+Ask-Anything__hitting_baseball.mp4",
    "OpenGVLab+Ask-Anything__playing_guitar.mp4",
    "OpenGVLab+Ask-Anything__yoga.mp4",
    "open-mmlab+mmaction2__demo.mp4",
    "open-mmlab+mmaction2__test_video_structuralize.mp4",
    "yysijie+st-gcn__clean_and_jerk.mp4",
    "TianzhongSong+C3D-keras__v_Biking_g05_c02.avi",
)
LARGE_SOURCES = (
    "facebookresearch+sam2__02_cups.mp4",
    "facebookresearch+sam2__03_blocks.mp4",
    "facebookresearch+sam2__04_coffee.mp4",
    "facebookresearch+sam2__05_default_juggle.mp4",
    "OpenGVLab+Ask-Anything__jesse_dance.mp4",
)


def shared_media() -> Path | None:
    """The folder of real videos beside the checkout, or where TADA_SHARED says; None where there is none."""
    shared = Path(os.environ.get("TADA_SHARED", Path(__file__).resolve().parents[2] / "shared")) / "media"
    return shared if shared.is_dir() else None


def make_clips(pool: Path, count: int, *, media: Path | None) -> dict[str, list[Path]]:
    """So many clips by container.

    Args:
        pool: The folder for them; a clip that is there already is kept.
        count: How many.
        media: The folder of real videos; None renders all clips.

    Returns:
        The files of each container, in the order of their numbers.
    """
    pool.mkdir(parents=True, exist_ok=True)
    found: dict[str, list[Path]] = {container: [] for container in CONTAINERS}
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        size = SIZES[number // len(KINDS) % len(SIZES)]
        source = _source(media, number, size)
        path = pool / f"{number:04}-{'scene' if source is None else source.stem}.{kind.container}"
        if not path.exists():
            _encode(path, kind, size, _frames(source, number, size))
        found[kind.container].append(path)
    return {container: paths for container, paths in found.items() if paths}


def _source(media: Path | None, number: int, size: tuple[int, int]) -> Path | None:
    """A real video that need not be enlarged much; None for every other clip of each container and each size."""
    block = number // len(KINDS)
    if media is None or (number // 2 + block + block // len(SIZES)) % 2:
        return None
    names = LARGE_SOURCES if size[0] >= _LARGE else SMALL_SOURCES
    return media / _PEOPLE / names[number % len(names)]


def _num_frames(number: int) -> int:
    least, most = SECONDS
    return round(RATE * (least + (most - least) * (number * _GOLDEN % 1)))


def _encode(path: Path, kind: Kind, size: tuple[int, int], frames: Iterator[av.VideoFrame]) -> None:
    started = path.with_name(f".{path.stem}.part.{kind.container}")
    with av.open(str(started), "w") as out:
        stream = out.add_stream(kind.encoder, rate=RATE, options=dict(kind.options))
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        stream.thread_count = 1  # so that the file is the same on every machine
        for number, frame in enumerate(frames):
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    started.replace(path)


def _frames(source: Path | None, number: int, size: tuple[int, int]) -> Iterator[av.VideoFrame]:
    """The frames of a clip: of a real video from somewhere on, or of a camera that moves over a rendered scene."""
    count = _num_frames(number)
    if source is None:
        for planes in _scene(number, size, count):
            yield av.VideoFrame.from_ndarray(planes, format="yuv420p")
        return
    with av.open(str(source)) as container:
        first = max(0, container.streams.video[0].frames - count) * (number * _GOLDEN % 1)
        for frame in islice(container.decode(video=0), int(first), int(first) + count):
            made = frame.reformat(width=size[1], height=size[0], format="yuv420p")
            made.pict_type = 0  # the encoder chooses
            yield made


def _scene(number: int, size: tuple[int, int], count: int) -> Iterator[np.ndarray]:
    """uint8 (1.5 H, W) each, Y, U and V below each other: a landscape under a hand-held camera, with noise."""
    height, width = size
    luma, noise = _landscape()
    for step in range(count):
        at = step / RATE + number
        down, across = (
            int(room * (0.5 + 0.45 * np.sin(at * speed)))
            for room, speed in zip((luma.shape[0] - height, luma.shape[1] - width), (0.31, 0.23), strict=True)
        )
        view = luma[down : down + height, across : across + width]
        grain = noise[step * 37 % 64 :, step * 53 % 64 :][:height, :width]
        planes = np.empty((height * 3 // 2, width), dtype=np.uint8)
        planes[:height] = np.clip(view + grain, 16, 235)
        chroma = planes[height:].reshape(2, height // 2, width // 2)
        chroma[0], chroma[1] = view[::2, ::2] / 4 + 96, 160 - view[::2, ::2] / 4
        yield planes


@cache
def _landscape() -> tuple[np.ndarray, np.ndarray]:
    """A scene, int16 16 to 235, and noise to lie over it, int16; both larger than the largest frame."""
    random = np.random.default_rng(0)
    height, width = 1200, 2160
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    spectrum = np.fft.rfft2(random.standard_normal((height, width))) / np.maximum(frequency, 1 / width) ** 1.4
    values = np.fft.irfft2(spectrum, s=(height, width))
    values = (values - values.min()) / (values.max() - values.min())
    scene = (16 + 219 * values).astype(np.int16)
    return scene, random.normal(0, 1.5, (height, width)).astype(np.int16)
