"""Clips of the experiment: made or decoded once, kept as bytes in a file that all trainings read.

So the time of a training goes into its network, and all networks are given the very same clips.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from benchmarks.experiment_table import MERGED
from tadacli.camera_motion.clips import MEAN, STD, ClipMaker, Recipe, make_pictures
from tadacli.camera_motion.footage import load_footage
from tadacli.camera_motion.recipe import held_out_maker
from tadacli.camera_motion.virtual_camera import CAMERA_MOTIONS
from tadacli.datasets.annotations import read_annotations, segment_datasets
from tadacli.datasets.splitting import place_of
from tadacli.errors import UsageError
from tadacli.sampling.clips import clip_indices, training_indices
from tadacli.training.clips import derived_seed, sample_at
from tadacli.training.loop import TrainingBatch
from tadacli.training.sample_frames import frame_range
from tadacli.transforms import resize_frames
from tadacli.video.reading import open_video

CLIP_FRAMES = 8
CAMERA_VIEW = (64, 64)
R3D_VIEW = (32, 32)  # r3d_18 takes twenty times the multiply-adds of the small networks even so
CAMERA_PICTURES = 300
EASY_SHARE = 0.5  # of the training clips: from hard ones alone, fresh networks learn nothing for a long time
CAMERA_TEST_SEED = 1

ACTION_VIEW = (48, 64)
ACTION_SHORT_SIDES = {ACTION_VIEW: 54, (64, 88): 72}  # by view: a 320 x 240 picture becomes 72 x 54, or 96 x 72
# Of a segment at most so many frames are kept, evenly spread: eight to choose from for each frame of a clip.
ACTION_FRAMES = 64
_CHUNK = 50
T = TypeVar("T")


def k_folds(
    samples: Sequence[T], k: int, *, group_of: Callable[[T], str], seed: int = 0
) -> tuple[tuple[tuple[T, ...], tuple[T, ...]], ...]:
    """k pairs of (training, held-out) samples; each group is held out once, and folds differ by at most one group.

    The order of the samples decides nothing but their order in the results. Raises `UsageError` if k is below 2 or
    above the number of groups.
    """
    names = [group_of(sample) for sample in samples]
    ordered = sorted(set(names), key=lambda name: (place_of(name, seed), name))
    if not 2 <= k <= len(ordered):
        raise UsageError(
            f"{len(ordered)} groups cannot be dealt into {k} folds",
            hint=f"give a number of folds from 2 to {len(ordered)}" if len(ordered) > 1 else "give more videos",
        )
    fold_of = {name: number % k for number, name in enumerate(ordered)}
    named = list(zip(samples, names, strict=True))
    return tuple(
        (
            tuple(sample for sample, name in named if fold_of[name] != fold),
            tuple(sample for sample, name in named if fold_of[name] == fold),
        )
        for fold in range(k)
    )


@dataclass(frozen=True)
class ClipStore:
    """Labelled items and their frames: uint8 (N, 3, H, W) in `file`, those of item i from offsets[i] to offsets[i+1].

    `groups` are what belongs together: the videos that segments are of; for clips that were made, each is its own.
    """

    file: Path
    offsets: tuple[int, ...]
    labels: tuple[int, ...]
    ids: tuple[str, ...]
    groups: tuple[str, ...]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def frames(self) -> NDArray[np.uint8]:
        """All frames; what is looked at is read from the file."""
        return np.load(self.file, mmap_mode="r")  # type: ignore[no-any-return]

    def num_frames(self, item: int) -> int:
        """How many frames an item has."""
        return self.offsets[item + 1] - self.offsets[item]


@dataclass(frozen=True)
class Part:
    """Some items of a store: those that are trained on, or those that are tested."""

    store: ClipStore
    items: tuple[int, ...]
    view: tuple[int, int]

    def test_clips(self, chosen: Sequence[int]) -> Tensor:
        """(B, 3, T, H, W): of each item one frame from the middle of each of T parts, the middle of the picture."""
        frames = self.store.frames()
        clips = []
        for item in chosen:
            indices = clip_indices("segment", self.store.num_frames(item), clip_frames=CLIP_FRAMES)
            pixels = frames[[self.store.offsets[item] + index for index in indices]]
            top, left = ((size - view) // 2 for size, view in zip(pixels.shape[2:], self.view, strict=True))
            clips.append(_cropped(pixels, top, left, self.view))
        return _normalised(np.stack(clips))


class TrainingOrder:
    """Random clips of a part in an endless shuffled order; `augment` mirrors, moves and lights them at random.

    What is at a place of the order depends on the seed alone, so all networks of a seed see the same clips.
    """

    def __init__(self, part: Part, *, batch_size: int, augment: bool, seed: int) -> None:
        self._part, self._batch_size, self._augment, self._seed = part, batch_size, augment, seed
        self._frames = part.store.frames()

    def batch(self, step: int) -> TrainingBatch:
        """The clips of a step, (B, 3, T, H, W)."""
        items, clips, gains, seeds = [], [], [], []
        for position in range(step * self._batch_size, (step + 1) * self._batch_size):
            epoch, number = sample_at(position, num_samples=len(self._part.items), seed=self._seed)
            items.append(self._part.items[number])
            rng = np.random.default_rng(derived_seed(self._seed, epoch, number, "clip"))
            clips.append(self._clip(items[-1], rng))
            gains.append(rng.uniform(0.8, 1.2) if self._augment else 1.0)
            seeds.append(derived_seed(self._seed, epoch, number, "noise"))
        gain = torch.tensor(gains, dtype=torch.float32).view(-1, 1, 1, 1, 1)
        labels = torch.tensor([self._part.store.labels[item] for item in items])
        return TrainingBatch(
            _normalised(np.stack(clips), gain=gain), {"": labels}, torch.tensor(seeds, dtype=torch.int64)
        )

    def _clip(self, item: int, rng: np.random.Generator) -> NDArray[np.uint8]:
        store, view = self._part.store, self._part.view
        indices = training_indices("segment", store.num_frames(item), clip_frames=CLIP_FRAMES, rng=rng)
        pixels = self._frames[[store.offsets[item] + index for index in indices]]
        room = [size - side for size, side in zip(pixels.shape[2:], view, strict=True)]
        clip = _cropped(pixels, int(rng.integers(room[0] + 1)), int(rng.integers(room[1] + 1)), view)
        return clip[..., ::-1] if self._augment and rng.random() < 0.5 else clip


def _cropped(pixels: NDArray[np.uint8], top: int, left: int, view: tuple[int, int]) -> NDArray[np.uint8]:
    return pixels[:, :, top : top + view[0], left : left + view[1]]


def _normalised(clips: NDArray[np.uint8], *, gain: Tensor | float = 1.0) -> Tensor:
    """uint8 (B, T, 3, H, W) to float32 (B, 3, T, H, W)."""
    values = torch.from_numpy(np.ascontiguousarray(clips)).float().div_(255).mul_(gain)
    return values.sub_(MEAN).div_(STD).transpose(1, 2)


# --- the camera-motion task ---------------------------------------------------------------------------------


def camera_stores(
    folder: Path,
    *,
    num_train: int,
    num_test: int,
    view: tuple[int, int],
    easy_share: tuple[float, float],
    footage: Path | None,
    workers: Executor,
) -> tuple[ClipStore, ClipStore]:
    """Clips of the virtual camera to train on and held-out ones, made once into files in `folder`.

    The clip of a number is the same for each `view`: filmed at `CAMERA_VIEW`, of which the view is a whole fraction.
    Of the clips to train on and of the held-out ones, the shares `easy_share` are plainly moving, nothing else in them.
    """
    made = []
    for name, count, easy in (("train", num_train, easy_share[0]), ("test", num_test, easy_share[1])):
        file = folder / f"camera_{name}.npy"
        shape = (count * CLIP_FRAMES, 3, *view)
        np.lib.format.open_memmap(file, mode="w+", dtype=np.uint8, shape=shape).flush()
        num_pictures = min(CAMERA_PICTURES, count)
        make = partial(_make_clips, file, is_test=name == "test", easy=easy, footage=footage, num_pictures=num_pictures)
        chunks = [range(first, min(count, first + _CHUNK)) for first in range(0, count, _CHUNK)]
        labels = tuple(label for part in workers.map(make, chunks) for label in part)
        ids = tuple(f"clip {index}" for index in range(count))
        offsets = tuple(range(0, (count + 1) * CLIP_FRAMES, CLIP_FRAMES))
        made.append(ClipStore(file, offsets, labels, ids, ids, CAMERA_MOTIONS))
    return made[0], made[1]


def _make_clips(
    file: Path, indices: Sequence[int], *, is_test: bool, easy: float, footage: Path | None, num_pictures: int
) -> list[int]:
    """Writes some clips into their places of the file; returns their labels."""
    torch.set_num_threads(1)
    maker = _maker(is_test, footage, num_pictures)
    frames = np.load(file, mmap_mode="r+")
    labels = []
    for index in indices:
        wanted = index % len(CAMERA_MOTIONS) if is_test else None
        clip, label = maker.clip(index, label=wanted, ease=easy)
        # Filming at a smaller view would alias more, since the camera samples single points of its source.
        seen = F.avg_pool2d((clip.transpose(0, 1) * STD + MEAN).clamp_(0, 1), CAMERA_VIEW[0] // frames.shape[-1])
        pixels = seen.mul_(255).round_().to(torch.uint8)
        frames[index * CLIP_FRAMES : (index + 1) * CLIP_FRAMES] = pixels.numpy()
        labels.append(label)
    frames.flush()
    return labels


@lru_cache(maxsize=2)
def _maker(is_test: bool, footage: Path | None, num_pictures: int) -> ClipMaker:
    recipe = Recipe(
        clip_frames=CLIP_FRAMES,
        view=CAMERA_VIEW[0],
        animated_share=0.0,
        test_pictures=min(num_pictures, Recipe.test_pictures),
    )
    side = "test" if is_test else "train"
    files = load_footage(footage, only=side) if footage is not None else []
    if is_test:
        return held_out_maker(recipe, files, seed=CAMERA_TEST_SEED)
    stretches = [stretch for file in files for stretch in file.stretches]
    return ClipMaker(recipe, stretches=stretches, pictures=make_pictures(num_pictures, seed=0), seed=0)


# --- segments of real video ---------------------------------------------------------------------------------


def action_store(folder: Path, data: Path, *, view: tuple[int, int], workers: Executor) -> ClipStore:
    """The segments of all videos of `data`, a folder with segments.csv, decoded once into a file in `folder`."""
    datasets = segment_datasets(read_annotations(data / "segments.csv"))
    labelled = [
        (sample, dataset.names_of(sample)[""]) for _, dataset in sorted(datasets.items()) for sample in dataset.samples
    ]
    by_video: dict[str, list[Any]] = defaultdict(list)
    for sample, label in labelled:
        by_video[str(sample.path)].append((sample, MERGED.get(label, label)))
    videos = sorted(by_video.items())
    read = partial(_segments, short_side=ACTION_SHORT_SIDES[view])
    decoded = list(workers.map(read, [path for path, _ in videos], [[s for s, _ in rows] for _, rows in videos]))
    rows = [row for _, of_video in videos for row in of_video]
    segments = [frames for of_video in decoded for frames in of_video]
    classes = tuple(sorted({label for _, label in rows}))
    file = folder / "actions.npy"
    np.save(file, np.concatenate(segments))
    return ClipStore(
        file,
        offsets=(0, *np.cumsum([len(frames) for frames in segments]).tolist()),
        labels=tuple(classes.index(label) for _, label in rows),
        ids=tuple(sample.id for sample, _ in rows),
        groups=tuple(Path(sample.path).name for sample, _ in rows),
        classes=classes,
    )


def _segments(path: str, samples: Sequence[Any], *, short_side: int) -> list[NDArray[np.uint8]]:
    """uint8 (N, 3, H, W), N up to `ACTION_FRAMES`, of each segment of a video, which is decoded once."""
    torch.set_num_threads(1)
    with open_video(path) as video:
        wanted = []
        for sample in samples:
            first, behind = frame_range(sample, video)
            wanted.append(spread(first, behind, ACTION_FRAMES))
        small = {}
        for frame in video.require_frames({index for of_segment in wanted for index in of_segment}):
            resized = resize_frames(frame.pixels[None], short_side=short_side)[0]
            small[frame.index] = resized.mul(255).round().to(torch.uint8).numpy()
    return [np.stack([small[index] for index in of_segment]) for of_segment in wanted]


def spread(first: int, behind: int, most: int) -> list[int]:
    """Frame numbers from `first` up to `behind`: all of them, or `most` that are evenly spread."""
    count = min(most, behind - first)
    return [first + (2 * place + 1) * (behind - first) // (2 * count) for place in range(count)]
