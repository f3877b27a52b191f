"""Footage for the virtual camera: which files, which side of the split, and whether their camera is still."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from tadacli.camera_motion.pictures import FloatArray
from tadacli.camera_motion.virtual_camera import camera_grid
from tadacli.errors import UsageError

PERMISSIVE = ("apache-2.0", "bsd", "mit", "cc-by-4.0", "cc-by-3.0", "cc0")
STORED_FPS = 15.0
STORED_SHORT_SIDE = 360
STRETCH_FRAMES = 30
STRETCHES_PER_FILE = 5
STEADY_SPEED = 0.02
# Few pixels of ordinary footage equal their neighbours; test signals, title cards, an empty sky do mostly.
MOSTLY_FLAT = 0.5
MEMORY_LIMIT = 3 * 2**30
# Likeness of two fingerprints, from -1 to 1, and the contrast (of 255) below which there is none.
SAME_SET, SAME_PICTURE, PLAIN = 0.78, 0.998, 4.0


@dataclass(frozen=True)
class Stretch:
    """About two seconds of one file, `frames` (T, 3, H, W) uint8 at 15 frames a second.

    `scene` is the first file that shows the same set, perhaps this one. `own_speed` is the measured speed
    of the file's own camera (`camera_speed`). Above `STEADY_SPEED` only single frames are used, as pictures,
    and in bodies that move by themselves, since its motion would contradict the label.
    """

    scene: str
    frames: Tensor
    own_speed: float

    @property
    def is_steady(self) -> bool:
        return self.own_speed <= STEADY_SPEED

    @property
    def flat_share(self) -> float:
        """Share of the middle frame's pixels that equal two of their neighbours to the last bit."""
        frame = self.frames[len(self.frames) // 2].int()
        across = (frame[:, :-1, 1:] - frame[:, :-1, :-1]).abs().amax(0)
        down = (frame[:, 1:, :-1] - frame[:, :-1, :-1]).abs().amax(0)
        return float((across + down == 0).float().mean())


@dataclass(frozen=True)
class FootageFile:
    """One source file: where it comes from, on which side of the split it is, and what was read of it."""

    file: str
    licence: str
    source: str
    split: str
    stretches: list[Stretch] = field(repr=False, default_factory=list)


def flat_scenes(footage: Iterable[FootageFile]) -> set[str]:
    """Scenes with hardly a texture: test signals, title cards, an empty sky."""
    shares: dict[str, list[float]] = {}
    for file in footage:
        for stretch in file.stretches:
            shares.setdefault(stretch.scene, []).append(stretch.flat_share)
    return {scene for scene, values in shares.items() if float(np.median(values)) > MOSTLY_FLAT}


def split_of(name: str) -> str:
    """The side a file name falls on: "test" for about one in three, "train" for the others."""
    return "test" if hashlib.sha256(name.encode()).digest()[0] % 3 == 0 else "train"


def load_footage(folder: Path, *, only: str | None = None, note: Callable[[str], None] = print) -> list[FootageFile]:
    """Decodes the usable files under `folder`, in memory at reduced size, each on its side of the split.

    Files with the same content (copies in other containers, takes in the same set) are kept on the side of the first of
    them, or the split would leak. Files that cannot be read are noted and left out.

    Args:
        folder: With videos; where it or a folder above has a media.csv, the permissively licensed ones that this lists.
        only: "train" or "test", to keep one side of the split.
        note: Is called with a line for each file that is left out.

    Returns:
        The files, with up to five stretches of about two seconds each.

    Raises:
        UsageError: The folder is not there, or has no usable footage.
    """
    files: list[FootageFile] = []
    prints: list[tuple[FloatArray, str]] = []
    used = 0
    for path, licence, source in _listed(folder):
        try:
            runs = _decode(path)
        except (av.FFmpegError, OSError, ValueError) as error:
            note(f"footage left out: {path.name}: {type(error).__name__}")
            continue
        if not runs:
            continue
        marks = [_fingerprint(run) for run in runs]
        if not any(mark.any() for mark in marks):
            continue  # plain from end to end: nothing to look at
        nearest, scene = max(
            ((float(mark @ known), scene) for mark in marks for known, scene in prints), default=(0.0, "")
        )
        scene = scene if nearest > SAME_SET else path.name
        prints += [(mark, scene) for mark in marks]
        is_wanted = only in (None, split_of(scene))
        if nearest > SAME_PICTURE or used > MEMORY_LIMIT or not is_wanted:
            continue
        stretches = [Stretch(scene, run, camera_speed(run)) for run in runs]
        used += sum(run.numel() for run in runs)
        files.append(FootageFile(path.name, licence, source, split_of(scene), stretches))
    if not files:
        raise UsageError(f"no usable footage under {folder}", hint="leave --footage out to train without it")
    return files


def _listed(folder: Path) -> Iterable[tuple[Path, str, str]]:
    """Files to use with licence and source: the rows of media.csv, or every video if there is none."""
    if not folder.is_dir():
        raise UsageError(f"no such folder: {folder}")
    for root in (folder, *folder.resolve().parents):
        if (root / "media.csv").is_file():
            with (root / "media.csv").open(newline="", encoding="utf-8") as rows:
                listed = [(root / row["file"], row["licence"], row.get("source", "")) for row in csv.DictReader(rows)]
            for path, licence, source in sorted(listed):
                if path.resolve().is_relative_to(folder.resolve()) and licence.lower().startswith(PERMISSIVE):
                    yield path, licence, source
            return
    kinds = {".mp4", ".mov", ".mkv", ".avi", ".webm", ".ts", ".3gp", ".flv", ".gif", ".mpg"}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in kinds:
            yield path, "not stated", ""


def _decode(path: Path) -> list[Tensor]:
    """Up to `STRETCHES_PER_FILE` stretches spread over the first 40 seconds, (T, 3, H, W) uint8 each."""
    with av.open(str(path)) as container:
        if not container.streams.video:
            return []
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        rate = float(stream.average_rate or 30)
        seconds = float((container.duration or 0) / av.time_base)
        stop = min(int(stream.frames or seconds * rate), int(rate * 40))
        step = max(1.0, rate / STORED_FPS)
        per_stretch = min(STRETCH_FRAMES, int(stop / step))
        if per_stretch < 8:
            return []
        count = max(1, min(STRETCHES_PER_FILE, int(stop / (step * per_stretch * 1.5))))
        starts = [int(i * stop / count) for i in range(count)]
        kept: list[list[NDArray[np.uint8]]] = [[] for _ in starts]
        for index, frame in enumerate(container.decode(stream)):
            if index >= stop:
                break
            run = int(np.searchsorted(starts, index, side="right")) - 1
            if len(kept[run]) < per_stretch and index >= starts[run] + len(kept[run]) * step:
                kept[run].append(_shrink(frame))
    shapes = [{frame.shape for frame in run} for run in kept]
    return [
        torch.from_numpy(np.stack(run)).permute(0, 3, 1, 2).contiguous()
        for run, shape in zip(kept, shapes, strict=True)
        if len(run) >= 8 and len(shape) == 1 and min(run[0].shape[:2]) >= 48
    ]


def _shrink(frame: av.VideoFrame) -> NDArray[np.uint8]:
    scale = min(1.0, STORED_SHORT_SIDE / min(frame.height, frame.width))
    size = round(frame.width * scale), round(frame.height * scale)
    return np.asarray(frame.reformat(*size, format="rgb24", interpolation="BICUBIC").to_ndarray(), np.uint8)


def _fingerprint(frames: Tensor) -> FloatArray:
    """(64,) the middle frame in rough outline, free of brightness and contrast; zeros if it is plain."""
    small = F.interpolate(frames[len(frames) // 2, None].float().mean(1, keepdim=True), (8, 8), mode="area")
    outline = (small - small.mean()).flatten().numpy().astype(np.float64)
    strength = float(np.linalg.norm(outline))
    return np.asarray(outline / strength if strength > 8 * PLAIN else outline * 0)


def camera_speed(frames: Tensor, *, seconds_apart: float = 4 / STORED_FPS) -> float:
    """Speed of the camera that took `frames` (T, 3, H, W): of pan, tilt, zoom and roll, over any second, the largest.

    A clip is about a second of the frames; over longer ones a camera that goes to and fro would seem to stand still.
    """
    grey = F.interpolate(frames.float().mean(1, keepdim=True) / 255, size=(72, 72), mode="area")
    motion = np.array([_dominant_motion(grey[i, 0], grey[i + 4, 0]) for i in range(0, len(grey) - 4, 4)])
    window = min(len(motion), round(1 / seconds_apart))
    means = [np.mean(motion[i : i + window], axis=0) for i in range(len(motion) - window + 1)] if window else []
    return float(np.abs(means).max() / 2 / seconds_apart) if means else 0.0


def _dominant_motion(first: Tensor, second: Tensor) -> FloatArray:
    """(4,) shift x, y, log scale and turn of the content, in half sides; robust to what moves by itself.

    Gauss-Newton on the brightness of both frames; pixels that do not follow the motion lose their say.
    """
    motion = np.zeros(4)
    for blur in (9, 5, 3):
        a, b = (F.avg_pool2d(x[None, None], blur, 1, blur // 2, count_include_pad=False) for x in (first, second))
        for _ in range(6):
            grid = camera_grid(-motion[None], size=(72, 72), field=1.0)
            moved = F.grid_sample(a, grid, padding_mode="border", align_corners=False)[0, 0]
            dy, dx = torch.gradient((moved + b[0, 0]) / 2, spacing=2 / 72)
            still = camera_grid(np.zeros((1, 4)), size=(72, 72), field=1.0)[0]
            x, y = still[..., 0], still[..., 1]
            slopes = torch.stack([dx, dy, dx * x + dy * y, dy * x - dx * y], dim=-1)[6:-6, 6:-6].reshape(-1, 4)
            error = (moved - b[0, 0])[6:-6, 6:-6].reshape(-1)
            spread = 3 * error.abs().median() + 0.01
            weight = ((1 - (error / spread) ** 2).clamp(min=0) ** 2)[:, None]
            normal = slopes.T @ (weight * slopes) + 0.05 * torch.eye(4)
            motion = motion + torch.linalg.solve(normal, slopes.T @ (weight[:, 0] * error)).numpy()
            motion = motion.clip(-0.6, 0.6)
    return motion
