"""Models ready to use: a spec, its network and its weights on a device."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar, get_args

import torch
from torch import nn

from tadacli.errors import CheckpointError, SpecError, UsageError
from tadacli.models import BUILDERS, OVER_FEATURES
from tadacli.models.inference import fuse
from tadacli.specs import AnySpec, HeadSpec, ModelSpec, ProposalSpec
from tadacli.strict_tables import refusing
from tadacli.zoo import DEFAULT_MODEL, DtypeName
from tadacli.zoo.checkpoints import Checkpoint, empty_network, load_weights, read_checkpoint, spec_of
from tadacli.zoo.dtype import choose_dtype
from tadacli.zoo.manifest import cards, manifest
from tadacli.zoo.offers import not_here
from tadacli.zoo.store import stored

MODEL_FILE = "model.safetensors"  # in the folder of a fine-tuning run
TRUNK_FILE = "trunk.safetensors"  # beside a head: the model that makes its features
Spec = TypeVar("Spec", ModelSpec, ProposalSpec, HeadSpec)
DTYPES: Mapping[str, torch.dtype] = {name: getattr(torch, name) for name in get_args(DtypeName)}


@dataclass(frozen=True)
class Model:
    """A network in its form for inference on its device, with the spec and the hash of its weights file.

    `notes` are what the person who asked for the model should know, such as the dtype that "auto" came to.
    """

    spec: ModelSpec
    network: nn.Module
    device: torch.device
    dtype: torch.dtype
    weights_path: Path
    weights_sha256: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ProposalModel:
    """A network over features on its device, in evaluation mode, with its spec and the hash of its weights file."""

    spec: ProposalSpec
    network: nn.Module
    device: torch.device
    dtype: torch.dtype
    weights_path: Path
    weights_sha256: str


def load_model(
    name_or_path: str | os.PathLike[str] = DEFAULT_MODEL,
    *,
    weights: str | os.PathLike[str] | None = None,
    device: str = "auto",
    dtype: str = "float32",
) -> Model:
    """A model with its weights, ready to use: its network is in the form for inference, see `models.inference.fuse`.

    Args:
        name_or_path: A known name, the path of one of our own weights files, or the folder of a fine-tuning run.
        weights: A file for a known name, in the published layout (`.pyth`, `.pth`, `.pt`) or our own; without it, the
            weights are those that ship with the package or that were fetched. The temperatures and thresholds of a
            file of our own are the model's; one that was trained on clips of another kind than the known model's is
            refused.
        device: "auto" (CUDA, else Apple's MPS, else CPU) or a torch device.
        dtype: "float32", "bfloat16" or "float16" for weights and inputs (scores are always computed in float32), or
            "auto" for what `choose_dtype` finds.

    Returns:
        The model.

    Raises:
        SpecError: The model is unknown, cannot be used yet, or takes features (see `load_proposal_model`).
        CheckpointError: The weights are missing or do not fit.
        UsageError: The device or the dtype is unknown.

    Example:
        >>> import tadacli
        >>> model = tadacli.load_model(device="cpu")  # the built-in one
        >>> model.spec.name, model.spec.input.clip_frames
        ('r2plus1d_tiny.camera_motion', 8)
        >>> model.spec.heads[""][:3]
        ('static', 'pan left', 'pan right')
    """
    target = resolve_device(device)
    if dtype not in ("auto", *DTYPES):
        raise UsageError(f"unknown dtype {dtype!r}", hint=f"choose one of auto, {', '.join(DTYPES)}")
    spec, checkpoint = _find(name_or_path, weights, ModelSpec)
    if weights is not None:
        spec = _with_fitted(spec, checkpoint)
    network = fuse(_with_weights(spec, checkpoint)).to(target)
    notes: tuple[str, ...] = ()
    if dtype == "auto":
        choice = choose_dtype(network, spec, target)
        dtype, notes = choice.dtype, (str(choice),)
    return Model(
        spec=spec,
        network=network.to(DTYPES[dtype]),
        device=target,
        dtype=DTYPES[dtype],
        weights_path=checkpoint.path,
        weights_sha256=checkpoint.sha256,
        notes=notes,
    )


@dataclass(frozen=True)
class HeadModel:
    """A head over features on its device, in evaluation mode, with its spec and the hash of its weights file.

    `trunk` is the file of the model that makes the features, None where it is not kept with the head.
    """

    spec: HeadSpec
    network: nn.Module
    device: torch.device
    dtype: torch.dtype
    weights_path: Path
    weights_sha256: str
    trunk: Path | None


def is_head(path: str | os.PathLike[str]) -> bool:
    """Whether a path is that of a head over features: the folder of a run that trained one, or its weights file."""
    file = Path(path) / MODEL_FILE if Path(path).is_dir() else Path(path)
    return file.is_file() and isinstance(spec_of(file), HeadSpec)


def load_head_model(path: str | os.PathLike[str], *, device: str = "auto") -> HeadModel:
    """A head with its weights, in float32.

    Args:
        path: The folder of a run that trained it, or its weights file.
        device: "auto" or a torch device, as for `load_model`.

    Returns:
        The head.

    Raises:
        SpecError: There is no such file, or it holds another kind of model.
        CheckpointError: The weights are damaged or do not fit.
        UsageError: The device is unknown.
    """
    target = resolve_device(device)
    spec, checkpoint = _read_own_file(os.fspath(path), HeadSpec)
    network = _with_weights(spec, checkpoint)
    trunk = checkpoint.path.with_name(TRUNK_FILE)
    return HeadModel(
        spec=spec,
        network=network.to(target),
        device=target,
        dtype=torch.float32,
        weights_path=checkpoint.path,
        weights_sha256=checkpoint.sha256,
        trunk=trunk if trunk.is_file() else None,
    )


def load_proposal_model(
    name_or_path: str | os.PathLike[str],
    *,
    weights: str | os.PathLike[str] | None = None,
    device: str = "auto",
) -> ProposalModel:
    """A model that proposes spans from features, with its weights, in float32.

    Args:
        name_or_path: A known name such as `bmn.ek100_tada2d`, or the path of a weights file of our own.
        weights: A file for a known name, in the published layout or our own; by default those that were fetched.
        device: "auto" or a torch device, as for `load_model`.

    Returns:
        The model. What its network takes and returns is said at its class, for `bmn` that is `models.bmn.BMN`.

    Raises:
        SpecError: The model is unknown, or takes video (see `load_model`).
        CheckpointError: The weights are missing or do not fit.
        UsageError: The device is unknown.
    """
    target = resolve_device(device)
    spec, checkpoint = _find(name_or_path, weights, ProposalSpec)
    network = _with_weights(spec, checkpoint)
    return ProposalModel(
        spec=spec,
        network=network.to(target),
        device=target,
        dtype=torch.float32,
        weights_path=checkpoint.path,
        weights_sha256=checkpoint.sha256,
    )


def _with_weights(spec: AnySpec, checkpoint: Checkpoint) -> nn.Module:
    """The network of a model, for inference. Raises `CheckpointError` for weights that do not fit."""
    with refusing(checkpoint.path, CheckpointError):
        network = empty_network(spec)
        load_weights(network, checkpoint)
    return network.eval()


def resolve_device(device: str) -> torch.device:
    """The torch device of a name; "auto" is the best one this machine has.

    Raises:
        UsageError: It cannot be used here.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        target = torch.device(device)
        torch.empty(1, device=target)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"device {device!r} cannot be used: {reason}", hint="use --device cpu or auto") from error
    return target


def builtin_weights(file_name: str) -> Path:
    """Path of a weights file that ships with the package, in an installation or in a checkout.

    Raises:
        CheckpointError: It is missing.
    """
    package = Path(__file__).parents[1]
    for folder in (package / "weights", package.parent / "weights"):
        if (folder / file_name).is_file():
            return folder / file_name
    raise CheckpointError(
        f"the built-in weights {file_name} are missing from this installation",
        hint="install the package again, or run make weights in a checkout",
    )


def usable_models() -> dict[str, ModelSpec]:
    """The known models whose network is built and whose settings are complete, by name."""
    return {name: spec for name, spec in manifest().items() if spec.architecture in BUILDERS}


def find_spec(name: str) -> ModelSpec:
    """The spec of a known model that takes video.

    Raises:
        SpecError: It is unknown, takes features, or cannot be used yet: then with the reasons.
    """
    return _of_kind(find_any_spec(name), ModelSpec)


def find_any_spec(name: str) -> AnySpec:
    """The spec of a known model, whatever it takes. Raises `SpecError`: It is unknown, or cannot be used yet."""
    card = cards().get(name)
    if card is None:
        raise SpecError(f"unknown model {name!r}", hint=_known_models(name))
    obstacles = card.obstacles({*BUILDERS, *OVER_FEATURES})
    if obstacles or card.spec is None:
        raise SpecError(
            f"{name} cannot be used yet: {'; '.join(obstacles)}",
            hint=f"tada models {name} shows what is known about it",
        )
    return card.spec


def find_checkpoint(name: str, spec: AnySpec, weights: str | os.PathLike[str] | None = None) -> Checkpoint:
    """The weights of a known model: of `weights`, or those that ship with the package or that were fetched.

    Raises:
        CheckpointError: They are not on this machine, cannot be read, or are of another model.
    """
    if weights is not None:
        checkpoint = read_checkpoint(weights)
    elif spec.source.file:
        return read_checkpoint(builtin_weights(spec.source.file))
    elif (kept := stored(name)) is not None:
        checkpoint = read_checkpoint(kept.path)
    else:
        raise not_here(cards()[name])
    _check_same_network(spec, checkpoint)
    return checkpoint


def read_own_file(path: str) -> tuple[ModelSpec, Checkpoint]:
    """The spec and weights in one of our own weights files, or in the folder of a fine-tuning run.

    Raises:
        SpecError: There is no such file or folder, or it holds a model that takes features.
        CheckpointError: The file cannot be read, or does not say what model it is for.
    """
    return _read_own_file(path, ModelSpec)


def _read_own_file(path: str, kind: type[Spec]) -> tuple[Spec, Checkpoint]:
    file = Path(path) / MODEL_FILE if Path(path).is_dir() else Path(path)
    if not file.is_file():
        if Path(path).is_dir():
            raise SpecError(f"{path} has no {MODEL_FILE}", hint="give the folder of a run of tada finetune")
        raise SpecError(f"unknown model {path!r}", hint=f"{_known_models(path)}; or give a .safetensors file")
    checkpoint = read_checkpoint(file)
    if checkpoint.spec is None:
        raise CheckpointError(
            f"{path} does not say what model it is for", hint=f"name it: --model NAME --weights {path}"
        )
    return _of_kind(checkpoint.spec, kind), checkpoint


def _find(
    name_or_path: str | os.PathLike[str], weights: str | os.PathLike[str] | None, kind: type[Spec]
) -> tuple[Spec, Checkpoint]:
    name = os.fspath(name_or_path)
    if name in cards():
        spec = _of_kind(find_any_spec(name), kind)
        return spec, find_checkpoint(name, spec, weights)
    if weights is not None:
        raise SpecError(f"unknown model {name!r}", hint=f"{_known_models(name)}; or give a .safetensors file")
    return _read_own_file(name, kind)


def _of_kind(spec: AnySpec, kind: type[Spec]) -> Spec:
    """The spec, of what takes video or features as asked. Raises `SpecError` for the other kind."""
    if isinstance(spec, kind):
        return spec
    if isinstance(spec, ModelSpec):
        known = ", ".join(name for name, card in cards().items() if card.takes_features)
        raise SpecError(
            f"{spec.name} takes video, not features",
            hint=f"these take features: {known}; or a run of tada finetune --task detection",
        )
    if isinstance(spec, HeadSpec):
        raise SpecError(
            f"{spec.name} is a head that finds segments, and classifies no video", hint="use it with tada detect"
        )
    raise SpecError(
        f"{spec.name} takes features, not video",
        hint=f"tada detect --features FOLDER --model {spec.name} takes published feature folders, as tada models "
        f"{spec.name} says; for video choose another model",
    )


def _known_models(name: str) -> str:
    if name in BUILDERS:
        return f"it is a network without weights; tada finetune --model {name} --init imagenet (or random) trains one"
    close = difflib.get_close_matches(name, cards(), n=1, cutoff=0.5)
    meant = f"did you mean {close[0]}? " if close else ""
    return f"{meant}known models: {', '.join(usable_models())}; tada models lists the others"


def _check_same_network(spec: AnySpec, checkpoint: Checkpoint) -> None:
    inside = checkpoint.spec
    if inside is not None and (inside.architecture, inside.heads) != (spec.architecture, spec.heads):
        raise CheckpointError(
            f"{checkpoint.path} holds {inside.name}, not {spec.name}", hint=f"use --model {checkpoint.path}"
        )


def _with_fitted(spec: ModelSpec, checkpoint: Checkpoint) -> ModelSpec:
    """The spec with what was fitted to the weights of a file of our own, if it is one."""
    inside = checkpoint.spec
    if not isinstance(inside, ModelSpec):
        return spec
    for what, own, known in (
        ("clips", vars(inside.input), vars(spec.input)),
        ("network", dict(inside.arguments), dict(spec.arguments)),
    ):
        keys = sorted({key for key in (*own, *known) if own.get(key) != known.get(key)})
        if keys:
            differing = ", ".join(f"{key} {own.get(key)}, not {known.get(key)}" for key in keys)
            raise CheckpointError(
                f"{checkpoint.path} was trained with other settings of the {what} than {spec.name} has: {differing}",
                hint=f"use --model {checkpoint.path}, which has its own settings",
            )
    return replace(
        spec,
        temperatures=inside.temperatures,
        thresholds=inside.thresholds,
        segment_thresholds=inside.segment_thresholds,
        segment_low_share=inside.segment_low_share,
    )
