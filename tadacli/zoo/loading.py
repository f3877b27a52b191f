"""Models ready to use: a spec, its network and its weights on a device."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar, get_args

import torch
from torch import nn

from tadacli.errors import CheckpointError, SpecError, UsageError
from tadacli.models import BUILDERS, OVER_FEATURES
from tadacli.models.inference import fuse
from tadacli.models.replaying import ReplayedNetwork
from tadacli.runtimes import is_exported_file
from tadacli.specs import AnySpec, HeadSpec, ModelSpec, ProposalSpec
from tadacli.strict_tables import refusing
from tadacli.zoo import DEFAULT_MODEL, DEVICE_NAMES, DtypeName, Trust
from tadacli.zoo.checkpoints import Checkpoint, empty_network, load_weights, read_checkpoint, settings_of, spec_of
from tadacli.zoo.class_names import with_labels
from tadacli.zoo.completing import Completed, by_itself, check_same_network, complete, with_fitted
from tadacli.zoo.dtype import choose_dtype
from tadacli.zoo.exported import exported_model
from tadacli.zoo.hub import is_hub_folder, read_described
from tadacli.zoo.loaded import HeadModel as HeadModel
from tadacli.zoo.loaded import Model as Model
from tadacli.zoo.loaded import ProposalModel as ProposalModel
from tadacli.zoo.loaded import Trained as Trained
from tadacli.zoo.manifest import Known, ModelCard, cards, manifest
from tadacli.zoo.offers import not_here
from tadacli.zoo.stated import NOTHING_DECIDED, Decided
from tadacli.zoo.store import stored

MODEL_FILE = "model.safetensors"  # in the folder of a fine-tuning run
TRUNK_FILE = "trunk.safetensors"  # beside a head: the model that makes its features
Spec = TypeVar("Spec", ModelSpec, ProposalSpec, HeadSpec)
DTYPES: Mapping[str, torch.dtype] = {name: getattr(torch, name) for name in get_args(DtypeName)}


def load_model(
    name_or_path: str | os.PathLike[str] | None = None,
    *,
    weights: str | os.PathLike[str] | None = None,
    trust: Trust | None = None,
    labels: Sequence[str] = (),
    device: str = "auto",
    dtype: str = "float32",
) -> Model:
    """A model with its weights, ready to use: its network is in the form for inference, see `models.inference.fuse`.

    Args:
        name_or_path: A known name, the path of a weights file that says what model it is for (one of our own, or one
            of the authors' training code), of an exported file (.onnx, .pt2), or the folder of a fine-tuning run or of
            a model of the hub; by default `weights`, or else the built-in model.
        weights: A file for a known name, in the published layout (`.pyth`, `.pth`, `.pt`) or our own; without it, the
            weights are those that ship with the package or that were fetched. The temperatures and thresholds of a
            file of our own are the model's; one that was trained on clips of another kind than the known model's is
            refused.
        trust: Whose settings to take where `weights` states others than are known of the model: "manifest" or "file";
            None to refuse that.
        labels: Names for classes that nobody has named, in their order.
        device: "auto" (CUDA, else Apple's MPS, else CPU), "gpu" (the same without the CPU) or a torch device.
        dtype: "float32", "bfloat16" or "float16" for weights and inputs (scores are always computed in float32), or
            "auto" for what `choose_dtype` finds.

    Returns:
        The model.

    Raises:
        SpecError: The model is unknown, cannot be used yet, or takes features (see `load_proposal_model`).
        UndecidedError: A setting is not known, or the file states another one.
        CheckpointError: The weights are missing or do not fit.
        UsageError: The device or the dtype is unknown, or the classes have names or are not as many as the labels.

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
    file = name_or_path if weights is None else None
    if file is None and name_or_path is None:
        file = weights
    if file is not None and is_exported_file(file):
        return exported_model(Path(file), target, may_choose=device == "auto", dtype=dtype, labels=labels)
    found = load_trained(name_or_path, weights=weights, trust=trust, labels=labels)
    network, notes = fuse(found.network).to(target), found.notes
    if dtype == "auto":
        choice = choose_dtype(network, found.spec, target)
        dtype, notes = choice.dtype, (*notes, str(choice))
    return Model(
        spec=found.spec,
        network=network_on(network, target, DTYPES[dtype]),
        device=target,
        dtype=DTYPES[dtype],
        weights_path=found.path,
        weights_sha256=found.sha256,
        notes=notes,
    )


def load_trained(
    name_or_path: str | os.PathLike[str] | None = None,
    *,
    weights: str | os.PathLike[str] | None = None,
    trust: Trust | None = None,
    labels: Sequence[str] = (),
) -> Trained:
    """A model with its weights as it was trained, in no form of its own for this machine.

    Args:
        name_or_path: As for `load_model`.
        weights: As for `load_model`.
        trust: As for `load_model`.
        labels: As for `load_model`.

    Returns:
        The model on the CPU.

    Raises:
        TadaError: As `load_model`.
    """
    completed, checkpoint = _find(name_or_path, weights, ModelSpec, Decided(trust, labels=tuple(labels)))
    spec = _of_kind(completed.spec, ModelSpec)
    if weights is not None:
        spec = with_fitted(spec, checkpoint)
    return Trained(spec, _with_weights(spec, checkpoint), checkpoint.path, checkpoint.sha256, completed.notes)


def network_on(network: nn.Module, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """A network in its form for inference as it runs on a device: on a GPU its work is replayed.

    Args:
        network: The network, which is moved.
        device: The device.
        dtype: The type of its weights and inputs.

    Returns:
        The network, or a `ReplayedNetwork` of it.
    """
    moved = network.to(device, dtype)
    return ReplayedNetwork(moved) if device.type == "cuda" else moved


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
    completed, checkpoint = _read_own_file(os.fspath(path), HeadSpec)
    spec = _of_kind(completed.spec, HeadSpec)
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
    completed, checkpoint = _find(name_or_path, weights, ProposalSpec)
    spec = _of_kind(completed.spec, ProposalSpec)
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
    """The torch device of a name; "auto" is the best one this machine has, "gpu" the same, but never the CPU.

    Raises:
        UsageError: There is none of this name, or it cannot be used here.
    """
    if device in ("auto", "gpu"):
        if torch.cuda.is_available():
            return torch.device("cuda")
        if torch.backends.mps.is_available():
            return torch.device("mps")
        if device == "gpu":
            raise UsageError("PyTorch finds no GPU here", hint="use --device cpu or auto; tada doctor says more")
        return torch.device("cpu")
    try:
        target = torch.device(device)
    except RuntimeError as error:
        raise UsageError(f"there is no device {device!r}", hint=f"use --device {DEVICE_NAMES}") from error
    try:
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
    card = _built_card(name)
    kept = stored(name)
    if kept is not None:
        inside, stated = settings_of(kept.path)
        if inside is not None and (card.spec is None or (stated is not None and stated.is_trusted)):
            return inside
    if card.spec is None:
        raise SpecError(
            f"{name} cannot be used yet: its settings come with its file, which is not on this machine",
            hint=not_here(card).hint,
        )
    return card.spec


def _built_card(name: str) -> ModelCard:
    card = cards().get(name)
    if card is None:
        raise SpecError(f"unknown model {name!r}", hint=_known_models(name))
    if obstacles := card.obstacles({*BUILDERS, *OVER_FEATURES}):
        raise SpecError(
            f"{name} cannot be used yet: {'; '.join(obstacles)}",
            hint=f"tada models {name} shows what is known about it",
        )
    return card


def find_known(name: str) -> Known:
    """What is known of a model that this version can build: its spec, or its card where not all is known here.

    Raises:
        SpecError: It is unknown, or its network is not built into this version.
    """
    card = _built_card(name)
    return card.spec or card


def find_model(
    name: str, *, weights: str | os.PathLike[str] | None = None, decided: Decided = NOTHING_DECIDED
) -> tuple[Completed, Checkpoint]:
    """The settings and weights of a known model, whatever it takes.

    Args:
        name: Its name.
        weights: As for `load_model`.
        decided: What a person says of its settings.

    Returns:
        What is known of it, with what its file states of itself; and the weights.

    Raises:
        SpecError: It is unknown, or cannot be used yet.
        UndecidedError: A setting is not known, or the file states another one.
        CheckpointError: The weights are missing, cannot be read, or are of another model.
    """
    card = _built_card(name)
    if weights is None:
        checkpoint = find_checkpoint(name, find_any_spec(name))
    else:
        checkpoint = read_described(weights, of_hub=bool(card.source.configuration))
    completed = complete(card, checkpoint, decided=decided)
    check_same_network(completed.spec, checkpoint, are_renamed=bool(decided.labels))
    return completed, checkpoint


def find_checkpoint(name: str, spec: AnySpec) -> Checkpoint:
    """The weights of a known model: those that ship with the package or that were fetched.

    Raises:
        CheckpointError: They are not on this machine, cannot be read, or are of another model.
    """
    if spec.source.file:
        return read_checkpoint(builtin_weights(spec.source.file))
    kept = stored(name)
    if kept is None:
        raise not_here(cards()[name])
    checkpoint = read_checkpoint(kept.path)
    check_same_network(spec, checkpoint)
    return checkpoint


def read_own_file(path: str) -> tuple[ModelSpec, Checkpoint]:
    """The spec and weights in a weights file that says what model it is for, or in the folder of a run or of the hub.

    Raises:
        SpecError: There is no such file or folder, or it holds a model that takes features.
        CheckpointError: The file cannot be read, or does not say what model it is for.
    """
    completed, checkpoint = _read_own_file(path, ModelSpec)
    return _of_kind(completed.spec, ModelSpec), checkpoint


def _read_own_file(path: str, kind: type[Spec], labels: Sequence[str] = ()) -> tuple[Completed, Checkpoint]:
    file = Path(path) / MODEL_FILE if Path(path).is_dir() else Path(path)
    if not file.is_file() and not is_hub_folder(path):
        if Path(path).is_dir():
            raise SpecError(f"{path} has no {MODEL_FILE}", hint="give the folder of a run of tada finetune")
        raise SpecError(f"unknown model {path!r}", hint=f"{_known_models(path)}; or give a weights file")
    checkpoint = read_checkpoint(file) if file.is_file() else read_described(path)
    if checkpoint.spec is None:
        completed = by_itself(checkpoint, labels=labels)
    else:
        completed = Completed(with_labels(checkpoint.spec, labels))
    _of_kind(completed.spec, kind)
    return completed, checkpoint


def _find(
    name_or_path: str | os.PathLike[str] | None,
    weights: str | os.PathLike[str] | None,
    kind: type[Spec],
    decided: Decided = NOTHING_DECIDED,
) -> tuple[Completed, Checkpoint]:
    if name_or_path is None:
        name_or_path, weights = (DEFAULT_MODEL if weights is None else weights), None
    name = os.fspath(name_or_path)
    if name not in cards():
        if weights is not None:
            raise SpecError(f"unknown model {name!r}", hint=f"{_known_models(name)}; or give a weights file")
        return _read_own_file(name, kind, decided.labels)
    known = cards()[name].spec
    if known is not None:
        _of_kind(known, kind)  # before a file is looked for
    return find_model(name, weights=weights, decided=decided)


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
        init = "clip" if name.startswith("tadaformer") else "imagenet"
        return f"it is a network without weights; tada finetune --model {name} --init {init} (or random) trains one"
    close = difflib.get_close_matches(name, cards(), n=1, cutoff=0.5)
    meant = f"did you mean {close[0]}? " if close else ""
    return f"{meant}known models: {', '.join(usable_models())}; tada models lists the others"
