"""Where fine-tuning starts from: the trunk of a trained model, of an image network, or random numbers; and a new head.

Classes that the trained model knows by the same name keep their rows of its head; the others start at random.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from tadacli.errors import CheckpointError, FetchError, OutputError, SpecError, UsageError
from tadacli.models import BUILDERS, build
from tadacli.specs import LOW_SHARE, EvalProtocol, InputSpec, ModelSpec, WeightsSource
from tadacli.training import Init
from tadacli.zoo import Trust
from tadacli.zoo.checkpoints import Checkpoint, empty_network
from tadacli.zoo.fetching import fetch, fetch_file
from tadacli.zoo.image_weights import IMAGE_KINDS, IMAGE_WEIGHTS, ImageWeights, earlier_file, read_image_weights
from tadacli.zoo.loading import find_checkpoint, find_model, find_spec, read_own_file
from tadacli.zoo.manifest import cards
from tadacli.zoo.stated import Decided
from tadacli.zoo.store import StoredWeights, stored

# Counts of batch norms, which nothing is computed from; some image networks come without them.
_COUNTS = ".num_batches_tracked"


# The input of the published 8x8 models: 8 frames, every eighth of 30 in a second.
_PLAIN_INPUT = InputSpec("interval", 8, 8, 30.0, 256, 256, (0.45,) * 3, (0.225,) * 3)
# The input of the published TAdaFormers: 16 frames over the whole video, with the size, mean and deviation of CLIP.
_CLIP_INPUT = InputSpec(
    "segment",
    16,
    1,
    30.0,
    224,
    224,
    (0.48145466, 0.4578275, 0.40821073),
    (0.26862954, 0.26130258, 0.27577711),
)


@dataclass(frozen=True)
class HeadChange:
    """Classes of a head that are kept from the trained model, are new, or are gone, by name."""

    kept: tuple[str, ...]
    new: tuple[str, ...]
    gone: tuple[str, ...]


@dataclass(frozen=True)
class StartingPoint:
    """A network to train, in float32 on the CPU, and the spec it will have.

    `origin` says in words what the weights are of, `weights_sha256` is the hash of their file, "" for random ones.
    `heads` tells by head what became of the classes. `fresh` are the names of trunk weights that the origin lacks, so
    that they are as initialised (routing functions, for an image network).
    """

    spec: ModelSpec
    network: nn.Module
    origin: str
    weights_sha256: str
    heads: Mapping[str, HeadChange]
    fresh: tuple[str, ...] = ()


def base_spec(
    name_or_path: str | os.PathLike[str],
    weights: str | os.PathLike[str] | None = None,
    trust: Trust | None = None,
) -> tuple[ModelSpec, Checkpoint | None]:
    """The spec to start from: of a known model, or of a file or folder that says what it is (then with its weights).

    A known model has those of `weights`, if that is given, which may state some of its settings; `trust` is as for
    `load_model`.

    The bare name of a network stands for it without weights, on clips like those of the published 8x8 models, or, of
    one that starts from CLIP, on clips as CLIP sees pictures.
    """
    name = os.fspath(name_or_path)
    if name in cards() and weights is not None:
        completed, checkpoint = find_model(name, weights=weights, decided=Decided(trust))
        if isinstance(completed.spec, ModelSpec):
            return completed.spec, checkpoint
    if name in cards():
        return find_spec(name), None
    if name in BUILDERS:
        clips = _CLIP_INPUT if name.startswith("tadaformer") else _PLAIN_INPUT
        return ModelSpec(name, name, "action", "", clips, {"": ()}, EvalProtocol(10, 3)), None
    return read_own_file(name)


def starting_point(
    name_or_path: str | os.PathLike[str],
    *,
    heads: Mapping[str, tuple[str, ...]],
    name: str,
    dataset: str,
    weights: str | os.PathLike[str] | None = None,
    trust: Trust | None = None,
    init: Init = "weights",
    clip: Mapping[str, Any] | None = None,
    arguments: Mapping[str, Any] | None = None,
    seed: int = 0,
    background: str = "",
    multi_label: bool = False,
) -> StartingPoint:
    """The network of a model with new heads, its trunk from the model's weights. Random numbers come from `seed`.

    Args:
        name_or_path: The name of a known model or network, a weights file of our own, or a run's folder.
        heads: The new class names by head.
        name: Of the new model, which becomes `architecture.name`.
        dataset: The name of the data, for the new spec.
        weights: A file of weights for a known model, or of an image network for `init="imagenet"` and "clip".
        trust: Whose settings to take where `weights` states others than are known of the model, as for `load_model`.
        init: "weights": those of the model; "imagenet" and "clip": those of an image network, `weights` or else those
            in the store, downloaded if they are not there; "random".
        clip: Fields of the model's `InputSpec` to replace.
        arguments: Further ones of the network's builder for training (dropout, drop_path).
        seed: Of the new head, and of all that starts at random.
        background: The class that says that none of the others is shown, if there is one.
        multi_label: Whether several classes may hold at a time.

    Returns:
        The network in float32 on the CPU, its spec, and what became of the classes.

    Raises:
        SpecError: The model is not known, or its network does not take an argument.
        UndecidedError: A setting is not known, or the file states another one.
        CheckpointError: Weights are missing or do not fit.
        UsageError: Options contradict each other, or clips cannot be like this.
    """
    if trust is not None and (init != "weights" or weights is None):
        raise UsageError("trust is about the settings in weights, and none are given", hint="leave out --trust")
    base, own = base_spec(name_or_path, weights if init == "weights" else None, trust)
    if init == "random" and weights is not None:
        raise UsageError("random initial weights need no file", hint="leave out --weights, or --init random")
    if init == "weights" and own is not None and weights is not None and os.fspath(name_or_path) not in cards():
        raise UsageError(
            f"{os.fspath(name_or_path)} holds weights of its own, and --weights names others",
            hint="leave out --weights, or give the name of a known model",
        )
    spec = replace(
        base,
        name=f"{base.architecture}.{name}",
        dataset=dataset,
        task=base.task if dict(base.heads) == dict(heads) else "action",
        heads=dict(heads),
        input=_changed(base.input, clip or {}),
        published={},
        source=WeightsSource(),
        note="",
        temperatures={},
        thresholds={},
        segment_thresholds={},
        segment_low_share=LOW_SHARE,
        background=background,
        exclusive_labels=False,  # which nobody says of the new labels
        multi_label=multi_label,
    )
    if init == "weights" and not any(base.heads.values()):
        raise UsageError(
            f"{base.name} is a network without weights",
            hint="add --init imagenet, --init clip (TAdaFormer) or --init random, or name a model",
        )
    network = fresh_network(spec, arguments=arguments, seed=seed)
    if init == "random":
        return StartingPoint(spec, network, "random weights", "", _all_new(heads))
    if init in IMAGE_KINDS:
        state, origin, sha256 = _image_weights(network, init, weights)
        fresh = _load_trunk(network, state, origin, may_lack=(*getattr(network, "NOT_OF_IMAGES", ()), _COUNTS))
        return StartingPoint(spec, network, origin, sha256, _all_new(heads), fresh)
    checkpoint = own or find_checkpoint(os.fspath(name_or_path), base)
    _load_trunk(network, checkpoint.state_dict, f"{checkpoint.path}", may_lack=())
    changes = _move_heads(network, checkpoint, base.heads, heads)
    return StartingPoint(spec, network, base.name, checkpoint.sha256, changes)


def fresh_network(spec: ModelSpec, *, arguments: Mapping[str, Any] | None = None, seed: int = 0) -> nn.Module:
    """The network of a spec as initialised, with further arguments of its builder."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(spec.architecture, num_classes=spec.num_classes, **{**spec.arguments, **(arguments or {})})


def _changed(clips: InputSpec, changes: Mapping[str, Any]) -> InputSpec:
    crop, short = (changes.get(key, getattr(clips, key)) for key in ("crop_size", "short_side"))
    if crop > short:
        raise UsageError(
            f"a crop of {crop} does not fit into frames with a short side of {short}",
            hint="give both --short-side and --crop-size",
        )
    try:
        return replace(clips, **changes)
    except ValueError as error:
        hint = "frames, stride and sizes are above zero"
        raise UsageError(f"clips cannot be like this: {dict(changes)}: {error}", hint=hint) from error


# --- the trunk ----------------------------------------------------------------------------------------------


def _load_trunk(
    network: nn.Module, state: Mapping[str, Tensor], origin: str, *, may_lack: Sequence[str]
) -> tuple[str, ...]:
    """Puts everything but the head in; returns the names that were not there."""
    own = {name: tensor for name, tensor in network.state_dict().items() if not name.startswith("head.")}
    found = {name: tensor for name, tensor in state.items() if not name.startswith("head.")}
    lacking = tuple(name for name in own if name not in found)
    problems = [f"unexpected {name}" for name in found if name not in own]
    problems += [f"missing {name}" for name in lacking if not any(part in name for part in may_lack)]
    problems += [
        f"{name} is {list(found[name].shape)} instead of {list(own[name].shape)}"
        for name in own
        if name in found and found[name].shape != own[name].shape
    ]
    if problems:
        raise CheckpointError(
            f"{origin} does not fit the network; {len(problems)} weights disagree: {'; '.join(problems[:10])}",
            hint="choose the --model that these weights are of",
        )
    bad = [name for name, tensor in found.items() if not bool(tensor.isfinite().all())]
    if bad:
        raise CheckpointError(f"{origin} holds values that are not numbers, in {', '.join(bad[:10])}")
    network.load_state_dict(dict(found), strict=False)
    return lacking


def image_weights_for(name_or_path: str | os.PathLike[str], *, init: Init) -> ImageWeights:
    """The published image weights that a model starts from; nothing is downloaded.

    Args:
        name_or_path: As for `starting_point`.
        init: "imagenet" or "clip".

    Returns:
        What they are, and where.

    Raises:
        SpecError: The model is not known, or no such weights fit its network.
    """
    spec, _ = base_spec(name_or_path)
    return _published_weights(empty_network(replace(spec, heads={"": ("",)})), init)


def _published_weights(network: nn.Module, init: Init) -> ImageWeights:
    _require_kind(network, init)
    name = getattr(network, "IMAGE_WEIGHTS", "")
    if name not in IMAGE_WEIGHTS:
        raise SpecError(
            f"no published {IMAGE_KINDS[init]} weights fit this {type(network).__name__}",
            hint="give a file of them with --weights FILE, or use --init random",
        )
    return IMAGE_WEIGHTS[name]


def _require_kind(network: nn.Module, init: Init) -> None:
    """Raises `SpecError` for a network that does not start from weights of this kind."""
    kind = getattr(network, "IMAGE_KIND", "")
    if kind != init:
        others = f"--init {kind}, " if kind else ""
        raise SpecError(
            f"{type(network).__name__} has no image network of {IMAGE_KINDS[init]} to start from",
            hint=f"use {others}--init weights or --init random",
        )


def _image_weights(
    network: nn.Module, init: Init, weights: str | os.PathLike[str] | None
) -> tuple[dict[str, Tensor], str, str]:
    """Trunk weights made from those of an image network, what they are, and the hash of their published file."""
    _require_kind(network, init)
    if weights is not None:
        checkpoint = read_image_weights(weights)
        file, sha256 = checkpoint.path.name, checkpoint.sha256
    else:
        known = _published_weights(network, init)
        kept = _stored(known)
        checkpoint = read_image_weights(kept.path)
        file, sha256 = known.file, kept.original_sha256
    convert: Callable[[Mapping[str, Tensor]], dict[str, Tensor]] = getattr(network, "from_image_weights")  # noqa: B009
    try:
        converted = convert(checkpoint.state_dict)
    except (KeyError, ValueError) as error:
        belongs = getattr(network, "IMAGE_WEIGHTS", "") or "a network of the same layers"
        raise CheckpointError(
            f"{checkpoint.path} is not the image network that belongs here: {error}",
            hint=f"give the file of {IMAGE_WEIGHTS[belongs].source.url if belongs in IMAGE_WEIGHTS else belongs}",
        ) from error
    return converted, f"{file} ({IMAGE_KINDS[init]})", sha256


def _stored(known: ImageWeights) -> StoredWeights:
    """The published image weights in the store, fetched if they are not there."""
    kept = stored(known.name)
    if kept is not None:
        return kept
    try:
        earlier = earlier_file(known)
        fetched = fetch(known) if earlier is None else fetch_file(known, earlier)
    except (FetchError, OutputError) as error:
        raise CheckpointError(
            f"the {IMAGE_KINDS[known.kind]} weights cannot be fetched: {error.message}",
            hint=f"fetch the file in another way: tada fetch --from FILE {known.name}, or --weights FILE",
        ) from error
    assert fetched.weights is not None
    return fetched.weights


# --- the head -----------------------------------------------------------------------------------------------


def _all_new(heads: Mapping[str, tuple[str, ...]]) -> dict[str, HeadChange]:
    return {head: HeadChange((), tuple(labels), ()) for head, labels in heads.items()}


def _move_heads(
    network: nn.Module,
    checkpoint: Checkpoint,
    old: Mapping[str, tuple[str, ...]],
    new: Mapping[str, tuple[str, ...]],
) -> dict[str, HeadChange]:
    """Copies the rows of classes that both know, within heads of the same name."""
    changes = {}
    for place, (head, labels) in enumerate(new.items(), start=1):
        known = list(old.get(head, ()))
        kept = [label for label in labels if label in known]
        if kept:
            source = _layer_name(head, list(old).index(head) + 1)
            layer = network.get_submodule(_layer_name(head, place))
            rows, origins = [labels.index(label) for label in kept], [known.index(label) for label in kept]
            with torch.no_grad():
                for name, parameter in layer.named_parameters():
                    trained = _head_weights(checkpoint, f"{source}.{name}", (len(known), *parameter.shape[1:]))
                    parameter[rows] = trained[origins]
        changes[head] = HeadChange(
            tuple(kept),
            tuple(label for label in labels if label not in known),
            tuple(label for label in known if label not in labels),
        )
    return changes


def _head_weights(checkpoint: Checkpoint, name: str, shape: tuple[int, ...]) -> Tensor:
    found = checkpoint.state_dict.get(name)
    if found is None or found.shape != shape:
        what = "is not there" if found is None else f"is {list(found.shape)} instead of {list(shape)}"
        raise CheckpointError(
            f"{checkpoint.path} does not have the classes of its model: {name} {what}",
            hint="choose the --model that these weights are of",
        )
    if not bool(found.isfinite().all()):
        raise CheckpointError(f"{checkpoint.path} holds values that are not numbers, in {name}")
    return found


def _layer_name(head: str, place: int) -> str:
    return "head.out" if head == "" else f"head.linear{place}"
