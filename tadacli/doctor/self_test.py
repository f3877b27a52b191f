"""A tiny video of known content through all of the pipeline: decoding, preprocessing, the built-in network."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from tadacli.classification import classify
from tadacli.errors import TadaError

# What the built-in weights are, and what they answer here. Other weights need other numbers.
WEIGHTS_SHA256 = "17d7210f05f1c310e097e185db8f5e4c041f3b1da1b1061d289ccdfe6d99d8fa"
# The clip pans so slowly that the model is in two minds: a small fault anywhere would move these.
EXPECTED: Mapping[str, float] = {"pan left": 0.6117, "static": 0.3451, "roll clockwise": 0.0094}
# Room for the rounding of other processors and GPUs; a wrong colour order or frame moves the scores by more.
TOLERANCE = 0.02

_HEIGHT, _WIDTH, _NUM_FRAMES, _FPS = 72, 96, 48, 30
_SPEED, _GAIN = 0.135, 0.001  # pixels per frame in the middle, and what it gains from frame to frame


class CannotTestError(TadaError):
    """The test clip cannot be made here, so nothing can be said."""


@dataclass(frozen=True)
class SelfTest:
    """What the model answered: labels with their scores, best first, and what is wrong with that, if anything."""

    scores: Mapping[str, float]
    error: str


def self_test(*, device: str = "cpu") -> SelfTest:
    """The answer of the built-in model to the test clip, compared with the known one.

    Raises `CannotTestError` without the encoder for the clip, and what `classify` raises.
    """
    with tempfile.TemporaryDirectory(prefix="tada-") as folder:
        clip = Path(folder) / "clip.mkv"
        write_clip(clip)
        (result,) = classify(clip, topk=len(EXPECTED), device=device)
    if result.status != "ok":
        return SelfTest({}, result.error or f"the clip is called {result.status}")
    scores = {prediction.label: prediction.score for prediction in result.heads[""]}
    return SelfTest(scores, _difference(scores))


def write_clip(path: Path) -> None:
    """Write the test clip, coded without loss, so that the same pixels come out everywhere."""
    try:
        av.Codec("ffv1", "w")
    except ValueError as error:
        raise CannotTestError("this FFmpeg cannot encode FFV1, which the test clip is made with") from error
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=_FPS)
        stream.height, stream.width, stream.pix_fmt = _HEIGHT, _WIDTH, "bgr0"
        stream.codec_context.thread_count = 1
        for pixels in clip_frames():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())


def clip_frames() -> Iterator[NDArray[np.uint8]]:
    """The frames of the test clip, uint8 (height, width, 3): waves in all directions; the camera pans ever faster."""
    y, columns = np.mgrid[0:_HEIGHT, 0:_WIDTH].astype(np.float64)
    for index in range(_NUM_FRAMES):
        time = index - _NUM_FRAMES / 2
        x = columns - (_SPEED + _GAIN / 2 * time) * time
        waves = np.sin(x / 11 + y / 17) + np.sin(x / 7 - y / 13) + np.sin(x / 23 + y / 5) + np.sin(x / 5 + y / 29)
        red = 127 + 30 * (waves + np.sin(x / 31))
        green = 110 + 28 * (waves - np.sin(y / 19))
        blue = 120 + 25 * waves * np.cos(x / 37 + y / 41)
        yield np.stack([red, green, blue], axis=-1).clip(0, 255).round().astype(np.uint8)


def _difference(scores: Mapping[str, float]) -> str:
    if list(scores)[:1] != list(EXPECTED)[:1]:
        return f"the clip is a {next(iter(EXPECTED))}, but the model answers {next(iter(scores), 'nothing')}"
    for label, expected in EXPECTED.items():
        if not abs(scores.get(label, 0.0) - expected) <= TOLERANCE:
            return f"the score of {label} is {scores.get(label, 0.0):.4f}, not {expected:.4f}"
    return ""
