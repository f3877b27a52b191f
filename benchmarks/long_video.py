"""Long videos for measurements: a short encode whose packets are repeated, so that an hour takes seconds to make."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

FPS = Fraction(60_000, 1001)
HEIGHT, WIDTH = 1080, 1920
_PERIOD = 512  # the texture repeats, so that it can be shifted without an edge


def encode(path: Path, *, seconds: float, options: Mapping[str, str]) -> None:
    """Writes moving texture with fresh noise in each frame as 1080p59.94 H.264 into an MP4 file."""
    started = path.with_suffix(".part.mp4")
    with av.open(str(started), "w") as out:
        stream = out.add_stream("libx264", rate=FPS, options=dict(options))
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        for number, planes in enumerate(_planes(round(seconds * FPS))):
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts, frame.time_base = number, 1 / FPS
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    started.replace(path)


def _planes(num_frames: int) -> Iterator[np.ndarray]:
    """uint8 (1.5 * HEIGHT, WIDTH) each: a texture that pans in waves, a bright square that crosses it, and noise."""
    random = np.random.default_rng(0)
    texture = np.tile(_smooth_texture(random), (HEIGHT // _PERIOD + 2, WIDTH // _PERIOD + 2))
    noise = random.integers(0, 9, (2 * HEIGHT, 2 * WIDTH), dtype=np.uint8)
    planes = np.full((HEIGHT * 3 // 2, WIDTH), 128, dtype=np.uint8)
    for number in range(num_frames):
        down, across = (int(90 * np.sin(number / period)) % _PERIOD for period in (70.0, 41.0))
        planes[:HEIGHT] = texture[down : down + HEIGHT, across : across + WIDTH]
        left = number * 5 % (WIDTH - 200)
        planes[400:600, left : left + 200] = 210
        top, side = random.integers(0, HEIGHT), random.integers(0, WIDTH)
        planes[:HEIGHT] += noise[top : top + HEIGHT, side : side + WIDTH]
        yield planes


def _smooth_texture(random: np.random.Generator) -> np.ndarray:
    """uint8 (_PERIOD, _PERIOD), 30 to 200: noise with more of the coarse than of the fine, without an edge."""
    frequency = np.hypot(np.fft.fftfreq(_PERIOD)[:, None], np.fft.rfftfreq(_PERIOD)[None])
    spectrum = np.fft.rfft2(random.standard_normal((_PERIOD, _PERIOD))) / np.maximum(frequency, 1 / _PERIOD) ** 1.2
    values = np.fft.irfft2(spectrum, s=(_PERIOD, _PERIOD))
    low, high = values.min(), values.max()
    return (30 + 170 * (values - low) / (high - low)).astype(np.uint8)


def repeat_packets(source: str | os.PathLike[str], target: str | os.PathLike[str], *, times: int) -> None:
    """Writes a video that shows another one's video stream `times` times in a row, without encoding again.

    The source must begin with a frame from which decoding can start, and be cut nowhere.
    """
    started = Path(target).with_suffix(f".part{Path(target).suffix}")
    with av.open(str(started), "w") as out:
        new, length = None, 0
        for repetition in range(times):
            with av.open(os.fspath(source)) as once:
                old = once.streams.video[0]
                new = new or out.add_stream_from_template(old)
                shift, start, end = repetition * length, 0, 0
                for number, packet in enumerate(p for p in once.demux(old) if p.size):
                    start = packet.pts if number == 0 else start
                    end = max(end, packet.pts + packet.duration)
                    packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, new
                    out.mux(packet)
                length = end - start
    started.replace(target)
