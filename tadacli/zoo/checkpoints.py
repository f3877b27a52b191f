"""Weights files: read and verify the published layout and our own, and write our own.

Our own files are safetensors with the model's spec inside. Published checkpoints are pickles, opened
only as tensors and plain containers (`weights_only=True`), so that a file cannot run code.
"""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from tadacli.errors import CheckpointError, SpecError
from tadacli.files import write_new
from tadacli.models import build, build_over_features
from tadacli.runtimes import is_exported_file
from tadacli.specs import AnySpec, HeadSpec, ProposalSpec, any_spec_from_dict
from tadacli.strict_tables import in_one_line, parse_json, refusing
from tadacli.zoo.stated import CFG, StatedSettings, settings_in_cfg, settings_kept
from tadacli.zoo.store import hash_file
from tadacli.zoo.torch_files import load_torch_file

SPEC_KEY = "tada_spec"
# Of the spec's text, since safetensors keeps several texts in any order: what the original of the weights stated.
STATED_KEY = "stated"
MOST_SPEC_CHARACTERS = 1 << 24  # that of a hundred thousand classes is smaller
PICKLE_SUFFIXES = (".pyth", ".pth", ".pt")
# Where a state dict lies in the pickles that circulate; the published TAda checkpoints use the first.
STATE_KEYS = ("model_state", "state_dict", "model")


@dataclass(frozen=True)
class Checkpoint:
    """A weights file in memory: tensors by name, the spec if the file carries one, and the file's hash.

    `stated` are the settings that a published file states of itself, also where it is one of our own by now.
    """

    path: Path
    state_dict: Mapping[str, Tensor]
    spec: AnySpec | None
    sha256: str
    stated: StatedSettings | None = None


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """The weights in a `.safetensors`, `.pyth`, `.pth` or `.pt` file.

    Raises:
        CheckpointError: The file is missing, damaged, unsafe or holds no weights, or the settings that it states are
            damaged.
    """
    file = Path(path)
    if not file.is_file():
        raise CheckpointError(f"there is no weights file {file}", hint="check the path given to --weights")
    if file.stat().st_size == 0:
        raise CheckpointError(f"the weights file {file} is empty", hint="fetch the file again")
    with refusing(file, CheckpointError):
        if file.suffix == ".safetensors":
            state_dict, (spec, stated) = _read_safetensors(file)
        elif file.suffix in PICKLE_SUFFIXES:
            (state_dict, stated), spec = _read_pickle(file), None
        else:
            known = ", ".join((".safetensors", *PICKLE_SUFFIXES))
            is_run_only = is_exported_file(file)
            hint = "an exported file is run as it is; give the model it was made of" if is_run_only else ""
            raise CheckpointError(f"{file} is not a weights file by its name", hint=hint or f"known endings: {known}")
    return Checkpoint(file, state_dict, spec, hash_file(file).sha256, stated)


def write_checkpoint(
    path: str | os.PathLike[str],
    state_dict: Mapping[str, Tensor],
    spec: AnySpec,
    *,
    stated: StatedSettings | None = None,
) -> None:
    """Writes safetensors with the spec inside, all or nothing: a reader never sees half a file.

    Args:
        path: The file, which is replaced if it is there.
        state_dict: The weights by name.
        spec: The model's settings.
        stated: What the file that the weights come from states of itself, if it does.

    Raises:
        OutputError: It cannot be written; what was there before stays.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state_dict.items()}
    values = spec.to_dict() | ({} if stated is None else {STATED_KEY: stated.to_dict()})
    write_new(Path(path), save(tensors, metadata={SPEC_KEY: json.dumps(values)}), replace=True)


def empty_network(spec: AnySpec) -> nn.Module:
    """The network of a model on the `meta` device: names and shapes without weights.

    Raises:
        SpecError: This version cannot build it.
    """
    with torch.device("meta"):
        if isinstance(spec, ProposalSpec):
            return build_over_features(spec.architecture, **spec.arguments)
        if isinstance(spec, HeadSpec):
            return build_over_features(spec.architecture, num_classes=spec.num_classes, **spec.arguments)
        return build(spec.architecture, num_classes=spec.num_classes, **spec.arguments)


def load_weights(network: nn.Module, checkpoint: Checkpoint) -> None:
    """Put copies of the weights into the network, all of them or none; one on the meta device is on the CPU then.

    Of what the network computes itself (`computed_tables`) only the shape is looked at.

    Raises:
        CheckpointError: They do not fit; the message names every missing, unexpected and wrongly shaped key.
    """
    own = network.state_dict()
    computed: Mapping[str, tuple[int, ...]] = getattr(network, "computed_tables", {})
    held = computed.keys() & checkpoint.state_dict.keys()
    expected = {name: tuple(tensor.shape) for name, tensor in own.items()} | {name: computed[name] for name in held}
    found = {name: tuple(tensor.shape) for name, tensor in checkpoint.state_dict.items()}
    problems = [f"missing {name} {list(expected[name])}" for name in expected if name not in found]
    problems += [f"unexpected {in_one_line(name)} {list(found[name])}" for name in found if name not in expected]
    problems += [
        f"wrong shape {name}: {list(found[name])} in the file, {list(expected[name])} in the network"
        for name in expected
        if name in found and found[name] != expected[name]
    ]
    if problems:
        raise CheckpointError(
            f"{checkpoint.path} does not fit the network; {len(problems)} keys disagree: {'; '.join(problems)}",
            hint=_mismatch_hint(expected, found),
        )
    weights = {name: tensor for name, tensor in checkpoint.state_dict.items() if name not in held}
    bad = [name for name, tensor in weights.items() if not bool(tensor.isfinite().all())]
    if bad:
        raise CheckpointError(f"{checkpoint.path} holds values that are not numbers, in {', '.join(bad)}")
    if not any(tensor.is_meta for tensor in own.values()):
        network.load_state_dict(weights)
        return
    # Not by `Module.to_empty`: for tensors on the meta device torch then imports sympy, a quarter of its own start.
    copies = {
        name: tensor.to("cpu", own[name].dtype, copy=True, memory_format=torch.contiguous_format)
        for name, tensor in weights.items()
    }
    network.load_state_dict(copies, assign=True)


def _mismatch_hint(expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]) -> str:
    classes = [(found[name][0], shape[0]) for name, shape in expected.items() if _is_other_head(name, shape, found)]
    if classes and all(found.get(name) == shape for name, shape in expected.items() if "head." not in name):
        counts = f"the file is for {classes[0][0]} classes, the model for {classes[0][1]}"
        return f"{counts}: choose the --model it was trained as"
    return "choose the --model that the file was trained as, or fetch the file again"


def _is_other_head(name: str, shape: tuple[int, ...], found: Mapping[str, tuple[int, ...]]) -> bool:
    return name.startswith("head.") and name in found and found[name] != shape


def _read_safetensors(file: Path) -> tuple[dict[str, Tensor], tuple[AnySpec | None, StatedSettings | None]]:
    try:
        with safe_open(file, framework="pt") as reader:
            metadata = reader.metadata() or {}
            state_dict = {name: reader.get_tensor(name) for name in reader.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{file} is not a whole safetensors file: {error}", hint="fetch the file again"
        ) from error
    return state_dict, _settings_in(metadata, file)


def spec_of(path: str | os.PathLike[str]) -> AnySpec | None:
    """The spec that a `.safetensors` file carries, without its weights; None if it has none, or is another file.

    Raises:
        CheckpointError: The spec is damaged.
    """
    return settings_of(path)[0]


def settings_of(path: str | os.PathLike[str]) -> tuple[AnySpec | None, StatedSettings | None]:
    """The spec as for `spec_of`, and what the file that the weights come from states of itself.

    Raises:
        CheckpointError: One of them is damaged.
    """
    try:
        with safe_open(path, framework="pt") as reader:
            metadata = reader.metadata() or {}
    except (SafetensorError, OSError):
        return None, None
    return _settings_in(metadata, Path(path))


def _settings_in(metadata: Mapping[str, str], file: Path) -> tuple[AnySpec | None, StatedSettings | None]:
    if SPEC_KEY not in metadata:
        return None, None
    try:
        if len(metadata[SPEC_KEY]) > MOST_SPEC_CHARACTERS:
            raise SpecError(f"it is larger than {MOST_SPEC_CHARACTERS:,} characters")
        values = parse_json(metadata[SPEC_KEY])
        stated = values.pop(STATED_KEY, None) if isinstance(values, dict) else None
        return any_spec_from_dict(values), None if stated is None else settings_kept(stated, file=file)
    except (ValueError, SpecError) as error:
        raise CheckpointError(f"{file} carries a damaged model specification: {error}") from error


def _read_pickle(file: Path) -> tuple[dict[str, Tensor], StatedSettings | None]:
    try:
        content = load_torch_file(file)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{file} is not a plain weights file, or is damaged: {_first_line(error)}",
            hint="it was not opened further, since a pickle can run code; fetch it again from its source",
        ) from error
    except Exception as error:  # bytes from anywhere make the unpickler fail in any way
        raise CheckpointError(
            f"{file} is damaged or cut short: {_first_line(error)}", hint="fetch the file again"
        ) from error
    return _state_dict(content, file)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _state_dict(content: Any, file: Path) -> tuple[dict[str, Tensor], StatedSettings | None]:
    stated = None
    if isinstance(content, Mapping):
        for key in STATE_KEYS:
            if isinstance(content.get(key), Mapping):
                if content.get(CFG) is not None:
                    stated = settings_in_cfg(content[CFG], file=file)
                content = content[key]
                break
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(f"{file} holds no weights by name")
    others = [in_one_line(str(name)) for name, value in content.items() if not isinstance(value, Tensor)]
    if others:
        raise CheckpointError(f"{file} holds values that are no weights: {', '.join(others[:5])}")
    return {str(name).removeprefix("module."): tensor for name, tensor in content.items()}, stated
