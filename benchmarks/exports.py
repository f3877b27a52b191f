"""Every network in full as an ONNX file and a program of torch.export: error, size, time to make it and to run it.

    python -m benchmarks.exports [--networks NAME ...] [--seconds 20] [--threads 1 2]

Weights are random with nothing left at zero, so that each operation counts; clips are as large as those that the
network was published on. Each network has a process of its own and is traced once for both files; each file is proven
as `tada export` does it. Then a clip goes through our form for inference, onnxruntime and the program in turns: the
ratios are the median of ours over theirs, above one where theirs is faster.
"""

from __future__ import annotations

import argparse
import copy
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.conditions import conditions
from tadacli.exporting.graphs import Written, traced
from tadacli.exporting.proof import check_proven, proof_clips, prove
from tadacli.models import BUILDERS, build
from tadacli.models.inference import fuse
from tadacli.runtimes import ONNX, PT2
from tadacli.runtimes.metadata import ExportFacts, Proof
from tadacli.runtimes.networks import open_exported
from tadacli.specs import EvalProtocol, InputSpec, ModelSpec
from tadacli.timing import seconds_of, take_turns
from tadacli.version import __version__
from tadacli.zoo.loading import Model

NUM_CLASSES = 400
# Frames and pixels of clips, and arguments besides the defaults.
CLIPS: dict[str, tuple[int, int, dict[str, Any]]] = {
    "r2plus1d_tiny": (8, 112, {}),
    "slowfast_r50": (32, 224, {}),
    **{name: (16, 224, {}) for name in ("tadaconvnext_tiny", "tadaconvnextv2_tiny", "tadaconvnextv2_small")},
    "tadaconvnextv2_base": (16, 224, {}),
    "tadaformer_b16": (16, 224, {"double_tada": True, "temporal_enhance": True}),
    "tadaformer_l14": (16, 224, {}),
}
NARROW = (8, 224, {})  # of the others: ResNets over video
NOTHING_YET = Proof("noise", 0, (), 0.0, 0.0)


def main() -> None:
    """Measure each network in a process of its own, and print a row for it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=BUILDERS, default=list(BUILDERS))
    parser.add_argument("--seconds", type=float, default=20.0, help="for each time that is measured")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--here", action="store_true", help="in this process, without the head of the table")
    options = parser.parse_args()
    if options.here:
        for name in options.networks:
            print(row(name, seconds=options.seconds, threads=options.threads), flush=True)
        return
    print(conditions("torch", "onnx", "onnxscript", "onnxruntime"), f"{options.seconds:g} s for each time", sep=", ")
    speeds = [f"{kind}, {n} thread{'s' if n > 1 else ''}" for n in options.threads for kind in ("ONNX", "pt2")]
    head = ["network", "clip", "graph s", "ONNX s", "operations", "MB", "error", "pt2: operations", "MB", "error"]
    print(f"| {' | '.join([*head, *speeds])} |\n| {' | '.join(['---'] * (len(head) + len(speeds)))} |", flush=True)
    for name in options.networks:
        more = ["--networks", name, "--seconds", str(options.seconds), "--threads", *map(str, options.threads)]
        subprocess.run([sys.executable, "-m", "benchmarks.exports", "--here", *more], check=False)


def row(name: str, *, seconds: float, threads: list[int]) -> str:
    """The row of a network in the table."""
    network, spec = small_weights(name)
    reference = Model(spec, fuse(copy.deepcopy(network)), torch.device("cpu"), torch.float32, Path(), "")
    started = time.perf_counter()
    graph = traced(network, spec)
    traced_seconds = time.perf_counter() - started
    del network
    clips = proof_clips(reference).clips
    cells = [name, f"{spec.input.clip_frames}x{spec.input.crop_size}", f"{traced_seconds:.0f}"]
    runs: dict[int, list[Callable[[], object]]] = {n: [partial(_pass, reference.network, clips[:1])] for n in threads}
    with tempfile.TemporaryDirectory() as folder:
        for suffix in (ONNX, PT2):
            started = time.perf_counter()
            written = Written(graph, suffix=suffix)
            file = Path(folder) / f"model{suffix}"
            facts = ExportFacts(spec, "", "float32", __version__, {}, NOTHING_YET)
            with file.open("wb") as stream:
                written.write(stream, facts)
            cells += [f"{time.perf_counter() - started:.0f}"] if suffix == ONNX else []
            cells += [f"{written.num_nodes:,}", f"{file.stat().st_size / 1e6:.0f}"]
            del written
            for n in threads:
                torch.set_num_threads(n)
                opened = open_exported(file, torch.device("cpu"), may_choose=False)
                if n == threads[0]:
                    batches = prove(reference, opened.network, clips=clips)
                    check_proven(batches, file)
                    cells.append(f"{max(max(each.relative_errors.values()) for each in batches):.0e}")
                runs[n].append(partial(_pass, opened.network, clips[:1]))
    for n, calls in runs.items():
        torch.set_num_threads(n)
        for call in calls:
            call()
        ours, *others = take_turns([partial(seconds_of, call) for call in calls], seconds=seconds)
        cells += [f"{ours.median_seconds / other.median_seconds:.2f}" for other in others]
    return f"| {' | '.join(cells)} |"


def small_weights(name: str) -> tuple[nn.Module, ModelSpec]:
    """A network with random weights, none of which are zero, and its spec."""
    frames, size, arguments = CLIPS.get(name, NARROW)
    clip = InputSpec("interval", frames, 4, 30.0, size, size, (0.45,) * 3, (0.225,) * 3)
    labels = tuple(f"class {number}" for number in range(NUM_CLASSES))
    spec = ModelSpec(f"{name}.random", name, "action", "none", clip, {"": labels}, EvalProtocol(1, 1), arguments)
    torch.manual_seed(0)
    network = build(name, num_classes=NUM_CLASSES, **arguments).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.any():
                nn.init.normal_(parameter, std=0.02)
        for key, values in network.named_buffers():
            if key.endswith("running_mean"):
                nn.init.normal_(values, std=0.02)
    return network, spec


@torch.inference_mode()
def _pass(network: nn.Module, clips: Tensor) -> None:
    network(clips.clone())


if __name__ == "__main__":
    main()
