"""The folder that pages run in: small videos of a camera that pans over a picture, under the names that pages use."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tadacli.camera_motion.virtual_camera import write_video

HEIGHT, WIDTH, FPS = 120, 214, 30
_STEP = 0.2 * HEIGHT / FPS  # how far a picture moves from frame to frame


def make_folder(folder: Path) -> None:
    """Fill a new folder with the videos, clips, frames and lists that the pages name."""
    moves, left = folder / "kitchen.mp4", folder / "holiday.mp4"
    (folder / "archive" / "older").mkdir(parents=True)
    (folder / "demo").mkdir()
    _write(moves, ["pan left", "static", "pan right"], seconds=2)
    _write(left, ["pan left"], seconds=1.5)
    for name in ("demo/moves.mp4", "b.mp4", "archive/b.mp4", "archive/older/c.mp4"):
        shutil.copy(moves, folder / name)
    for name in ("demo/pan left.mp4", "a.mp4", "my.mp4", "new.mp4", "talk.mp4", "archive/a.mp4"):
        shutil.copy(left, folder / name)
    for label in ("left", "right"):
        (folder / "clips" / label).mkdir(parents=True)
        for number in range(5):
            _write(folder / "clips" / label / f"{number}.mp4", [f"pan {label}"], seconds=1.2, start=number)
    (folder / "videos").mkdir()
    for number, name in enumerate(("P01_101", "P02_101", "P04_101")):
        _write(folder / "videos" / f"{name}.MP4", ["pan left", "pan right"], seconds=1.5, start=number)
    (folder / "frames").mkdir()
    for number, frame in enumerate(_frames(["pan right"], seconds=1), start=1):
        Image.fromarray(frame).save(folder / "frames" / f"img_{number:05}.jpg", quality=90)
    rows = [f"clips/{label}/{number}.mp4,pan {label}" for label in ("left", "right") for number in range(2)]
    (folder / "mine.csv").write_text("\n".join(["path,label", *rows]) + "\n")
    (folder / "list.txt").write_text("a.mp4\nb.mp4\n")
    (folder / "times.csv").write_text("2.0\n4.0\n")


def _write(path: Path, motions: Sequence[str], *, seconds: float, start: int = 0) -> None:
    write_video(path, _frames(motions, seconds=seconds, start=start), fps=FPS, height=HEIGHT, width=WIDTH)


def _frames(motions: Sequence[str], *, seconds: float, start: int = 0) -> Iterator[NDArray[np.uint8]]:
    picture, x, y = _picture(), 300.0 + 20 * start, 140.0 + 10 * start
    for motion in motions:
        for _ in range(round(seconds * FPS)):
            x += {"pan left": -_STEP, "pan right": _STEP}.get(motion, 0)
            yield np.asarray(picture.resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR, (x, y, x + WIDTH, y + HEIGHT)))


def _picture() -> Image.Image:
    """Spots of several sizes, so that each motion can be seen."""
    rng, total = np.random.default_rng(0), np.zeros((400, 900, 3))
    for size, weight in ((8, 1.0), (24, 0.8), (80, 0.5), (200, 0.3)):
        spots = Image.fromarray(rng.integers(0, 256, (size * 4 // 9 + 1, size, 3), dtype=np.uint8))
        total += weight * np.asarray(spots.resize((900, 400), Image.Resampling.BICUBIC))
    return Image.fromarray(np.clip((total - total.mean()) * 0.55 + 128, 0, 255).astype(np.uint8))
