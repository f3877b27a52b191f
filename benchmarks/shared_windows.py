"""How much of a network could be shared between windows that overlap, with the same scores.

    python -m benchmarks.shared_windows [--networks NAME ...] [--frames 8] [--crop 224] [--rounds 5]

Windows half a window apart have half of their frames in common, if these are the same frames. What a network computes
of a frame alone could be kept from one window to the next. From the first layer that mixes frames on, everything
depends on which frames are around: in a TAdaConv even the first product does, as its calibration is of the window.
That layer is found by trying: two clips that differ in their last frame give outputs that differ in more than that
frame's share of them. The time before it, as a share of a forward pass, bounds what can be gained: with the share s,
sharing half of the frames leaves 1 - s / 2 of the time.
"""

from __future__ import annotations

import argparse
import gc
import inspect
import statistics
import time
from collections.abc import Callable, Sequence
from importlib import import_module

import torch
from torch import Tensor, nn

from benchmarks.conditions import conditions, median_and_range
from benchmarks.grouped import leave_the_start
from tadacli.models import BUILDERS, build

OVERLAP = 0.5  # of two windows, with the default stride


def first_that_mixes(network: nn.Module, clip: Tensor) -> str:
    """The first layer, in the order of the forward pass, whose outputs for a frame depend on another frame.

    Args:
        network: Any network of clips.
        clip: (1, C, T, H, W) with T >= 2.

    Returns:
        The layer's name; that of the last layer where none mixes.
    """
    other = clip.clone()
    other[:, :, -1] = clip[:, :, -1].flip(-1) + 1
    ours, theirs = (_outputs(network, each) for each in (clip, other))
    for name, output in ours.items():
        if (output != theirs[name]).float().mean() > 1 / clip.shape[2]:
            return name
    return list(ours)[-1]


def share_before(network: nn.Module, layer: str, clip: Tensor, *, rounds: int) -> list[float]:
    """The time until a layer is entered for the first time, as a share of that of the forward pass, round by round."""
    entered: list[float] = []
    hook = network.get_submodule(layer).register_forward_pre_hook(lambda *_: entered.append(time.process_time()))
    shares = []
    try:
        network(clip)  # the first pass sets things up
        for _ in range(rounds):
            entered.clear()
            begun = time.process_time()
            network(clip)
            shares.append((entered[0] - begun) / (time.process_time() - begun))
    finally:
        hook.remove()
    return shares


def gain(share: float) -> float:
    """How many times as fast a window is at most, if a share of its work is done once for all that overlap it."""
    return 1 / (1 - OVERLAP * share)


def _outputs(network: nn.Module, clip: Tensor) -> dict[str, Tensor]:
    """What each layer without layers of its own returned, by name, in the order of the pass."""
    outputs: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, object, object], None]:
        def note(_module: nn.Module, _inputs: object, output: object) -> None:
            if isinstance(output, Tensor) and name not in outputs:
                outputs[name] = output.clone()

        return note

    leaves = [(name, module) for name, module in network.named_modules() if name and not list(module.children())]
    hooks = [module.register_forward_hook(keep(name)) for name, module in leaves]
    try:
        network(clip)
    finally:
        for hook in hooks:
            hook.remove()
    return outputs


def main() -> None:
    """Find the layer, measure, and print a line for each network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=BUILDERS, default=list(BUILDERS), metavar="NAME")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--crop", type=int, default=224, help="height and width; a multiple of 16 and 14")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{conditions('torch')}, one thread, {options.frames}x{options.crop}x{options.crop}\n")
    print("| network | first layer that mixes frames | CPU time before it, % | at most so many times as fast |")
    print("| --- | --- | --- | --- |", flush=True)
    with torch.inference_mode():
        for name in options.networks:
            print(_row(name, frames=options.frames, crop=options.crop, rounds=options.rounds), flush=True)
            gc.collect()  # the next one may need the room


def _row(name: str, *, frames: int, crop: int, rounds: int) -> str:
    torch.manual_seed(0)
    builder = getattr(import_module(f"tadacli.models.{BUILDERS[name]}"), name)
    sizes = {"crop_size": crop} if "crop_size" in inspect.signature(builder).parameters else {}
    network = build(name, num_classes=400, **sizes).eval()
    leave_the_start(network)
    clip = torch.rand(1, 3, frames, crop, crop)
    layer = first_that_mixes(network, clip)
    shares: Sequence[float] = share_before(network, layer, clip, rounds=rounds)
    percent = median_and_range([100 * each for each in shares])
    return f"| {name} | `{layer}` | {percent} | {gain(statistics.median(shares)):.2f} |"


if __name__ == "__main__":
    main()
