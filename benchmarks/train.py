"""Time of a training step against the grouped-convolution form, in one run on this machine.

    python -m benchmarks.train [--networks tada2d_r50 r2plus1d_tiny] [--batch 2] [--rounds 5] [--threads N]
                               [--keep-memory]

A step is forward, loss, backward and the optimiser's update, in float32: TAda2D-R50 on clips of 8 x 224 x 224, the
built-in R(2+1)D on its own 8 x 64 x 64. The two forms take turns; the ratio of a round is grouped / ours. Before any
timing both must give the same gradients: closely in float64 on small clips, and as far as float32 goes on the clips
that are timed.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.conditions import conditions, median_and_range
from benchmarks.grouped import grouped_form, leave_the_start
from tadacli.allocator import keep_freed_memory
from tadacli.models import build

NUM_CLASSES = 10
# How far the gradients of the two forms may be apart, as a share of the published form's. In float64 for each parameter
# by itself; where its gradient is next to nothing (a bias in front of a batch norm), as a share of `FLOOR` of all
# gradients. In float32 for all parameters together: through 50 fresh layers of batch norm and ReLU rounding grows so
# much that each form is some percent away from its own float64.
TOLERANCE = {torch.float64: 1e-9, torch.float32: 0.1}
FLOOR = 1e-3
SMALL_CLIP = (2, 3, 3, 48, 40)


@dataclass(frozen=True)
class Case:
    """A network and the (T, H, W) of its clips."""

    architecture: str
    clip: tuple[int, int, int]


CASES = {case.architecture: case for case in (Case("tada2d_r50", (8, 224, 224)), Case("r2plus1d_tiny", (8, 64, 64)))}


class Trainer:
    """A network in training, with the optimiser of the published recipe (SGD with Nesterov momentum)."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network.train()
        self._optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9, nesterov=True, weight_decay=1e-4)

    def backward(self, clips: Tensor, labels: Tensor) -> float:
        """Leave the gradients of the loss in the parameters; returns the loss."""
        torch.manual_seed(0)  # the same dropout in both forms
        self._optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(self.network(clips), labels)
        loss.backward()
        return loss.item()

    def step_seconds(self, clips: Tensor, labels: Tensor) -> float:
        """The wall time of one whole step."""
        start = time.perf_counter()
        self.backward(clips, labels)
        self._optimizer.step()
        return time.perf_counter() - start


def main() -> None:
    """Check the gradients, then measure and print one line for each network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--keep-memory", action="store_true", help="keep freed memory in both forms, as make weights does"
    )
    options = parser.parse_args()
    if options.keep_memory:
        keep_freed_memory()
    torch.set_num_threads(options.threads)
    print(
        f"{conditions('torch')}, {options.threads} threads, {options.rounds} rounds, float32, batch {options.batch}"
        + ", freed memory kept" * options.keep_memory
    )
    print("| network | clip | grouped / ours: median (min to max) | gradients differ by, float64 and float32 |")
    print("| --- | --- | --- | --- |", flush=True)
    for name in options.networks:
        print(measure(CASES[name], batch=options.batch, rounds=options.rounds), flush=True)


def measure(case: Case, *, batch: int, rounds: int) -> str:
    """One row of the table: the ratio of the step times, and how far the gradients differ."""
    torch.manual_seed(0)
    network = build(case.architecture, num_classes=NUM_CLASSES)
    leave_the_start(network)
    labels = torch.arange(batch) % NUM_CLASSES
    clips = torch.randn(batch, 3, *case.clip)
    small = torch.randn(SMALL_CLIP, dtype=torch.float64)
    exact = _checked_difference(
        Trainer(copy.deepcopy(network).double()),
        Trainer(grouped_form(network).double()),
        small,
        torch.arange(len(small)) % NUM_CLASSES,
    )
    ours, grouped = Trainer(network), Trainer(grouped_form(network))
    rough = _checked_difference(ours, grouped, clips, labels)  # also the warm-up
    ratios = []
    for number in range(rounds):
        if number % 2:  # who goes first changes, too
            fast = ours.step_seconds(clips, labels)
            ratios.append(grouped.step_seconds(clips, labels) / fast)
        else:
            slow = grouped.step_seconds(clips, labels)
            ratios.append(slow / ours.step_seconds(clips, labels))
    clip, ratio = "x".join(map(str, case.clip)), median_and_range(ratios)
    return f"| {case.architecture} | {clip} | {ratio} | {exact:.0e} and {rough:.0e} |"


def _checked_difference(ours: Trainer, grouped: Trainer, clips: Tensor, labels: Tensor) -> float:
    """How far the gradients are apart, as a share (see `TOLERANCE`); ends the run where they are too far."""
    losses = [trainer.backward(clips, labels) for trainer in (ours, grouped)]
    left, right = (_gradients(trainer.network) for trainer in (ours, grouped))
    gaps = {name: (left[name] - right[name]).norm() for name in right}
    total = _norm(right.values())
    if clips.dtype == torch.float64:
        share = max(float(gap / torch.maximum(right[name].norm(), FLOOR * total)) for name, gap in gaps.items())
    else:
        share = float(_norm(gaps.values()) / total)
    tolerance = TOLERANCE[clips.dtype]
    if not share <= tolerance or not abs(losses[0] - losses[1]) <= tolerance * abs(losses[1]):
        raise SystemExit(
            f"the two forms disagree in {clips.dtype}: losses {losses[0]:.9g} and {losses[1]:.9g}, gradients apart by "
            f"{share:.1e} (tolerance {tolerance:.0e}); nothing was timed"
        )
    return share


def _norm(tensors: Iterable[Tensor]) -> Tensor:
    return torch.stack([tensor.norm() for tensor in tensors]).norm()


def _gradients(network: nn.Module) -> dict[str, Tensor]:
    found = {name: parameter.grad for name, parameter in network.named_parameters()}
    without = [name for name, gradient in found.items() if gradient is None]
    if without:
        raise SystemExit(f"{without[0]} has no gradient; nothing was timed")
    return cast(dict[str, Tensor], found)


if __name__ == "__main__":
    main()
