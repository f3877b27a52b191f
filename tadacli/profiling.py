"""Where the wall time of a run went: what its threads were doing, and how much of that at the same time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

T = TypeVar("T")


class Stage(StrEnum):
    """What a thread can be busy with; WAITING is the time in which the network has no frames to work on."""

    START = "imports and model"
    LOOK = "looking at the videos"
    OPEN = "open and scan"
    DECODE = "decode and RGB"
    PREPARE = "resize and crop"
    AUGMENT = "augmentation"
    NETWORK = "network"
    STEP = "training steps"
    WAITING = "waiting for frames"
    EVALUATE = "evaluation"
    OUTPUT = "output"


@dataclass(frozen=True)
class ProfileReport:
    """What a `Profile` found. Times are wall times in seconds.

    `stages` are the times of the threads in each stage, added up. `together_seconds` is the part of `wall_seconds`
    in which at least two threads were at work, `rest_seconds` that in which nothing that is measured happened.
    `num_decoded` counts the frames that were decoded, `num_used` those that the network sees, `num_views` what it
    scored.
    """

    wall_seconds: float
    stages: Mapping[Stage, float]
    together_seconds: float
    rest_seconds: float
    num_decoded: int
    num_used: int
    num_views: int


class Profile:
    """Takes down what a run does, from any of its threads; the wall time begins when it is made.

    A stage that shares the cores with another one takes longer, so what overlaps does not add up to what the stages
    would take one after the other. On a GPU the work is done when its result is asked for: in the network.
    """

    def __init__(self, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._began = self._changed = clock()
        self._stages: dict[Stage, float] = {}
        self._num_open = self._num_working = 0
        self._covered = self._together = 0.0
        self._num_decoded = self._num_used = self._num_views = 0

    @contextmanager
    def during(self, stage: Stage) -> Iterator[None]:
        """What happens inside is a part of `stage`. A thread is in one stage at a time."""
        works = stage is not Stage.WAITING
        started = self._change(1, works)
        try:
            yield
        finally:
            seconds = self._change(-1, works) - started
            with self._lock:
                self._stages[stage] = self._stages.get(stage, 0.0) + seconds

    def steps(self, stage: Stage, items: Iterable[T]) -> Iterator[T]:
        """The items; making each of them is a part of `stage`."""
        coming = iter(items)
        while True:
            with self.during(stage):
                try:
                    item = next(coming)
                except StopIteration:
                    return
            yield item

    def add(self, stage: Stage, seconds: float) -> None:
        """Counts time that was measured elsewhere, in which nothing else was taken down."""
        with self._lock:
            self._stages[stage] = self._stages.get(stage, 0.0) + seconds
            self._covered += seconds

    def take(self, other: ProfileReport) -> None:
        """Adds what another process took down meanwhile; only what this process did can be "together"."""
        with self._lock:
            for stage, seconds in other.stages.items():
                self._stages[stage] = self._stages.get(stage, 0.0) + seconds
        self.count(decoded=other.num_decoded, used=other.num_used, views=other.num_views)

    def ready(self) -> None:
        """All the time up to now was taken for the start."""
        self.add(Stage.START, self._clock() - self._began)

    def count(self, *, decoded: int = 0, used: int = 0, views: int = 0) -> None:
        """So many more frames were decoded, frames used and views scored."""
        with self._lock:
            self._num_decoded += decoded
            self._num_used += used
            self._num_views += views

    def report(self) -> ProfileReport:
        """What was found up to now; no stage may be under way."""
        wall = self._clock() - self._began
        return ProfileReport(
            wall_seconds=wall,
            stages={stage: self._stages[stage] for stage in Stage if stage in self._stages},
            together_seconds=self._together,
            rest_seconds=max(0.0, wall - self._covered),
            num_decoded=self._num_decoded,
            num_used=self._num_used,
            num_views=self._num_views,
        )

    def _change(self, step: int, works: bool) -> float:
        """A stage begins (1) or ends (-1); the time, and it is taken down what went on since the last change."""
        with self._lock:
            now = self._clock()
            if self._num_open:
                self._covered += now - self._changed
            if self._num_working > 1:
                self._together += now - self._changed
            self._num_open += step
            self._num_working += step * works
            self._changed = now
            return now


# --- the profile of what is running -----------------------------------------------------------------

# A thread starts without one: those of `concurrency` run in a copy of the context of whoever starts them.
_CURRENT: ContextVar[Profile | None] = ContextVar("profile", default=None)


@contextmanager
def profiled(profile: Profile | None) -> Iterator[None]:
    """What happens inside is taken down in this profile; None takes nothing down."""
    token = _CURRENT.set(profile)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def is_profiled() -> bool:
    """Whether there is a current profile."""
    return _CURRENT.get() is not None


def take(other: ProfileReport) -> None:
    """Adds what another process took down to the current profile, if there is one."""
    profile = _CURRENT.get()
    if profile is not None:
        profile.take(other)


@contextmanager
def as_one(stage: Stage) -> Iterator[None]:
    """What happens inside is a part of `stage` as a whole, whatever stages it has in itself."""
    with during(stage), profiled(None):
        yield


def during(stage: Stage) -> AbstractContextManager[None]:
    """What happens inside is a part of `stage` in the current profile, if there is one."""
    profile = _CURRENT.get()
    return nullcontext() if profile is None else profile.during(stage)


def steps(stage: Stage, items: Iterable[T]) -> Iterator[T]:
    """The items; making each of them is a part of `stage` in the current profile, if there is one."""
    profile = _CURRENT.get()
    return iter(items) if profile is None else profile.steps(stage, items)


def count(*, decoded: int = 0, used: int = 0, views: int = 0) -> None:
    """So many more frames were decoded, frames used and views scored, says the current profile, if there is one."""
    profile = _CURRENT.get()
    if profile is not None:
        profile.count(decoded=decoded, used=used, views=views)
