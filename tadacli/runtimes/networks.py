"""Networks whose arithmetic is another runtime's, called as those of `models` are."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tadacli.errors import CheckpointError, UsageError
from tadacli.runtimes import CLIPS, FEATURES, ONNX, Runtime, logits_name
from tadacli.runtimes.metadata import ExportFacts, facts_in
from tadacli.runtimes.onnx_file import metadata_text
from tadacli.runtimes.pt2_file import checked_content
from tadacli.specs import ModelSpec
from tadacli.strict_tables import in_one_line

Outputs = dict[str, Tensor]  # by the name that the graph gives them
INSTALL = 'pip install "tadacli[onnx]"'
CUDA_PROVIDER, CPU_PROVIDER = "CUDAExecutionProvider", "CPUExecutionProvider"
_LONGEST_REASON = 200


class ExportedNetwork(nn.Module):
    """A network in an exported file: clips to logits by head, as a network of `models`.

    Args:
        run: Computes the named outputs of tensors by name, all float32 on the device of the inputs.
        heads: Names of the heads, "" for a single one.
        file: Where it comes from, for errors.
    """

    def __init__(
        self, run: Callable[[Mapping[str, Tensor], Sequence[str]], Outputs], *, heads: Sequence[str], file: Path
    ) -> None:
        super().__init__()
        self._run, self._heads, self._file = run, tuple(heads), file

    def forward(self, x: Tensor) -> Tensor | dict[str, Tensor]:
        """Clips (B, 3, T, H, W) -> logits (B, num_classes), or {name: logits} for named heads."""
        return self._logits(self._outputs(x, [logits_name(head) for head in self._heads]))

    def features_and_logits(self, x: Tensor) -> tuple[Tensor, Tensor | dict[str, Tensor]]:
        """Clips (B, 3, T, H, W) -> features (B, D), and logits as `forward` gives them."""
        found = self._outputs(x, [FEATURES, *(logits_name(head) for head in self._heads)])
        return found[FEATURES], self._logits(found)

    def outputs(self, inputs: Mapping[str, Tensor], names: Sequence[str]) -> Outputs:
        """The outputs of these names, of inputs by name.

        Raises:
            CheckpointError: The runtime refuses the inputs, or gives other outputs.
        """
        try:
            return self._run(inputs, names)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            shapes = ", ".join(str(list(each.shape)) for each in inputs.values())
            raise CheckpointError(
                f"{self._file} cannot be run on inputs of {shapes}: {in_one_line(str(error), most=_LONGEST_REASON)}",
                hint="export the model again with this version, or use its weights",
            ) from error

    def _outputs(self, x: Tensor, names: Sequence[str]) -> Outputs:
        found = self.outputs({CLIPS: x.float()}, names)
        if any(each.ndim != 2 or len(each) != len(x) for each in found.values()):
            shape = ", ".join(str(list(each.shape)) for each in found.values())
            raise CheckpointError(
                f"{self._file} gives {shape} for {len(x)} clips", hint="export the model again with tada export"
            )
        return found

    def _logits(self, found: Outputs) -> Tensor | dict[str, Tensor]:
        named = {head: found[logits_name(head)] for head in self._heads}
        return named[""] if self._heads == ("",) else named


@dataclass(frozen=True)
class Opened:
    """An exported file that is ready to run; `notes` are what a person should know of it."""

    facts: ExportFacts
    network: ExportedNetwork
    device: torch.device
    runtime: Runtime
    notes: tuple[str, ...] = ()


def open_exported(file: Path, device: torch.device, *, may_choose: bool, suffix: str = "") -> Opened:
    """The network in an exported file, ready to run.

    Args:
        file: Its path, ending in .onnx or .pt2.
        device: Where it is to run.
        may_choose: Whether another device is taken where the runtime cannot use this one.
        suffix: The kind of the file, where its name does not say it.

    Returns:
        The network, with the device that was taken.

    Raises:
        CheckpointError: There is no such file, it is of another tool or of a newer version, or it is damaged.
        UsageError: The runtime is not installed, or cannot use the device.
    """
    if not file.is_file():
        raise CheckpointError(f"there is no exported file {file}", hint="tada export MODEL -o FILE makes one")
    if (suffix or file.suffix).lower() == ONNX:
        facts = facts_in(metadata_text(file), file=file)
        return _opened_onnx(file, facts, device, may_choose=may_choose)
    content, text = checked_content(file)
    facts = facts_in(text, file=file)
    if device.type == "mps":
        device = _instead(file, device, "PyTorch's exported programs", may_choose=may_choose)
    run = pt2_runner(content, facts, device, file=file)
    network = ExportedNetwork(run, heads=_heads(facts), file=file).eval()
    return Opened(facts, network, device, Runtime("torch.export", str(torch.__version__)))


def _heads(facts: ExportFacts) -> Sequence[str]:
    return tuple(facts.spec.heads) if isinstance(facts.spec, ModelSpec) else ()


def _instead(file: Path, device: torch.device, runtime: str, *, may_choose: bool, hint: str = "") -> torch.device:
    if may_choose:
        return torch.device("cpu")
    raise UsageError(f"{runtime} cannot run {file} on {device}", hint=hint or "use --device cpu or auto")


# --- onnxruntime ----------------------------------------------------------------------------------------


def onnxruntime_module() -> Any:
    """The library. Raises `UsageError` where it is not installed."""
    try:
        import onnxruntime
    except ImportError as error:
        raise UsageError("ONNX files need onnxruntime, which is not installed", hint=INSTALL) from error
    return onnxruntime


def _opened_onnx(file: Path, facts: ExportFacts, device: torch.device, *, may_choose: bool) -> Opened:
    onnxruntime = onnxruntime_module()
    notes: tuple[str, ...] = ()
    if device.type != "cpu" and (device.type != "cuda" or CUDA_PROVIDER not in onnxruntime.get_available_providers()):
        hint = "use --device cpu; for CUDA install onnxruntime-gpu in the place of onnxruntime"
        was = device
        device = _instead(file, device, "this onnxruntime", may_choose=may_choose, hint=hint)
        notes = (f"this onnxruntime cannot use {was}: {file.name} runs on the CPU",)
    run, provider = onnx_runner(file, device)
    network = ExportedNetwork(run, heads=_heads(facts), file=file).eval()
    return Opened(facts, network, device, Runtime("onnxruntime", onnxruntime.__version__, provider), notes)


def onnx_runner(
    file: Path, device: torch.device
) -> tuple[Callable[[Mapping[str, Tensor], Sequence[str]], Outputs], str]:
    """What runs an ONNX file, and the provider that it runs on.

    Args:
        file: The file, whose metadata have been looked at.
        device: The CPU, or CUDA where the library has it.

    Returns:
        A function of inputs by name and names of outputs, and the name of the provider.

    Raises:
        CheckpointError: The runtime refuses the file.
        UsageError: onnxruntime is not installed.
    """
    onnxruntime = onnxruntime_module()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors; they are raised as well
    wanted: list[Any] = [CPU_PROVIDER]
    if device.type == "cuda":
        wanted.insert(0, (CUDA_PROVIDER, {"device_id": device.index or 0, "use_tf32": 0}))
    try:
        session = onnxruntime.InferenceSession(str(file), options, providers=wanted)
    except Exception as error:  # its errors have no class in common but this one
        raise CheckpointError(
            f"onnxruntime cannot load {file}: {in_one_line(str(error), most=_LONGEST_REASON)}",
            hint="export the model again, or update onnxruntime",
        ) from error

    def run(inputs: Mapping[str, Tensor], names: Sequence[str]) -> Outputs:
        where = next(iter(inputs.values())).device
        found = session.run(list(names), {name: each.cpu().contiguous().numpy() for name, each in inputs.items()})
        return {name: torch.from_numpy(values).to(where) for name, values in zip(names, found, strict=True)}

    return run, session.get_providers()[0]


# --- programs of torch.export ---------------------------------------------------------------------------


def pt2_runner(
    content: bytes, facts: ExportFacts, device: torch.device, *, file: Path
) -> Callable[[Mapping[str, Tensor], Sequence[str]], Outputs]:
    """What runs a program of torch.export, of content that was checked.

    Raises:
        CheckpointError: This version of PyTorch cannot read it.
    """
    from torch.export.passes import move_to_device_pass

    log = logging.getLogger("torch.export")
    was_disabled, log.disabled = log.disabled, True  # what it logs it raises as well
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.load(io.BytesIO(content))
            if device.type != "cpu":
                program = move_to_device_pass(program, device)
            module = program.module(check_guards=False)
    except Exception as error:
        made_with = facts.versions.get("torch", "another version")
        raise CheckpointError(
            f"PyTorch {torch.__version__} cannot load {file}, which was made with {in_one_line(made_with)}: "
            f"{in_one_line(str(error), most=_LONGEST_REASON)}",
            hint="such files are for the version that made them: export the model again, or use its ONNX file",
        ) from error
    finally:
        log.disabled = was_disabled

    def run(inputs: Mapping[str, Tensor], names: Sequence[str]) -> Outputs:
        found = module(*inputs.values())
        return {name: found[name] for name in names}

    return run
