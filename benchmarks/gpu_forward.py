"""Clips a second of networks on a GPU in bfloat16: ours, the grouped-convolution form, and what might be faster still.

    python -m benchmarks.gpu_forward [--device cuda] [--networks NAME ...] [--batch 1 8 64] [--rounds 5] [--minutes 3]
                                     [--compile NAME ...]

All forms have the same weights and take turns; the ratio is the median over rounds of grouped / this form. Beside it
stands the achieved rate of multiply-adds as a share of that of a large matrix product in bfloat16 in the same run.
Before a form is timed its logits must be those of the grouped form in float32, as far as bfloat16 goes. "replayed" is
a CUDA graph, "compiled" is `torch.compile`, with the seconds that compiling took, and "by parts" ours without what was
built for GPUs: what follows a convolution in passes of its own, and wide tensors in pieces as on a CPU. cuDNN's
algorithms are the deterministic ones, as in the command `tada`. What is not begun within --minutes is left out, and
said. On a CPU the script runs for its logic: there are no graphs, and the sizes are small.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.conditions import conditions, median_and_range
from benchmarks.forward import forms
from tadacli.models import layers, packed
from tadacli.models.arithmetic import repeatable_arithmetic
from tadacli.timing import wait_for

NETWORKS = {"tada2d_r50": (8, 256), "tadaformer_l14": (16, 224)}  # frames and crop
SMALL = {"tada2d_r50": (4, 64), "tadaformer_b16": (8, 32)}
MATRIX_SIZE = 8192
LEAST_SECONDS = 0.2  # of one measurement
TOLERANCE = 0.05  # of the difference of the logits, relative, by norm
PUBLISHED, BY_PARTS, OURS, REPLAYED, COMPILED, BOTH = (
    "published",
    "ours, by parts",
    "ours",
    "ours, replayed",
    "ours, compiled",
    "ours, compiled and replayed",
)

Forward = Callable[[Tensor], Tensor]


def main() -> None:
    """Measure and print one line for each form, network and batch."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--networks", nargs="+", help=f"of {', '.join(NETWORKS)}")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8, 64], help="clips at a time")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=3.0, help="after these nothing more is begun")
    parser.add_argument("--compile", nargs="*", default=["tada2d_r50"], help="networks; tadaformer_l14 takes minutes")
    options = parser.parse_args()
    device = torch.device(options.device)
    sizes = NETWORKS if device.type == "cuda" else SMALL
    ends = time.monotonic() + 60 * options.minutes
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    print(f"{conditions('torch')}, {card}, bfloat16, {options.rounds} rounds")
    print("| network | batch | form | clips a second | published / this form | share of the matrix product | differs |")
    print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
    with torch.inference_mode(), repeatable_arithmetic():
        for name in options.networks or sizes:
            bench = _Bench(name, *sizes[name], device=device, rounds=options.rounds, ends=ends)
            for batch in options.batch:
                bench.measure(batch, compiles=name in options.compile)
            del bench
            gc.collect()


class _Bench:
    """The forms of one network on a device."""

    def __init__(self, name: str, frames: int, crop: int, *, device: torch.device, rounds: int, ends: float) -> None:
        ours, published = forms(name, crop=crop)
        self._name, self._shape, self._device = name, (3, frames, crop, crop), device
        self._rounds, self._ends = rounds, ends
        self._exact = published.to(device)
        self._flops = self._count()
        # PyTorch has no pooling over time in bfloat16 for CPUs.
        dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
        self._published = forms(name, crop=crop)[1].to(device, dtype)
        self._ours = ours.to(device, torch.bfloat16)
        matrix = torch.randn(MATRIX_SIZE if device.type == "cuda" else 512, device=device).bfloat16()
        self._matrix = matrix.outer(matrix)

    def measure(self, batch: int, *, compiles: bool) -> None:
        """Print a line for each form at this batch."""
        clip = torch.randn(batch, *self._shape, device=self._device)
        expected = torch.cat([self._exact(part) for part in clip.split(8)])
        clip = clip.bfloat16()
        calls: dict[str, Callable[[], Tensor]] = {}
        for label, make in self._makers(compiles=compiles).items():
            if time.monotonic() > self._ends:
                print(f"{self._name} {batch}, {label}: left out, the time is over", file=sys.stderr)
                continue
            began = time.monotonic()
            call = self._tried(label, make, clip)
            if call is None:
                continue
            took = f" ({time.monotonic() - began:.0f} s to make)" if "compiled" in label else ""
            calls[label + took] = call
        seconds = self._take_turns(calls)
        product = statistics.median(seconds.pop("product"))
        peak = 2 * len(self._matrix) ** 3 / product
        base = seconds[PUBLISHED]
        for label, times in seconds.items():
            rate = batch / statistics.median(times)
            ratios = [slow / fast for slow, fast in zip(base, times, strict=True)]
            difference = float((calls[label]().float() - expected).norm() / expected.norm())
            share = self._flops * rate / peak
            print(
                f"| {self._name} | {batch} | {label} | {rate:.1f} | {median_and_range(ratios)} | {share:.3f}"
                f" | {difference:.0e}{' TOO FAR' * (difference > TOLERANCE)} |",
                flush=True,
            )

    def _makers(self, *, compiles: bool) -> dict[str, Callable[[Tensor], Callable[[], Tensor]]]:
        makers: dict[str, Callable[[Tensor], Callable[[], Tensor]]] = {
            PUBLISHED: lambda clip: partial(self._published, clip.to(next(self._published.parameters()).dtype)),
            BY_PARTS: lambda clip: partial(_by_parts, partial(self._ours, clip)),
            OURS: lambda clip: partial(self._ours, clip),
        }
        if self._device.type == "cuda":
            makers[REPLAYED] = lambda clip: _replayed(partial(self._ours, clip))
        if compiles:
            makers[COMPILED] = lambda clip: partial(_compiled(self._ours), clip)
            if self._device.type == "cuda":
                makers[BOTH] = lambda clip: _replayed(partial(_compiled(self._ours), clip))
        return makers

    def _tried(
        self, label: str, make: Callable[[Tensor], Callable[[], Tensor]], clip: Tensor
    ) -> Callable[[], Tensor] | None:
        """What is timed, after its first calls; None where it fails, which is said."""
        try:
            call = make(clip)
            for _ in range(3):
                call()
            wait_for(self._device)
        except Exception as error:  # whatever a compiler or a driver says
            print(f"{self._name} {len(clip)}, {label} fails: {str(error).splitlines()[0][:300]}", file=sys.stderr)
            return None
        return call

    def _take_turns(self, calls: dict[str, Callable[[], Tensor]]) -> dict[str, list[float]]:
        """Seconds of each call in each round, and of the matrix product."""
        work: dict[str, Callable[[], object]] = {**calls, "product": partial(torch.mm, self._matrix, self._matrix)}
        seconds: dict[str, list[float]] = {label: [] for label in work}
        for number in range(self._rounds + 1):
            for label, call in work.items() if number % 2 else reversed(work.items()):
                spent = self._seconds(call)
                if number:  # the first round warms up
                    seconds[label].append(spent)
        return seconds

    def _seconds(self, call: Callable[[], object]) -> float:
        wait_for(self._device)
        began, count = time.perf_counter(), 0
        while True:
            for _ in range(3):
                call()
            count += 3
            wait_for(self._device)
            if (spent := time.perf_counter() - began) >= LEAST_SECONDS:
                return spent / count

    def _count(self) -> int:
        """Floating-point operations for one clip, two for each multiply-add."""
        with FlopCounterMode(display=False) as counter:
            self._exact(torch.zeros(1, *self._shape, device=self._device))
        return counter.get_total_flops()


def _by_parts(call: Callable[[], Tensor]) -> Tensor:
    with (
        patch.object(layers, "_cudnn_conv2d", lambda *_: None),
        patch.object(packed, "GPU_PIECE", packed.PIECE),
    ):
        return call()


def _compiled(network: nn.Module) -> Forward:
    compiled: Forward = torch.compile(network, dynamic=False, fullgraph=True)
    return compiled


def _replayed(call: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """The call as a CUDA graph: the same work without the time that it takes to ask for it."""
    beside = torch.cuda.Stream()
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = call()

    def replay() -> Tensor:
        graph.replay()
        return result

    return replay


if __name__ == "__main__":
    main()
