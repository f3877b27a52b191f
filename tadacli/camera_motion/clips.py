"""Labelled clips of camera motion, made on the fly from pictures and footage, and the settings for it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tadacli.camera_motion.footage import Stretch
from tadacli.camera_motion.pictures import FloatArray, degrade, generated_picture
from tadacli.camera_motion.virtual_camera import (
    CAMERA_MOTIONS,
    CameraMove,
    MovingObject,
    camera_grid,
    hand_held,
    sample_source,
)
from tadacli.training.loop import TrainingBatch, TrainingSettings
from tadacli.training.settings import Optimisation

MEAN, STD = 0.45, 0.225


@dataclass(frozen=True)
class Recipe:
    """Everything the weights depend on besides the footage. Speeds are in short sides per second.

    Between `static_speed` and `slowest` nothing is made, so that the classes do not touch: a drift of
    at most `static_speed` is static, a motion of at least `slowest` is that motion.

    Four of the nine parts of a frame must have edges that show the motion; in `sparse_share` of the clips two, in
    `bare_share` one. Edges of what moves by itself in the footage count only with `own_motion_shows`.
    """

    clip_frames: int = 8
    frame_stride: int = 4
    target_fps: float = 30.0
    view: int = 64
    static_speed: float = 0.015
    slowest: float = 0.06
    fastest: float = 1.0
    static_share: float = 0.2
    footage_share: float = 0.6
    frozen_share: float = 0.1
    bare_share: float = 0.15
    sparse_share: float = 0.25
    own_motion_shows: bool = False
    animated_share: float = 0.5
    screen_share: float = 0.15
    num_pictures: int = 700
    batch_size: int = 16
    steps: int = 4300
    easy_steps: int = 300
    polish_steps: int = 1700
    polish_learning_rate: float = 1e-3
    learning_rate: float = 2e-3
    warmup_steps: int = 60
    weight_decay: float = 0.02
    label_smoothing: float = 0.05
    ema_decay: float = 0.998
    max_grad_norm: float = 2.0
    test_clips: int = 500
    test_pictures: int = 80

    @property
    def times(self) -> FloatArray:
        """Seconds from the first frame of a clip to each of its frames."""
        return np.arange(self.clip_frames, dtype=np.float64) * (self.frame_stride / self.target_fps)

    @property
    def training(self) -> tuple[TrainingSettings, ...]:
        """What the training loop follows: a long run, then from its averaged weights a shorter, finer one."""
        main = self._training(self.steps, self.learning_rate)
        return (main, self._training(self.polish_steps, self.polish_learning_rate)) if self.polish_steps else (main,)

    def _training(self, steps: int, learning_rate: float) -> TrainingSettings:
        optimisation = Optimisation(
            optimizer="adamw",
            learning_rate=learning_rate,
            weight_decay=self.weight_decay,
            schedule="cosine_after_warmup",
            warmup_epochs=min(self.warmup_steps, steps // 4),  # of one step each
            ema_decay=self.ema_decay,
            max_grad_norm=self.max_grad_norm,
        )
        return TrainingSettings(num_steps=steps, optimisation=optimisation, label_smoothing=self.label_smoothing)


# Brightness differences of neighbouring pixels that count as edges, and how many of nine parts need them; and the
# change of a colour, from 0 to 1, from which on something moves by itself.
EDGE_STRENGTH, PARTS_WITH_EDGES, OWN_CHANGE = 0.015, 4, 0.1


class ClipMaker:
    """Makes labelled clips; the clip of an index depends on nothing but the maker's arguments and it."""

    def __init__(self, recipe: Recipe, *, stretches: Sequence[Stretch], pictures: Sequence[Tensor], seed: int) -> None:
        self.recipe, self.pictures, self.seed = recipe, pictures, seed
        self.by_scene: dict[str, list[Stretch]] = {}
        for stretch in stretches:
            self.by_scene.setdefault(stretch.scene, []).append(stretch)
        self.steady = {
            scene: kept for scene, every in self.by_scene.items() if (kept := [s for s in every if s.is_steady])
        }

    def batch(self, step: int) -> TrainingBatch:
        """The clips of a step, (B, 3, T, view, view), normalised, and their labels."""
        first = step * self.recipe.batch_size
        made = [self.clip(first + i, ease=1 - step / self.recipe.easy_steps) for i in range(self.recipe.batch_size)]
        seeds = [self.seed * 1_000_003 + first + i for i in range(self.recipe.batch_size)]
        return TrainingBatch(
            torch.stack([clip for clip, _ in made]),
            {"": torch.tensor([label for _, label in made])},
            torch.tensor(seeds, dtype=torch.int64),
        )

    def clip(self, index: int, *, label: int | None = None, ease: float = 0.0) -> tuple[Tensor, int]:
        """One clip (3, T, view, view), normalised, and its label.

        It is an easy one, plainly moving and with nothing else in it, with a chance of `ease`.
        """
        rng = np.random.default_rng((self.seed, index))
        is_easy = bool(rng.random() < ease)
        if label is None:
            is_static = rng.random() < self.recipe.static_share
            label = 0 if is_static else int(rng.integers(1, len(CAMERA_MOTIONS)))
        # A motion over a wall of one colour, or along a stripe, cannot be seen: then film something else.
        bare, sparse = self.recipe.bare_share, self.recipe.sparse_share
        needed = int(rng.choice((1, 2, PARTS_WITH_EDGES), p=(bare, sparse, 1 - bare - sparse)))
        for _ in range(30):
            clip, parts = self._film(rng, label, is_easy=is_easy)
            if label == 0 or parts >= needed:
                break
        clip = clip if is_easy else degrade(clip, rng)
        return ((clip - MEAN) / STD).transpose(0, 1), label

    def _film(self, rng: np.random.Generator, label: int, *, is_easy: bool) -> tuple[Tensor, int]:
        """A clip (T, 3, view, view) in 0..1, and how many parts of its background show motion."""
        recipe = self.recipe
        source, indices = self.choose_source(rng)
        height, width = source.shape[-2:]
        aspect = width / min(height, width), height / min(height, width)
        path = self._easy_camera(rng, label) if is_easy else self._camera(rng, label)
        travel = np.abs(path[:, :2]).max(axis=0)
        widest = float(np.exp(path[:, 2].max())) * (1 + 0.3 * min(1.0, float(np.abs(path[:, 3]).max())))
        # The largest field of view that stays within the source all along the path.
        largest = min(aspect[0] / (widest + travel[0]), aspect[1] / (widest + travel[1]))
        field_ = max(0.2, min(1.0, largest) * rng.uniform(0.45, 1.0))
        room = [max(0.0, aspect[i] - field_ * (widest + travel[i])) for i in (0, 1)]
        centre = (rng.uniform(-room[0], room[0]), rng.uniform(-room[1], room[1]))
        grid = camera_grid(path, size=(recipe.view, recipe.view), centre=centre, field=field_)
        if rng.random() < 0.5:  # a mirrored world; the camera's own motion stays what it is
            grid[..., 0] *= -1
        clip = sample_source(source, grid, indices=indices)
        still = _stands_still(source, grid[len(grid) // 2], indices[:1] if recipe.own_motion_shows else indices)
        parts = parts_with_edges(clip[len(clip) // 2], still)
        for body in () if is_easy else self._objects(rng, path, centre, field_):
            clip = body.paste(clip, grid)
        if label == 0 and rng.random() < 0.03:
            clip = clip * 0 + clip.mean() * float(rng.choice([0.0, rng.random()]))  # a black or plain frame
        return clip, parts

    def choose_source(self, rng: np.random.Generator) -> tuple[Tensor, list[int]]:
        """A source (N, 3, H, W) and which of its frames to look at, T of them or a single one."""
        draw = rng.random()
        if self.steady and draw < self.recipe.footage_share:
            stretch = _pick(rng, self.steady)
            return stretch.frames, self._running(rng, len(stretch.frames))
        if self.by_scene and draw < self.recipe.footage_share + self.recipe.frozen_share:
            stretch = _pick(rng, self.by_scene)
            return stretch.frames, [int(rng.integers(len(stretch.frames)))]
        return self.pictures[int(rng.integers(len(self.pictures)))], [0]

    def _running(self, rng: np.random.Generator, available: int) -> list[int]:
        """Frames to show of a stretch, at its own, half or a higher speed, backwards now and then."""
        pace = float(rng.choice([1.0, 2.0, 2.0, 2.0, 3.0]))
        pace = min(pace, (available - 1) / (self.recipe.clip_frames - 1))
        start = rng.uniform(0, max(0.0, available - 1 - pace * (self.recipe.clip_frames - 1)) + 1e-6)
        indices: list[int] = (start + pace * np.arange(self.recipe.clip_frames)).astype(int).tolist()
        return indices[::-1] if rng.random() < 0.3 else indices

    def _easy_camera(self, rng: np.random.Generator, label: int) -> FloatArray:
        """(T, 4) path of the labelled motion and nothing else, at a speed in the middle of the range."""
        times = self.recipe.times
        path = CameraMove(CAMERA_MOTIONS[label], rng.uniform(0.15, 0.6)).path(times, duration_seconds=float(times[-1]))
        return np.asarray(path - path[len(path) // 2])

    def _camera(self, rng: np.random.Generator, label: int) -> FloatArray:
        """(T, 4) path of the labelled motion with drift, shake and repeated frames on top."""
        recipe = self.recipe
        times = recipe.times
        duration = float(times[-1])
        if rng.random() < 0.15:  # footage of few frames a second shows each of them several times
            slow = rng.uniform(5, 15)
            times = np.floor(times * slow + rng.random()) / slow
        if label == 0:
            speed = rng.uniform(0, recipe.static_speed)
            main = CameraMove(CAMERA_MOTIONS[int(rng.integers(1, 9))], speed).path(times, duration_seconds=duration)
        else:
            speed = math.exp(rng.uniform(math.log(recipe.slowest), math.log(recipe.fastest)))
            move = CameraMove(
                CAMERA_MOTIONS[label],
                speed,
                acceleration=rng.uniform(-0.8, 0.8) if rng.random() < 0.4 else 0.0,
                ease=rng.uniform(0, 1) if rng.random() < 0.3 else 0.0,
            )
            main = move.path(times, duration_seconds=duration)
            # Nobody pans along a ruler: some of the speed goes the other ways.
            aside = rng.normal(0, 0.1, 4).clip(-0.25, 0.25) * (rng.random() < 0.6)
            aside[int(np.abs(main).max(axis=0).argmax())] = 0
            main = main + np.outer(2 * speed * times, aside)
        shake = 0.0
        if rng.random() < 0.5:
            shake = 0.02 * rng.uniform(0, 1) ** 2 if label == 0 else 0.03 * rng.uniform(0, 1) ** 2
        path = main + hand_held(rng, times, amplitude=shake)
        return np.asarray(path - path[len(path) // 2 if rng.random() < 0.9 else 0])

    def _objects(
        self, rng: np.random.Generator, path: FloatArray, centre: tuple[float, float], field_: float
    ) -> Iterator[MovingObject]:
        """The bodies of a clip: none to three, in training more, some animated, or a screen full of those."""
        share = self.recipe.animated_share
        count = int(rng.choice(4, p=[0.3, 0.35, 0.2, 0.15] if share else [0.45, 0.3, 0.15, 0.1]))
        if share and rng.random() < self.recipe.screen_share:
            count, share = int(rng.integers(4, 10)), 1.0
        for _ in range(count):
            body = self._object(rng, path, centre, field_)
            yield self.animated(body, rng, field_) if share and rng.random() < share else body

    def animated(self, body: MovingObject, rng: np.random.Generator, field_: float) -> MovingObject:
        """A body that swings, grows, blinks, slides its texture or shows running footage.

        A thing in a hand, an arm across the frame, people who walk by, a screen, a test signal.
        """
        if self.by_scene and rng.random() < 0.4:
            running = _pick(rng, self.by_scene).frames
            body = replace(body, texture=running[self._running(rng, len(running)), :, ::2, ::2])
        if rng.random() < 0.35:
            larger = rng.uniform(1, 2)
            body = replace(body, size=(larger * body.size[0], larger * body.size[1]))
        times, track = self.recipe.times - self.recipe.times.mean(), body.track.copy()
        if rng.random() < 0.4:  # it stays where it is in the world
            track[:] = track[len(track) // 2]
        if rng.random() < 0.3:
            swing = np.sin(2 * np.pi * (rng.uniform(0.3, 2.0) * times + rng.random()))
            track += np.outer(swing, rng.normal(0, 1, 3) * (0.2 * field_, 0.2 * field_, 0.5))
        growth = np.ones((len(times), 2))
        if rng.random() < 0.35:
            rates = np.full(2, rng.normal(0, 0.8)) if rng.random() < 0.5 else rng.normal(0, 0.8, 2)
            growth *= np.exp(np.outer(times, rates))
        if rng.random() < 0.15:  # it comes or goes
            growth[times < times[int(rng.integers(len(times)))]] = 0
            growth = growth[::-1] if rng.random() < 0.5 else growth
        heading = rng.uniform(0, 2 * np.pi)
        scroll = np.outer(times, (np.cos(heading), np.sin(heading))) * 2 * rng.uniform(0, 1.5)
        return replace(body, track=track, growth=growth, scroll=scroll if rng.random() < 0.5 else None)

    def _object(
        self, rng: np.random.Generator, path: FloatArray, centre: tuple[float, float], field_: float
    ) -> MovingObject:
        """A body cut out of another picture, that moves by itself or stays with the camera."""
        times = self.recipe.times
        if rng.random() < 0.2:  # a line that sweeps over the frame
            size = field_ * rng.uniform(0.3, 2.0), field_ * rng.uniform(0.01, 0.05)
        else:
            side = field_ * 0.5 * rng.uniform(0.15, 1.0) ** 1.5
            size = side, side * rng.uniform(0.4, 1.6)
        speed = 2 * field_ * rng.uniform(0.0, 0.9) ** 2
        heading = rng.uniform(0, 2 * np.pi)
        track = np.zeros((len(times), 3))
        middle = times - times.mean()
        track[:, 0] = centre[0] + field_ * rng.uniform(-0.9, 0.9) + speed * math.cos(heading) * middle
        track[:, 1] = centre[1] + field_ * rng.uniform(-0.9, 0.9) + speed * math.sin(heading) * middle
        if rng.random() < 0.25:  # followed by the camera
            track[:, :2] += field_ * path[:, :2]
        track[:, 2] = rng.uniform(0, np.pi) + (rng.normal(0, 1) * times if rng.random() < 0.4 else 0)
        texture = self.pictures[int(rng.integers(len(self.pictures)))]
        return MovingObject(texture, track, size, float(rng.choice([1, 2, 2, 8])))


def _pick(rng: np.random.Generator, by_scene: dict[str, list[Stretch]]) -> Stretch:
    """A stretch of a random scene: scenes count alike, however many files show them."""
    stretches = by_scene[list(by_scene)[int(rng.integers(len(by_scene)))]]
    return stretches[int(rng.integers(len(stretches)))]


def _stands_still(source: Tensor, view: Tensor, indices: Sequence[int]) -> Tensor:
    """Mask (h, w) of what looks alike in all frames of a source, seen from one view (h, w, 2)."""
    frames = sorted(set(indices))
    if len(frames) == 1:
        return torch.ones(view.shape[:2])
    seen = sample_source(source, view[::2, ::2].expand(len(frames), -1, -1, -1), indices=frames)
    change = (seen.amax(0) - seen.amin(0)).amax(0)
    still = F.max_pool2d(change[None], 3, 1, 1) < OWN_CHANGE
    return still[0].float().repeat_interleave(2, 0).repeat_interleave(2, 1)


def parts_with_edges(frame: Tensor, still: Tensor) -> int:
    """How many of the nine parts of a frame have edges in every direction where it is `still`.

    A plain wall, a stripe or a horizon alone cannot tell a pan from a tilt, or a zoom from either, and
    what moves by itself says nothing about the camera.

    Args:
        frame: (3, h, h), from 0 to 1.
        still: (h, h), 1 where nothing moves by itself and 0 elsewhere.

    Returns:
        Their number. `PARTS_WITH_EDGES` are enough to see a motion.
    """
    grey = frame.mean(0)
    dx, dy = grey[:-1, 1:] - grey[:-1, :-1], grey[1:, :-1] - grey[:-1, :-1]
    still = still[: dx.shape[0], : dx.shape[1]]
    dx, dy = dx * still, dy * still
    xx, yy, xy = F.avg_pool2d(torch.stack([dx * dx, dy * dy, dx * dy]), len(dx) // 3)
    weakest = (xx + yy) / 2 - torch.hypot((xx - yy) / 2, xy)
    return int((weakest > EDGE_STRENGTH**2).sum())


def make_pictures(count: int, *, seed: int) -> list[Tensor]:
    """`count` generated pictures (1, 3, 288, 384) uint8."""
    rng = np.random.default_rng((seed, count))
    return [generated_picture(rng, 288, 384) for _ in range(count)]
