"""Wall times of things that are to be compared: measured in turns, as medians with their spread."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

# A round of its own for each, so that a change of the machine's speed meets all of them.
MOST_ROUNDS, LEAST_ROUNDS = 5, 3


@dataclass(frozen=True)
class Timing:
    """Seconds that something takes: the median of the rounds, the shortest and the longest."""

    median_seconds: float
    shortest_seconds: float
    longest_seconds: float
    num_rounds: int


def take_turns(measurements: Sequence[Callable[[], float]], *, seconds: float) -> list[Timing]:
    """What each of the measurements gives, the order changing from round to round.

    There are five rounds; a measurement that has spent its time ends after three, and one that has spent three times
    as long after the first.

    Args:
        measurements: Each gives seconds, which need not be the time it took: they may be those of one of many passes.
        seconds: The time that each of them has.

    Returns:
        The timings, in the order of the measurements.
    """
    found: list[list[float]] = [[] for _ in measurements]
    spent = [0.0] * len(measurements)
    for number in range(MOST_ROUNDS):
        order = range(len(measurements))
        for which in order if number % 2 else reversed(order):
            if number and spent[which] >= (seconds if number >= LEAST_ROUNDS else LEAST_ROUNDS * seconds):
                continue
            started = time.perf_counter()
            found[which].append(measurements[which]())
            spent[which] += time.perf_counter() - started
    return [timing_of(values) for values in found]


def timing_of(values: Sequence[float]) -> Timing:
    """The median and the spread of some measured times.

    Args:
        values: Times in seconds, one at least.

    Returns:
        Their timing.
    """
    return Timing(statistics.median(values), min(values), max(values), len(values))


def seconds_of(call: Callable[[], object], *, within_seconds: float = 0.0) -> float:
    """The wall time of one call, in seconds.

    Args:
        call: What is measured.
        within_seconds: The time there is.

    Returns:
        The mean over as many calls as fit into the time, but at least one.
    """
    started = time.perf_counter()
    num_calls, elapsed = 0, 0.0
    while not num_calls or elapsed * (num_calls + 1) / num_calls <= within_seconds:
        call()
        num_calls += 1
        elapsed = time.perf_counter() - started
    return elapsed / num_calls


def in_turns(call: Callable[[], object], *, seconds: float) -> Callable[[], float]:
    """A measurement of one call for `take_turns`.

    Args:
        call: What is measured.
        seconds: About how long its rounds take together.

    Returns:
        A function that gives the seconds of one call.
    """
    return lambda: seconds_of(call, within_seconds=seconds / MOST_ROUNDS)


def warm_up(call: Callable[[], object], *, seconds: float) -> float:
    """How long a call takes that is not the first, which may set things up.

    Args:
        call: What is measured.
        seconds: The time there is; where the first call takes longer, its own time is the answer.

    Returns:
        Seconds.
    """
    first = seconds_of(call)
    return first if first > seconds else seconds_of(call)


def wait_for(device: torch.device) -> None:
    """Return when an accelerator has done what it was given.

    Args:
        device: The device; on a CPU there is nothing to wait for.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
