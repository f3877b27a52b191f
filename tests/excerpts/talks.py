"""Videos that beep: pictures that say their number, and a tone that begins with some of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from tests import media

RATE = 48_000
TONE_SECONDS = 0.04
KEY_FRAMES = {"g": "10", "x264-params": "scenecut=0:open-gop=0:bframes=2:b-adapt=0"}


def render_talk(
    path: Path,
    num_frames: int = 50,
    *,
    beeps: Sequence[Sequence[int]] = ((5, 15, 25, 35),),
    codec: str = "libx264",
    audio_codec: str = "aac",
    pixel_format: str = "yuv420p",
    options: Mapping[str, str] = KEY_FRAMES,
    pts: Sequence[int] | None = None,
    time_base: Fraction = Fraction(1, 25),
    size: tuple[int, int] = (96, 160),
    rotation: int | None = None,
    aspect: Fraction | None = None,
) -> None:
    """A video of numbered pictures, with a stream of sound for each of `beeps`: the frames that tones begin with."""
    times = [at * time_base for at in (pts or range(num_frames))]
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=Fraction(25), options=dict(options))
        stream.height, stream.width = size
        stream.pix_fmt, stream.thread_count = pixel_format, 1
        stream.codec_context.time_base = time_base
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        if rotation is not None:
            stream.set_display_rotation(rotation, hflip=False, vflip=False)
        tracks = [out.add_stream(audio_codec, rate=RATE, layout="stereo") for _ in beeps]
        sounds = [_sound(times, some) for some in beeps]
        first, done = round(times[0] * RATE), 0
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(media.picture(number, height=size[0], width=size[1]), format="rgb24")
            frame.pts, frame.time_base = round(time / time_base), time_base
            out.mux(stream.encode(frame))
            until = round(time * RATE) - first if number < num_frames - 1 else max(map(len, sounds), default=0)
            for track, sound in zip(tracks, sounds, strict=True):
                _add(out, track, sound[done:until], first + done)
            done = until
        for each in (stream, *tracks):
            out.mux(each.encode(None))


def _sound(times: Sequence[Fraction], beeps: Sequence[int]) -> np.ndarray:
    length = round((times[-1] - times[0] + Fraction(1, 25)) * RATE)
    samples = np.zeros(length, dtype=np.float32)
    for number in beeps:
        start = round((times[number] - times[0]) * RATE)
        tone = 0.7 * np.sin(2 * np.pi * 1000 * np.arange(round(TONE_SECONDS * RATE)) / RATE)
        samples[start : start + len(tone)] = tone[: length - start]
    return samples


def _add(out: av.container.OutputContainer, track: av.AudioStream, samples: np.ndarray, pts: int) -> None:
    if len(samples):
        frame = av.AudioFrame.from_ndarray(np.repeat(samples[None], 2, axis=0), format="fltp", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = RATE, pts, Fraction(1, RATE)
        out.mux(track.encode(frame))


def onsets(path: Path, track: int = 0) -> list[float]:
    """When tones begin, in seconds of presentation time, as a player hears them."""
    found: list[float] = []
    last = -1.0
    with av.open(str(path)) as container:
        resampler = av.AudioResampler("fltp", "mono", RATE)
        for frame in container.decode(audio=track):
            for piece in resampler.resample(frame):
                loud = np.flatnonzero(np.abs(piece.to_ndarray()[0]) > 0.2)
                for at in (float(piece.pts * piece.time_base) + loud / RATE).tolist():
                    if at - last > 2 * TONE_SECONDS:
                        found.append(at)
                    last = at
    return found


def num_sounds(path: Path) -> int:
    """How many streams of sound a file has."""
    with av.open(str(path)) as container:
        return len(container.streams.audio)
