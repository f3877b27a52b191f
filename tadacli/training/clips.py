"""The clips a network is trained on, in an endless shuffled order, made in this process or in others.

What happens to a clip is decided by the seed, the epoch and the id of its sample: never by its place in a batch,
by the process that makes it or by what was made before. So any number of processes makes the same batches, and a
run that starts in the middle goes on as if it had started at the beginning.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache, partial
from multiprocessing.util import Finalize
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from tadacli.concurrency import WatchedContext
from tadacli.datasets.samples import Sample
from tadacli.errors import TadaError, UsageError
from tadacli.profiling import Profile, ProfileReport, Stage, during, is_profiled, profiled, take
from tadacli.specs import InputSpec
from tadacli.training.augmentation import augment_clip, mirrored_class, mix
from tadacli.training.frame_cache import FrameCache
from tadacli.training.loop import TrainingBatch
from tadacli.training.sample_frames import SampleFrames
from tadacli.training.settings import Augmentation

Heads = Mapping[str, tuple[str, ...]]
SeedOf = Callable[[str], int]
MicroBatches = Callable[[int], Sequence[Sequence[int]]]

# Bytes of the name of a Unix socket: 107 on Linux, 103 on macOS.
_MAX_SOCKET_NAME = 103


def sample_at(position: int, *, num_samples: int, seed: int) -> tuple[int, int]:
    """(epoch, sample number) at a position of the endless order, which is one seeded permutation for each epoch.

    Step s of batches of B clips takes the positions s * B to s * B + B - 1, however many processes share them.
    """
    if position < 0 or num_samples < 1:
        raise ValueError(f"there is no position {position} in an order of {num_samples} samples")
    epoch, place = divmod(position, num_samples)
    return epoch, int(_order(num_samples, seed, epoch)[place])


def balanced_sample_at(position: int, *, classes: Sequence[Sequence[int]], seed: int) -> tuple[int, int]:
    """(round, sample number) at a position of the endless order in which every class is equally frequent.

    Each run of as many positions as there are classes has every class once, in a seeded order. The samples of a class
    take turns: a round is one seeded permutation of them, so that none is drawn a second time before all others were.

    Args:
        position: From 0.
        classes: The numbers of the samples of each class, one or more of each.
        seed: Of the order.

    Returns:
        How often the sample was drawn before, and its number.
    """
    if position < 0 or not classes or not all(classes):
        raise ValueError(f"there is no position {position} in an order of {len(classes)} classes")
    turn, place = divmod(position, len(classes))
    number = int(np.random.default_rng(derived_seed(seed, turn, "classes")).permutation(len(classes))[place])
    members = classes[number]
    again, place = divmod(turn, len(members))
    order = np.random.default_rng(derived_seed(seed, again, number, "members")).permutation(len(members))
    return again, members[int(order[place])]


@lru_cache(maxsize=2)  # a batch may end one epoch and begin the next
def _order(num_samples: int, seed: int, epoch: int) -> NDArray[np.int64]:
    return np.random.default_rng(derived_seed(seed, epoch, "order")).permutation(num_samples)


def derived_seed(seed: int, *words: str | int) -> int:
    """A seed of 63 bits for one purpose, unrelated to those for others."""
    text = "\0".join(map(str, (seed, *words)))
    digest = hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


@dataclass(frozen=True)
class TrainingItem:
    """A clip, float32 (3, T, c, c), and the probabilities of what it shows, float32 (num_classes,) by head.

    These sum to one, but of multi-label data, where each is by itself.
    `noise_seed` is what the network's own random numbers for this clip, those of dropout, can be drawn from.
    """

    clip: Tensor
    targets: dict[str, Tensor]
    noise_seed: int


class TrainingClips:
    """Random clips of samples, each made anew in every epoch.

    Frames are taken as in testing, but at random (`training_indices`), each is decoded once, and then changed
    (`augment_clip`). `input` tells which frames and how they are normalised; the size is the augmentation's.
    Of a clip nothing is kept, since the next one is another. With a `cache` the frames that it is made of are, as far
    as these fit: as they are decoded, since smaller ones are other pixels. The clips are the same to the bit.
    `num_epochs` is how often each sample is drawn, by which what is worth keeping is told.

    With `balance`, every class is drawn equally often, as clips and as what they are mixed with; of several heads, and
    with `multi_label`, every combination of classes that occurs. With `multi_label` a clip shows all classes that hold
    at its middle, between its first and its last frame.

    In the folder `index` frame tables of videos are kept; no clip depends on it.

    Not for several threads at once. Raises `UsageError` for samples without a file, without a class in each of the
    `heads`, and for pairs of labels that are only half there.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        *,
        heads: Heads,
        input: InputSpec,
        augmentation: Augmentation,
        seed: int = 0,
        balance: bool = False,
        multi_label: bool = False,
        index: str | os.PathLike[str] | None = None,
        cache: FrameCache | None = None,
        num_epochs: float = 1,
    ) -> None:
        self._samples, self._heads, self._input = tuple(samples), dict(heads), input
        self._multi_label = multi_label
        self._augmentation, self._seed, self._num_epochs = augmentation, seed, num_epochs
        self._check()
        self._frames = SampleFrames(self._samples, input, index=index, cache=cache)
        self._classes = _by_class(self._samples, multi_label=multi_label) if balance else ()

    def __len__(self) -> int:
        return len(self._samples)

    def item(self, position: int) -> TrainingItem:
        """What the endless order has at a position. Raises `VideoError`, naming the sample, if it cannot be read."""
        if self._classes:
            epoch, number = balanced_sample_at(position, classes=self._classes, seed=self._seed)
        else:
            epoch, number = sample_at(position, num_samples=len(self), seed=self._seed)
        sample = self._samples[number]
        seed_of = partial(derived_seed, self._seed, epoch, sample.id)
        left = self._num_epochs - epoch
        clip, targets = self._clip(number, seed_of, role="clip", num_draws_left=left)
        if self._augmentation.mixes:
            other = self._partner(np.random.default_rng(seed_of("partner")))
            other_clip, other_targets = self._clip(other, seed_of, role="partner", num_draws_left=left)
            clip, targets = mix(
                clip, other_clip, targets, other_targets, augmentation=self._augmentation, seed=seed_of("mix")
            )
        return TrainingItem(clip, targets, seed_of("noise"))

    def _partner(self, rng: np.random.Generator) -> int:
        """The number of any sample, for a mixture; of balanced classes each is as likely."""
        members: Sequence[int] = range(len(self))
        if self._classes:
            members = self._classes[int(rng.integers(len(self._classes)))]
        return members[int(rng.integers(len(members)))]

    def batch(self, positions: Sequence[int]) -> TrainingBatch:
        """The items at several positions as one batch. Raises `VideoError` as `item` does."""
        items = [self.item(position) for position in positions]
        return TrainingBatch(
            torch.stack([item.clip for item in items]),
            {head: torch.stack([item.targets[head] for item in items]) for head in self._heads},
            torch.tensor([item.noise_seed for item in items], dtype=torch.int64),
        )

    def _clip(
        self, number: int, seed_of: SeedOf, *, role: str, num_draws_left: float
    ) -> tuple[Tensor, dict[str, Tensor]]:
        sample, rng = self._samples[number], np.random.default_rng(seed_of(f"frames of the {role}"))
        frames, middle = self._frames.read(number, rng, num_draws_left=num_draws_left)
        with during(Stage.AUGMENT):
            augmented = augment_clip(
                frames,
                self._augmentation,
                mean=self._input.mean,
                std=self._input.std,
                seed=seed_of(f"changes of the {role}"),
            )
        is_other_class = augmented.is_mirrored and self._augmentation.flip == "labels"
        targets = {}
        for head, labels in self._heads.items():
            targets[head] = torch.zeros(len(labels))
            for index in sample.classes_at(middle) if self._multi_label else (sample.labels[head],):
                targets[head][mirrored_class(index, labels, self._augmentation) if is_other_class else index] = 1
        return augmented.clip, targets

    def _check(self) -> None:
        if not self._samples:
            raise UsageError("there is nothing to train on: no sample is given")
        for sample in self._samples:
            if sample.path is None:
                raise UsageError(f"no video file was found for sample {sample.id}", hint="train on samples with files")
            for head, labels in self._heads.items():
                if not 0 <= sample.labels.get(head, -1) < len(labels):
                    where = f" in the head {head}" if head else ""
                    raise UsageError(f"sample {sample.id} has no class{where}", hint="train on samples with labels")
        known = [pair for labels in self._heads.values() for pair in _pairs_in(labels, self._augmentation)]
        for pair in self._augmentation.flip_pairs:
            if pair not in known:
                raise UsageError(
                    f"no head has both {pair[0]!r} and {pair[1]!r}, which a mirror exchanges",
                    hint="name labels as the data set does, or leave the pair out",
                )


def _by_class(samples: Sequence[Sample], *, multi_label: bool) -> tuple[tuple[int, ...], ...]:
    """The numbers of the samples of each class, or combination of classes, that occurs."""
    found: dict[tuple[tuple[str, int], ...], list[int]] = {}
    for number, sample in enumerate(samples):
        classes = [("", index) for index in sample.classes] if multi_label else sorted(sample.labels.items())
        found.setdefault(tuple(classes), []).append(number)
    return tuple(tuple(found[key]) for key in sorted(found))


def _pairs_in(labels: Sequence[str], augmentation: Augmentation) -> list[tuple[str, str]]:
    """The pairs of labels of a head. Raises `UsageError` for one whose other half it lacks."""
    here = [pair for pair in augmentation.flip_pairs if set(pair) & set(labels)]
    for name in {name for pair in here for name in pair} & set(labels):
        mirrored_class(list(labels).index(name), labels, augmentation)
    return here


# --- batches ----------------------------------------------------------------------------------------


def batches(
    clips: TrainingClips, positions_of_step: MicroBatches, *, first_step: int, num_steps: int, workers: int = 0
) -> Generator[list[TrainingBatch], None, None]:
    """Gives the micro-batches of each step; torch's random numbers are left as they were.

    They are made ahead in other processes, or in this one where they are asked for; they are the same to the bit.
    Close the iterator to end early: it ends the processes.

    Args:
        clips: The training clips.
        positions_of_step: Gives the positions of each micro-batch of a step.
        first_step: From 0.
        num_steps: How many steps from there.
        workers: In how many processes; with 1 or more, a script must guard its start by `if __name__ == "__main__"`.

    Returns:
        For each step the list of its batches.

    Raises:
        UsageError: `workers` is below 0.
        TadaError: A worker died or cannot send what it makes, or a clip cannot be made: then in place of its step.
    """
    if workers < 0:
        raise UsageError(f"{workers} workers cannot make clips", hint="use --workers 0 or more")
    if workers:
        _check_temporary_folder()
    steps = range(first_step, first_step + num_steps)
    made = _made(clips, (tuple(batch) for step in steps for batch in positions_of_step(step)), workers)
    try:
        for step in steps:
            parts = []
            for _ in positions_of_step(step):
                part = next(made)
                if isinstance(part, TadaError):
                    raise part
                parts.append(part)
            yield parts
    finally:
        made.close()


def _check_temporary_folder() -> None:
    """Raise `TadaError` where workers could not send clips: the system would refuse the name of their sockets.

    They notice that in a thread of their own, and the clips would be waited for without end.
    """
    folder = tempfile.gettempdir()
    # As `multiprocessing` names them.
    if len(os.fsencode(folder)) + len("/pymp-12345678/listener-12345678") > _MAX_SOCKET_NAME:
        raise TadaError(
            f"the name of the temporary folder {folder} is too long for processes that share clips",
            hint="set TMPDIR to a shorter one, or use --workers 0",
        )


def _made(
    clips: TrainingClips, wanted: Iterator[tuple[int, ...]], workers: int
) -> Generator[TrainingBatch | TadaError, None, None]:
    """The wanted batches in order, or in place of one the error that it met."""
    loader: DataLoader[Any] = DataLoader(
        _Maker(clips, bool(workers) and is_profiled()),  # type: ignore[arg-type]  # it asks for no more than indexing
        batch_size=None,
        sampler=wanted,
        num_workers=workers,
        # A fork copies locks that threads of FFmpeg and torch may hold at that moment, and would wait for them forever.
        multiprocessing_context=WatchedContext() if workers else None,
        worker_init_fn=_begin,
        # Otherwise it draws from the generator of everyone, of which training must not see a trace.
        generator=torch.Generator(),
    )
    alarm = signal.getsignal(signal.SIGCHLD)
    running = iter(loader)
    if threading.current_thread() is threading.main_thread():
        # That of torch raises wherever this process is at the moment; a dead worker is noticed as its batch is missing.
        signal.signal(signal.SIGCHLD, alarm or signal.SIG_DFL)
    try:
        while True:
            # In this process they are made now, and say themselves what they do.
            with during(Stage.WAITING) if workers else nullcontext():
                found = next(running, None)
            if found is None:
                return
            made, report = found
            if report is not None:
                take(report)
            yield made
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        raise _died(error) from error
    except (ConnectionError, EOFError) as error:  # in the middle of what it sent
        raise _died(error) from error
    finally:
        # An error on its way may hold on to `running`, and the processes would end with it, not now.
        getattr(running, "_shutdown_workers", lambda: None)()


def _died(error: Exception) -> TadaError:
    return TadaError(
        f"a process that makes training clips died: {error}",
        hint="most often memory is short, or in a container the shared memory: use fewer --workers, or 0",
    )


@dataclass(frozen=True)
class _Maker:
    """Makes batches in a worker; what goes wrong is handed over as a value, which keeps it as it is.

    With `is_profiled` it says of each what it took; otherwise whoever profiles this process does.
    """

    clips: TrainingClips
    is_profiled: bool

    def __getitem__(self, positions: tuple[int, ...]) -> tuple[TrainingBatch | TadaError, ProfileReport | None]:
        if not self.is_profiled:
            return self._made(positions), None
        profile = Profile()
        with profiled(profile):
            made = self._made(positions)
        return made, profile.report()

    def _made(self, positions: tuple[int, ...]) -> TrainingBatch | TadaError:
        try:
            return self.clips.batch(positions)
        except TadaError as error:
            return error


def _begin(_: int) -> None:
    """A worker computes in one thread by itself; Ctrl-C is for the process that it works for, which ends it."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    # Last of all it leaves at once: Python would tear down the thread that still sends a batch, and abort over it.
    Finalize(None, os._exit, args=(0,), exitpriority=-1000)


def _leave(*_: object) -> NoReturn:
    sys.exit()  # without an error, which would come up in the process that asks for this
