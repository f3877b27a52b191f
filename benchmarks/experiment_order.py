"""Clips whose order alone says what happens: each class is another one played backwards.

A body before a still picture of footage, seen by a hand-held camera: a shutter opens or closes, the body appears or
vanishes, goes to the left or to the right, comes near or goes far. Both classes of a pair have the same frames with
the same chance, so what averages over frames is right in half of a pair at best.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.experiment_data import ClipStore
from tadacli.camera_motion.clips import make_pictures
from tadacli.camera_motion.footage import load_footage
from tadacli.camera_motion.virtual_camera import MovingObject, camera_grid, hand_held, sample_source

# The second of each pair is the first one backwards.
PAIRS = (
    ("opening", "closing"),
    ("vanishing", "appearing"),
    ("to the left", "to the right"),
    ("going far", "coming near"),
)
CLASSES = tuple(label for pair in PAIRS for label in pair)
FRAMES, FPS = 8, 8.0
_FIELD = (0.45, 0.7)  # of the view, in half short sides of the picture
_NUM_TEXTURES = 60
_SEEDS = {"train": 0, "test": 1}


def order_clip(
    rng: np.random.Generator,
    label: int,
    backgrounds: Sequence[Tensor],
    textures: Sequence[Tensor],
    view: tuple[int, int],
) -> Tensor:
    """A clip (T, 3, H, W) in 0..1 of a class.

    Args:
        rng: What is drawn.
        label: A place in `CLASSES`.
        backgrounds: Pictures (1, 3, H, W) uint8, to film one of.
        textures: Pictures (1, 3, H, W) uint8, for the body.
        view: Height and width of the clip.
    """
    pair, is_backwards = divmod(label, 2)
    times = np.arange(FRAMES) / FPS
    camera = hand_held(rng, times, amplitude=0.02 * rng.uniform(0, 1))
    field = rng.uniform(*_FIELD)
    grid = camera_grid(camera, size=view, field=field)
    clip = sample_source(backgrounds[int(rng.integers(len(backgrounds)))], grid)
    begin, end = rng.uniform(0, 0.45), rng.uniform(0.55, 1)
    progress = np.clip((np.linspace(0, 1, FRAMES) - begin) / (end - begin), 0, 1)
    track = np.zeros((FRAMES, 3))
    track[:, :2] = field * rng.uniform(-0.5, 0.5, 2)
    track[:, 2] = rng.uniform(-0.3, 0.3)
    growth = np.ones((FRAMES, 2))
    if CLASSES[2 * pair] == "opening":
        growth[:, 0] = 1 - progress
    elif CLASSES[2 * pair] == "vanishing":
        growth[progress >= rng.uniform(0.2, 0.8)] = 0
    elif CLASSES[2 * pair] == "going far":
        growth *= (1 - progress * rng.uniform(0.35, 0.7))[:, None]
    else:
        way = field * rng.uniform(0.4, 1.0)
        track[:, 0] += way * (0.5 - progress)
    size = field * rng.uniform(0.25, 0.5, 2)
    texture = textures[int(rng.integers(len(textures)))]
    body = MovingObject(
        texture, track, (float(size[0]), float(size[1])), roundness=float(rng.choice([2.0, 8.0])), growth=growth
    )
    clip = body.paste(clip, grid)
    noise = torch.from_numpy(rng.normal(0, 0.02 * rng.uniform(0, 1), clip.shape).astype(np.float32))
    clip = (clip * float(rng.uniform(0.7, 1.2)) + noise).clamp(0, 1)
    return clip.flip(0) if is_backwards else clip


def order_stores(
    folder: Path, *, num_train: int, num_test: int, view: tuple[int, int], footage: Path | None, workers: Executor
) -> tuple[ClipStore, ClipStore]:
    """Clips to train on and held-out ones, over other footage and with other bodies, made into files in `folder`."""
    made = []
    for side, count in (("train", num_train), ("test", num_test)):
        file = folder / f"order_{side}.npy"
        np.lib.format.open_memmap(file, mode="w+", dtype=np.uint8, shape=(count * FRAMES, 3, *view)).flush()
        chunks = np.array_split(np.arange(count), 2 if footage else 1)
        list(workers.map(partial(_write_clips, file, side=side, footage=footage), [chunk.tolist() for chunk in chunks]))
        ids = tuple(f"clip {index}" for index in range(count))
        labels = tuple(index % len(CLASSES) for index in range(count))
        made.append(ClipStore(file, tuple(range(0, (count + 1) * FRAMES, FRAMES)), labels, ids, ids, CLASSES))
    return made[0], made[1]


def _write_clips(file: Path, indices: Sequence[int], *, side: str, footage: Path | None) -> None:
    torch.set_num_threads(1)
    frames: NDArray[np.uint8] = np.load(file, mmap_mode="r+")
    backgrounds, textures = _pictures(side, footage)
    for index in indices:
        rng = np.random.default_rng((_SEEDS[side], index))
        clip = order_clip(rng, index % len(CLASSES), backgrounds, textures, frames.shape[2:])
        frames[index * FRAMES : (index + 1) * FRAMES] = clip.mul(255).round().to(torch.uint8).numpy()


@lru_cache(maxsize=2)
def _pictures(side: str, footage: Path | None) -> tuple[list[Tensor], list[Tensor]]:
    textures = make_pictures(_NUM_TEXTURES, seed=400 + _SEEDS[side])
    if footage is None:
        return make_pictures(_NUM_TEXTURES, seed=500 + _SEEDS[side]), textures
    files = load_footage(footage, only=side, note=lambda _: None)
    stills = [stretch.frames[:: len(stretch.frames) // 2 or 1] for file in files for stretch in file.stretches]
    return [still[None] for stretch in stills for still in stretch], textures
