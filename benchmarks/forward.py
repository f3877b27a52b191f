"""Forward time of TAda2D-R50, or of every network with TAdaConv, against the grouped-convolution form, in one run.

    python -m benchmarks.forward [--batch 1 4] [--rounds 5] [--threads N]
                                 [--keep-memory | --apart]
    python -m benchmarks.forward --all [--networks NAME ...] [--frames 16] [--crop 224] [--batch 1] ...

Ours is the form for inference (`tadacli.models.inference`). The two forms take turns, so that a change of the
machine's speed meets both; the ratio is the median over rounds of grouped / ours. For TAda2D-R50 ours is timed in
bfloat16, too, the grouped form always in float32; beside the ratio stands the achieved rate of multiply-adds as a share
of that of a large matrix product of the same type in the same run. For all networks there is the ratio of CPU time, of
all threads, which other work on the machine changes less. Before any timing the two forms must give the same logits.

Both forms run with PyTorch's usual allocation, where activations come from the system anew; with --keep-memory both as
in the command `tada`, where freed memory is kept for the next pass; with --apart each as people run it: ours as in the
command, the published form with the usual allocation, in a process of its own. There is never more than one at work.
"""

from __future__ import annotations

import argparse
import gc
import inspect
import statistics
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.conditions import conditions, median_and_range
from benchmarks.grouped import grouped_form, has_tadaconv, leave_the_start
from benchmarks.own_process import OwnProcess, Times, timed
from tadacli.allocator import keep_freed_memory
from tadacli.models import BUILDERS, build
from tadacli.models.inference import inference_form

GMACS_PER_CLIP = 43.13  # of TAda2D-R50 on 8 x 256 x 256, see tests/models/test_networks.py
MATRIX_SIZE = 4096
NUM_CLASSES = 400
TOLERANCE = 1e-4  # of the difference of the logits, relative, by norm
TOLERANCE_BFLOAT16 = 0.05


def main() -> None:
    """Measure and print one line for each batch size or network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="every network instead of TAda2D-R50 alone")
    parser.add_argument("--networks", nargs="+", choices=BUILDERS, help="with --all: these only")
    parser.add_argument("--frames", type=int, default=16, help="with --all: frames of a clip")
    parser.add_argument("--crop", type=int, default=224, help="with --all: height and width; a multiple of 16 and 14")
    parser.add_argument("--batch", type=int, nargs="+", help="clips at a time (1 and 4; with --all, 1)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    memory = parser.add_mutually_exclusive_group()
    memory.add_argument("--keep-memory", action="store_true", help="both forms keep freed memory, as the command does")
    memory.add_argument("--apart", action="store_true", help="ours keeps freed memory, the published form does not")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    run = f"{conditions('torch')}, {options.threads} threads, {options.rounds} rounds"
    other = OwnProcess(_Published, options.threads) if options.apart else None
    if options.keep_memory or options.apart:
        keep_freed_memory()
        run += ", freed memory kept" + " by ours alone" * options.apart
    with torch.inference_mode():
        if options.all:
            print(f"{run}, float32, {options.frames}x{options.crop}x{options.crop}")
            _measure_all(
                options.networks or list(BUILDERS),
                clips=[(batch, 3, options.frames, options.crop, options.crop) for batch in options.batch or [1]],
                rounds=options.rounds,
                other=other,
            )
        else:
            print(f"{run}, 8x256x256")
            _measure_tada2d(options.batch or [1, 4], rounds=options.rounds, other=other)


def _measure_tada2d(batches: list[int], *, rounds: int, other: OwnProcess | None) -> None:
    network, grouped_network = forms("tada2d_r50", crop=256)
    published = _published_calls("tada2d_r50", grouped_network, other)
    print("| ours in | batch | grouped / ours: median (min to max) | share of the matrix product | logits differ by |")
    print("| --- | --- | --- | --- | --- |", flush=True)
    for dtype, tolerance in ((torch.float32, TOLERANCE), (torch.bfloat16, TOLERANCE_BFLOAT16)):
        network = network.to(dtype)
        matrix = torch.randn(MATRIX_SIZE, MATRIX_SIZE).to(dtype)
        for batch in batches:
            clip = torch.randn(batch, 3, 8, 256, 256)
            own = clip.to(dtype)
            difference = _check(network(own), published(clip)[0], tolerance)
            matrix @ matrix
            ours, grouped, product = _take_turns(partial(network, own), partial(published, clip), rounds, matrix)
            rate = GMACS_PER_CLIP * batch / statistics.median(wall for wall, _ in ours)
            peak = MATRIX_SIZE**3 / 1e9 / statistics.median(wall for wall, _ in product)
            ratio = median_and_range(_ratios(grouped, ours)[0])
            name = str(dtype).removeprefix("torch.")
            print(f"| {name} | {batch} | {ratio} | {rate / peak:.2f} | {difference:.0e} |", flush=True)


def _measure_all(names: list[str], *, clips: list[tuple[int, ...]], rounds: int, other: OwnProcess | None) -> None:
    print("| network | batch | grouped / ours: median (min to max) | the same of CPU time | logits differ by |")
    print("| --- | --- | --- | --- | --- |", flush=True)
    for name in names:
        network, grouped_network = forms(name, crop=clips[0][-1])
        if not has_tadaconv(grouped_network):
            print(f"{name} has no TAdaConv", file=sys.stderr)
            continue
        published = _published_calls(name, grouped_network, other)
        for shape in clips:
            clip = torch.randn(shape)
            difference = _check(network(clip), published(clip)[0])
            ours, grouped, _ = _take_turns(partial(network, clip), partial(published, clip), rounds)
            wall, cpu = (median_and_range(ratios) for ratios in _ratios(grouped, ours))
            print(f"| {name} | {shape[0]} | {wall} | {cpu} | {difference:.0e} |", flush=True)
        del network, grouped_network, published
        gc.collect()  # the next one may need the room


def forms(name: str, *, crop: int) -> tuple[nn.Module, nn.Module]:
    """A network in our form for inference and in the published form, both away from where fresh weights stand."""
    torch.manual_seed(0)
    builder = getattr(import_module(f"tadacli.models.{BUILDERS[name]}"), name)
    # The positions of a transformer's patches belong to one size of picture.
    sizes = {"crop_size": crop} if "crop_size" in inspect.signature(builder).parameters else {}
    network = build(name, num_classes=NUM_CLASSES, **sizes).eval()
    leave_the_start(network)
    return inference_form(network), grouped_form(network)


Published = Callable[[Tensor], tuple[Tensor, Times]]


def _published_calls(name: str, network: nn.Module, other: OwnProcess | None) -> Published:
    """Logits of the published form and the seconds they took, here or in the other process."""
    if other is None:
        return lambda clip: timed(partial(network, clip))

    def there(clip: Tensor) -> tuple[Tensor, Times]:
        logits, times = other(name, clip.numpy())
        return torch.from_numpy(logits), times

    return there


class _Published:
    """The published form of a network by name, made for its first clip, in the process that it has for itself."""

    def __init__(self, threads: int) -> None:
        torch.set_num_threads(threads)
        self._name = ""

    def __call__(self, name: str, clip: NDArray[np.float32]) -> NDArray[np.float32]:
        if name != self._name:
            self._network, self._name = forms(name, crop=clip.shape[-1])[1], name
        with torch.inference_mode():
            return np.asarray(self._network(torch.from_numpy(clip)))


def _check(ours: Tensor, published: Tensor, tolerance: float = TOLERANCE) -> float:
    """How far the logits are apart, as a share; ends the run where they are too far."""
    difference = float((ours - published).norm() / published.norm())
    if not difference <= tolerance:
        raise SystemExit(f"the two forms disagree by {difference:.1e}; nothing was timed")
    return difference


def _take_turns(
    ours: Callable[[], object],
    published: Callable[[], tuple[Tensor, Times]],
    rounds: int,
    matrix: Tensor | None = None,
) -> tuple[list[Times], list[Times], list[Times]]:
    """The times of both forms, and of `matrix @ matrix`; who goes first changes from round to round."""
    times: tuple[list[Times], list[Times], list[Times]] = ([], [], [])
    calls = partial(timed, ours), published
    for number in range(rounds):
        for which in (0, 1) if number % 2 else (1, 0):
            times[which].append(calls[which]()[1])
        if matrix is not None:
            times[2].append(timed(partial(torch.mm, matrix, matrix))[1])
    return times


def _ratios(grouped: Sequence[Times], ours: Sequence[Times]) -> tuple[list[float], list[float]]:
    """Of each round grouped / ours: of wall times, and of CPU times."""
    rounds = list(zip(grouped, ours, strict=True))
    return [slow[0] / fast[0] for slow, fast in rounds], [slow[1] / fast[1] for slow, fast in rounds]


if __name__ == "__main__":
    main()
