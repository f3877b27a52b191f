"""Whether a network runs in bfloat16 on this machine: measured once, and kept."""

from __future__ import annotations

import copy
import json
import platform
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from filelock import FileLock
from torch import Tensor, nn

from tadacli.errors import OutputError
from tadacli.files import write_new
from tadacli.models.arithmetic import repeatable_arithmetic
from tadacli.models.layers import onednn_dtypes
from tadacli.models.replaying import ReplayedNetwork
from tadacli.specs import ModelSpec
from tadacli.timing import seconds_of, take_turns, wait_for, warm_up
from tadacli.zoo.store import store_folder

# A little more speed is not worth scores of eight bits.
WORTH_IT = 1.2
MEASURING_SECONDS = 2.0
# One clip keeps a CPU busy; an accelerator is as fast in any type if there is so little to do.
_CLIPS_ON_ACCELERATOR = 8
# Of the spread of the logits: networks of fifty layers differ by a few hundredths of it, wrong values by more than it.
MOST_DIFFERENCE = 0.25


@dataclass(frozen=True)
class DtypeChoice:
    """The type to compute in, "float32" or "bfloat16", and how many times as fast as float32 bfloat16 is.

    `is_right` tells whether the scores in bfloat16 are those of float32, as far as eight bits go.
    """

    dtype: str
    speed: float
    is_right: bool = True

    def __str__(self) -> str:
        """What was chosen and why, in a line."""
        if not self.speed:
            return f"dtype auto: {self.dtype}, since this device has no fast bfloat16"
        if not self.is_right:
            return f"dtype auto: {self.dtype}, since the scores in bfloat16 are wrong here; tada doctor looks closer"
        return f"dtype auto: {self.dtype}, since bfloat16 is {self.speed:.2f} times as fast as float32 here"


def choose_dtype(network: nn.Module, spec: ModelSpec, device: torch.device) -> DtypeChoice:
    """The type in which a network in float32 is best run: bfloat16 if that is right and at least 1.2 times as fast.

    Before the speed counts, the scores are compared with those in float32: PyTorch computes wrong values for some
    shapes on some processors. Both are found on one clip or a few, and kept in the store's `dtypes.json` for the
    network's architecture, the size of its clips, the device (of a CPU its name, instructions and threads) and the
    version of PyTorch: what is chosen, and with it the scores, must not change from run to run. Remove that file to
    measure again. The network stays as it is.

    Args:
        network: The network, in evaluation mode.
        spec: Its settings: the size of its clips.
        device: Where it is.

    Returns:
        The type, and how much faster bfloat16 was.

    Raises:
        OutputError: The file cannot be written.
    """
    if not has_bfloat16(device):
        return DtypeChoice("float32", 0.0)
    file, key = store_folder() / "dtypes.json", _key(spec, device)
    kept = _kept(file)
    if key not in kept:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(file.with_suffix(".lock")):
                kept = _kept(file)  # another process may have measured meanwhile
                if key not in kept:
                    speed = measured_speed(network, spec, device)
                    is_right = speed < WORTH_IT or scores_agree(network, spec, device)
                    kept[key] = speed if is_right else -speed  # which no version takes for fast
                    write_new(file, (json.dumps(kept, indent=1, sort_keys=True) + "\n").encode(), replace=True)
        except (OSError, OutputError) as error:
            reason = error.message if isinstance(error, OutputError) else f"{file}: {error.strerror or error}"
            raise OutputError(
                f"what --dtype auto measures cannot be kept: {reason}",
                hint="name the type, --dtype float32 or bfloat16, or set TADA_HOME to a folder that can be written",
            ) from error
    return DtypeChoice("bfloat16" if kept[key] >= WORTH_IT else "float32", abs(kept[key]), is_right=kept[key] >= 0)


def has_bfloat16(device: torch.device) -> bool:
    """Whether this device computes in bfloat16 by itself; without that it takes many times as long as in float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return bool(device.type == "cpu" and torch.bfloat16 in onednn_dtypes())


def _key(spec: ModelSpec, device: torch.device) -> str:
    arguments = json.dumps(dict(spec.arguments), sort_keys=True)
    clip = f"{spec.input.clip_frames}x{spec.input.crop_size}"
    if (batch := _batch_size(device)) > 1:
        clip = f"{batch}x{clip}"
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    return f"{spec.architecture} {arguments} {clip}, {where}, torch {torch.__version__}"


def _processor() -> str:
    """What tells the processors apart that may share a store: instructions, and how many threads there are for them."""
    instructions = torch.backends.cpu.get_cpu_capability()
    return f"{platform.machine()} {_processor_name()} {instructions}, {torch.get_num_threads()} threads"


def _processor_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _kept(file: Path) -> dict[str, float]:
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(kept, dict):
        return {}
    return {key: float(speed) for key, speed in kept.items() if isinstance(speed, int | float)}


def _batch_size(device: torch.device) -> int:
    return 1 if device.type == "cpu" else _CLIPS_ON_ACCELERATOR


@torch.inference_mode()
@repeatable_arithmetic()
def measured_speed(network: nn.Module, spec: ModelSpec, device: torch.device) -> float:
    """How many times as fast as float32 bfloat16 is: the ratio of the shortest times of a few turns on a batch."""
    size = spec.input.crop_size
    clips = torch.zeros(_batch_size(device), 3, spec.input.clip_frames, size, size, device=device)
    exact, halved = ReplayedNetwork(network), ReplayedNetwork(copy.deepcopy(network).to(torch.bfloat16))
    runs = [partial(_pass, exact, clips), partial(_pass, halved, clips.to(torch.bfloat16))]
    for run in runs:
        warm_up(run, seconds=MEASURING_SECONDS)
    single, half = take_turns([partial(seconds_of, run) for run in runs], seconds=MEASURING_SECONDS)
    return round(single.shortest_seconds / half.shortest_seconds, 3)


@torch.inference_mode()
@repeatable_arithmetic()
def scores_agree(network: nn.Module, spec: ModelSpec, device: torch.device) -> bool:
    """Whether the logits in bfloat16 are those in float32, within what eight bits make of them, on clips of noise."""
    size, generator = spec.input.crop_size, torch.Generator().manual_seed(0)
    clips = torch.randn(2, 3, spec.input.clip_frames, size, size, generator=generator).to(device)
    expected = _logits(network, clips)
    found = _logits(copy.deepcopy(network).to(torch.bfloat16), clips.to(torch.bfloat16))
    spread = float((expected - expected.mean(dim=-1, keepdim=True)).norm())
    return float((found - expected).norm()) <= MOST_DIFFERENCE * spread


def _logits(network: nn.Module, clips: Tensor) -> Tensor:
    """The logits of all heads beside each other, float32 on the CPU."""
    logits = network(clips)
    heads = list(logits.values()) if isinstance(logits, dict) else [logits]
    return torch.cat([values.float().cpu().flatten(1) for values in heads], dim=1)


def _pass(network: nn.Module, clips: Tensor) -> None:
    network(clips)
    wait_for(clips.device)
