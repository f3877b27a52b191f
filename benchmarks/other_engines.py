"""TAda2D-R50 in our form for inference against torch.compile and OpenVINO, with int8, in one run.

    python -m benchmarks.other_engines [--batch 4] [--rounds 5] [--threads N]

Whether an option for either would pay. torch.compile gets the trained network with frozen weights, so that Inductor
folds and fuses by itself. OpenVINO gets it traced, as it is, in bfloat16, and in int8 by NNCF's quantization after
training (static, a scale for each channel of the weights; calibrated on noise, which says nothing about answers but
suffices for time); without `openvino` and `nncf` it is left out. All take turns; a ratio is the median over rounds of
ours in float32 / theirs. Freed memory is kept, as in the command `tada`.
"""

from __future__ import annotations

import argparse
import copy
import logging
import statistics
import time
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from benchmarks.conditions import conditions, median_and_range
from benchmarks.forward import NUM_CLASSES
from benchmarks.grouped import leave_the_start
from tadacli.allocator import keep_freed_memory
from tadacli.models import build, layers
from tadacli.models.inference import inference_form

Run = Callable[[], Tensor]
CALIBRATION_CLIPS = 3


def main() -> None:
    """Measure and print one line for each engine."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--crop", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    run = f"{options.threads} threads, {options.rounds} rounds, batch {options.batch}, freed memory kept"
    print(f"{conditions('torch')}, {run}")
    clip = torch.randn(options.batch, 3, 8, options.crop, options.crop, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        network = _network(clip)
        reference = network(clip)
        compiled, starts = _compiled(network, clip)
        runs = {**_ours(network, clip), **compiled, **_openvino(network, clip, options.threads)}
        medians = _measure(runs, reference, options.rounds)
    for name, seconds in starts.items():
        gained = medians[name.replace("torch.compile", "ours")] - medians[name]
        even = f"after {seconds / gained:.0f} batches" if gained > 0 else "never"
        print(f"{name} takes {seconds:.0f} s until its first result, and breaks even {even}")


def _network(clip: Tensor) -> nn.Module:
    """TAda2D-R50 away from where fresh weights stand, its batch norms with the statistics of what goes through."""
    torch.manual_seed(0)
    network = build("tada2d_r50", num_classes=NUM_CLASSES).requires_grad_(requires_grad=False)
    leave_the_start(network)
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm3d):
            norm.momentum = None
    network.train()(clip)
    return network.eval()


def _ours(network: nn.Module, clip: Tensor) -> dict[str, Run]:
    single, half = inference_form(network), inference_form(network).to(torch.bfloat16)
    own = clip.to(torch.bfloat16)
    return {"ours, float32": lambda: single(clip), "ours, bfloat16": lambda: half(own).float()}


@contextmanager
def _plain_operators() -> Any:
    """Within, networks call no operators of oneDNN by name: an engine that fuses by itself sees what there is."""
    with patch.object(layers, "onednn_dtypes", lambda: ()):
        yield


def _compiled(network: nn.Module, clip: Tensor) -> tuple[dict[str, Run], dict[str, float]]:
    """The passes by dtype, and the seconds until the first result of each."""
    import torch._dynamo.config as dynamo
    import torch._inductor.config as inductor

    inductor.freezing = True
    dynamo.recompile_limit, dynamo.accumulated_recompile_limit = 200, 2000
    runs: dict[str, Run] = {}
    starts: dict[str, float] = {}
    for dtype in (torch.float32, torch.bfloat16):
        compiled, own = torch.compile(copy.deepcopy(network).to(dtype)), clip.to(dtype)

        def run(compiled: Any = compiled, own: Tensor = own) -> Tensor:
            with _plain_operators():
                found: Tensor = compiled(own).float()
            return found

        started = time.perf_counter()
        run()
        name = f"torch.compile, {str(dtype).removeprefix('torch.')}"
        runs[name], starts[name] = run, time.perf_counter() - started
    return runs, starts


def _openvino(network: nn.Module, clip: Tensor, threads: int) -> dict[str, Run]:
    try:
        import nncf
        import openvino
    except ImportError as error:
        print(f"OpenVINO is left out: {error}")
        return {}
    nncf.set_log_level(logging.ERROR)
    with _plain_operators():
        traced = torch.jit.trace(network, clip, check_trace=False)
    model = openvino.convert_model(traced, example_input=clip)
    model.reshape(list(clip.shape))
    noise = [torch.randn_like(clip).numpy() for _ in range(CALIBRATION_CLIPS)]
    quantized = nncf.quantize(
        model,
        nncf.Dataset(noise),
        subset_size=CALIBRATION_CLIPS,
        advanced_parameters=nncf.AdvancedQuantizationParameters(disable_bias_correction=True),
    )
    core, pixels = openvino.Core(), clip.numpy()
    common = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1", "INFERENCE_NUM_THREADS": threads}
    runs: dict[str, Run] = {}
    for name, form, rest in (("float32", model, "f32"), ("bfloat16", model, "bf16"), ("int8", quantized, "bf16")):
        compiled = core.compile_model(form, "CPU", {**common, "INFERENCE_PRECISION_HINT": rest})
        request = compiled.create_infer_request()
        runs[f"OpenVINO, {name}"] = lambda request=request: torch.from_numpy(request.infer([pixels])[0].copy())
    return runs


def _measure(runs: dict[str, Run], reference: Tensor, rounds: int) -> dict[str, float]:
    """Times all in turns and prints the table; the median seconds of each."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    apart = {name: float((run() - reference).norm() / reference.norm()) for name, run in runs.items()}
    for number in range(rounds):
        for name in list(runs) if number % 2 else reversed(runs):
            started = time.perf_counter()
            runs[name]()
            times[name].append(time.perf_counter() - started)
    print("| engine | ours in float32 / it: median (min to max) | logits differ by |")
    print("| --- | --- | --- |")
    first = times["ours, float32"]
    for name, own in times.items():
        ratios = [ours / theirs for ours, theirs in zip(first, own, strict=True)]
        print(f"| {name} | {median_and_range(ratios)} | {apart[name]:.0e} |")
    return {name: statistics.median(own) for name, own in times.items()}


if __name__ == "__main__":
    main()
