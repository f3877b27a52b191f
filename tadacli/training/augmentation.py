"""Random changes to the clips a network is trained on, each a function of its seed.

A clip changes as a whole: one crop, one flip and one change of colour for all its frames. Sources: the published
training settings (short-side jitter, label-aware flips, random resized crops), RandAugment (1909.13719), random
erasing (1708.04896), mixup (1710.09412), CutMix (1905.04899).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms import v2

from tadacli.errors import UsageError
from tadacli.training.settings import MAX_MAGNITUDE, Augmentation
from tadacli.transforms import crop_frames, resize_frames, resized_size
from tadacli.video.source import Pixels

# torchvision counts RandAugment's magnitudes in bins from 0 to 30; published settings count from 0 to 10.
_BINS_PER_MAGNITUDE, _NUM_BINS = 3, 31
_CROP_TRIES = 10
# Words that change places in a mirror, and other spellings of them, which a list of classes uses throughout.
_OPPOSITES = {
    "left": "right",
    "leftwards": "rightwards",
    "leftward": "rightward",
    "clockwise": "counter-clockwise",
}
_SWAPPED = {**_OPPOSITES, **{right: left for left, right in _OPPOSITES.items()}}
_SPELLINGS = {
    "counterclockwise": "counter-clockwise",
    "anticlockwise": "counter-clockwise",
    "anti-clockwise": "counter-clockwise",
}
_WORD = re.compile(r"[A-Za-z]+(?:-clockwise)?")


@dataclass(frozen=True)
class AugmentedClip:
    """A normalised clip, float32 (3, T, crop_size, crop_size), and whether it is seen in a mirror."""

    clip: Tensor
    is_mirrored: bool


def augment_clip(
    frames: Pixels, augmentation: Augmentation, *, mean: Sequence[float], std: Sequence[float], seed: int
) -> AugmentedClip:
    """The frames as a clip to train on: cropped, mirrored, recoloured, normalised, erased from.

    Pixels are resized as in testing (see `transforms`). RandAugment works on 8 bits, so the pixels are rounded
    first if it is on; its operations are the same for all frames, and so are their strengths, but "equalize" and
    "autocontrast" look at each frame. What it moves in from outside, and what is erased, has the mean colour.

    The result depends on the arguments alone; torch's own random numbers are left as they were.

    Args:
        frames: uint8 (T, H, W, 3).
        augmentation: What may happen; its sizes are settled.
        mean: Of each colour in 0..1, which is taken off.
        std: Of each colour, which it is divided by.
        seed: Of all that is random.

    Returns:
        The clip, float32 (3, T, crop_size, crop_size), and whether it is mirrored.

    Raises:
        ValueError: Sizes are left to the model.
    """
    if not augmentation.crop_size or (augmentation.crop == "jitter" and not any(augmentation.short_sides)):
        raise ValueError("crop_size or short_sides are left to the model: ask for_input first")
    rng = np.random.default_rng(seed)
    torch_seed = int(rng.integers(1 << 63))
    with _one_thread(), _torch_seeded(torch_seed):
        crop = _jittered if augmentation.crop == "jitter" else _part
        images = crop(frames, augmentation, rng)
        is_mirrored = augmentation.flip != "none" and bool(rng.random() < 0.5)
        if is_mirrored:
            images = images.flip(-1)
        strength = float(
            np.clip(rng.normal(augmentation.randaugment_magnitude, augmentation.randaugment_std), 0, MAX_MAGNITUDE)
        )
        images = _recoloured(images, augmentation, mean=mean, strength=strength)
        clip = crop_frames(images, crop_size=augmentation.crop_size, num_crops=1, mean=mean, std=std)[0]
        if augmentation.erasing:
            clip = v2.RandomErasing(p=augmentation.erasing, value=0)(clip.transpose(0, 1)).transpose(0, 1).contiguous()
    return AugmentedClip(clip, is_mirrored)


def mirrored_class(label_index: int, labels: Sequence[str], augmentation: Augmentation) -> int:
    """The class of a mirrored clip: the other one of its pair, or the same if it is in none.

    Raises `UsageError` if the other one is not among the `labels`.
    """
    partners = dict(augmentation.flip_pairs) | {right: left for left, right in augmentation.flip_pairs}
    name = labels[label_index]
    if name not in partners:
        return label_index
    if partners[name] not in labels:
        raise UsageError(
            f"{name!r} is exchanged with {partners[name]!r} in a mirror, which is no label of this data",
            hint="name labels as the data set does, or leave the pair out",
        )
    return list(labels).index(partners[name])


def mirrored_pairs(labels: Sequence[str]) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
    """(pairs, unpaired): labels that name a side and whose opposite is a class, too, and those that stand alone.

    "Pushing from left to right" and "Pushing from right to left" are a pair. A label without such words is the same
    in a mirror and in neither.
    """
    spoken = {_plain(label): label for label in labels}
    pairs, unpaired = [], []
    for plain, label in spoken.items():
        opposite = _WORD.sub(lambda word: _SWAPPED.get(word[0], word[0]), plain)
        if opposite == plain:
            continue
        if opposite not in spoken:
            unpaired.append(label)
        elif labels.index(label) < labels.index(spoken[opposite]):
            pairs.append((label, spoken[opposite]))
    return tuple(pairs), tuple(unpaired)


def _plain(label: str) -> str:
    lower = label.replace("_", " ").lower()
    return _WORD.sub(lambda word: _SPELLINGS.get(word[0], word[0]), lower)


def mix(
    clip_a: Tensor,
    clip_b: Tensor,
    target_a: Mapping[str, Tensor],
    target_b: Mapping[str, Tensor],
    *,
    augmentation: Augmentation,
    seed: int,
) -> tuple[Tensor, dict[str, Tensor]]:
    """One clip of two, and the targets mixed in the same proportion.

    Mixup fades them; CutMix puts a box of the second into the first, the same in all frames, and counts the area
    that it really covers. If both are on, one of them is drawn; if none is, the first clip stays as it is.

    Args:
        clip_a: (3, T, H, W).
        clip_b: (3, T, H, W).
        target_a: Probabilities (num_classes,) by head.
        target_b: The same of the second clip.
        augmentation: Which of the two is on, and how.
        seed: Of all that is random.

    Returns:
        The clip, and its targets by head.
    """
    if not augmentation.mixes:
        return clip_a, dict(target_a)
    rng = np.random.default_rng(seed)
    is_cut = augmentation.cutmix > 0 and (augmentation.mixup == 0 or bool(rng.random() < 0.5))
    alpha = augmentation.cutmix if is_cut else augmentation.mixup
    weight = float(rng.beta(alpha, alpha))
    if is_cut:
        top, left, bottom, right = _box(clip_a.shape[2:], 1 - weight, rng)
        clip = clip_a.clone()
        clip[:, :, top:bottom, left:right] = clip_b[:, :, top:bottom, left:right]
        weight = 1 - (bottom - top) * (right - left) / (clip.shape[2] * clip.shape[3])
    else:
        clip = clip_a * weight + clip_b * (1 - weight)
    return clip, {head: target_a[head] * weight + target_b[head] * (1 - weight) for head in target_a}


# --- geometry ---------------------------------------------------------------------------------------


def _jittered(frames: Pixels, augmentation: Augmentation, rng: np.random.Generator) -> Tensor:
    """float32 (T, 3, c, c) in 0..1: a random square of the frames at a random size."""
    size, (least, most) = augmentation.crop_size, augmentation.short_sides
    short_side = int(rng.integers(least, most, endpoint=True))
    place = rng.random(2)
    sides = resized_size(frames.shape[1], frames.shape[2], short_side=short_side)
    top, left = (int(share * (side - size + 1)) for share, side in zip(place, sides, strict=True))
    box = (top, left, top + size, left + size)
    crops = torch.empty((len(frames), 3, size, size))
    # One frame after the other: a clip of large frames takes gigabytes as numbers of four bytes.
    for crop, frame in zip(crops, frames, strict=True):
        crop.copy_(resize_frames(frame[None], short_side=short_side, box=box)[0])
    return crops


def _part(frames: Pixels, augmentation: Augmentation, rng: np.random.Generator) -> Tensor:
    """float32 (T, 3, c, c) in 0..1: a random part of the frames, made a square."""
    top, left, bottom, right = _random_part(frames.shape[1], frames.shape[2], augmentation, rng)
    images = torch.as_tensor(frames)[:, top:bottom, left:right].to(torch.float32).div_(255).permute(0, 3, 1, 2)
    size = (augmentation.crop_size, augmentation.crop_size)
    return F.interpolate(images, size=size, mode="bilinear", align_corners=False).contiguous()


def _random_part(
    height: int, width: int, augmentation: Augmentation, rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """(top, left, bottom, right) of a part of random area and shape; the largest central one after ten that stick out.

    The logarithm of the shape is evenly distributed, so that wide and high parts are equally likely.
    """
    least, most = augmentation.crop_ratios
    for _ in range(_CROP_TRIES):
        area = height * width * rng.uniform(*augmentation.crop_areas)
        ratio = math.exp(rng.uniform(math.log(least), math.log(most)))
        part_height, part_width = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
        if 0 < part_height <= height and 0 < part_width <= width:
            top = int(rng.integers(height - part_height, endpoint=True))
            left = int(rng.integers(width - part_width, endpoint=True))
            return top, left, top + part_height, left + part_width
    ratio = min(max(width / height, least), most)
    part_height = max(1, min(height, round(width / ratio)))
    part_width = max(1, min(width, round(height * ratio)))
    top, left = (height - part_height) // 2, (width - part_width) // 2
    return top, left, top + part_height, left + part_width


def _box(sides: Sequence[int], area: float, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """(top, left, bottom, right) of a box of this share of the area, less what sticks out: its centre is anywhere."""
    edges = []
    for side in sides:
        length = round(side * math.sqrt(area))
        first = int(rng.integers(side)) - length // 2
        edges.append((max(0, first), min(side, first + length)))
    (top, bottom), (left, right) = edges
    return top, left, bottom, right


# --- colour -----------------------------------------------------------------------------------------


def _recoloured(images: Tensor, augmentation: Augmentation, *, mean: Sequence[float], strength: float) -> Tensor:
    """float32 (T, 3, c, c) in 0..1, its colours changed as torch's random numbers have it."""
    if augmentation.randaugment_ops:
        change = v2.RandAugment(
            augmentation.randaugment_ops,
            round(_BINS_PER_MAGNITUDE * strength),
            _NUM_BINS,
            interpolation=v2.InterpolationMode.BILINEAR,
            fill=[round(255 * value) for value in mean],
        )
        images = change((images * 255).round_().to(torch.uint8)).to(torch.float32).div_(255)
    if augmentation.colour_jitter:
        spread = augmentation.colour_jitter
        images = v2.ColorJitter(brightness=spread, contrast=spread, saturation=spread)(images)
    if augmentation.grayscale:
        images = v2.RandomGrayscale(augmentation.grayscale)(images)
    return images


@contextmanager
def _torch_seeded(seed: int) -> Iterator[None]:
    """torch's generator of the CPU begins at `seed` inside, and outside is as if nothing had happened."""
    with torch.random.fork_rng(devices=[]):
        # torch.manual_seed would also seed every accelerator, whose state is not kept.
        torch.default_generator.manual_seed(seed)
        yield


@contextmanager
def _one_thread() -> Iterator[None]:
    """Where images are split among cores, the last bits of resized pixels and of sums depend on where that is."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(num_threads)
