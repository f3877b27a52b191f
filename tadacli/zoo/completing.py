"""A model's settings from two sides: what is known of it, and what its checkpoint states.

What only one side knows completes the other. Where both know and differ, it is an error, unless the person says which
side to trust. A checkpoint of which nothing is known becomes a model by its own settings alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from tadacli.errors import CheckpointError, UndecidedError, UsageError
from tadacli.specs import (
    AnySpec,
    EvalProtocol,
    InputSpec,
    ModelFacts,
    ModelSpec,
    ProposalSpec,
    count_classes,
    numbered_labels,
)
from tadacli.strict_tables import in_one_line
from tadacli.zoo.checkpoints import Checkpoint
from tadacli.zoo.class_names import check_labels, with_labels
from tadacli.zoo.manifest import RATE, Known, ModelCard
from tadacli.zoo.stated import CFG, CONFIGURATION, NOTHING_DECIDED, Decided, StatedSettings
from tadacli.zoo.stated_networks import StatedNetwork, network_of, plain, usual_arguments

_INPUT_KEYS = {
    "sampling": "DATA.SAMPLING_MODE",
    "clip_frames": "DATA.NUM_INPUT_FRAMES",
    "frame_stride": "DATA.SAMPLING_RATE",
    "target_fps": "DATA.TARGET_FPS",
    "short_side": "DATA.TEST_SCALE",
    "crop_size": "DATA.TEST_CROP_SIZE",
    "mean": "DATA.MEAN",
    "std": "DATA.STD",
    "minus_interval": "DATA.MINUS_INTERVAL",
}
_SAMPLING = {"interval_based": "interval", "segment_based": "segment"}
_NOT_OF_SEGMENTS = {**RATE, "minus_interval": False}
_PROPOSAL_KEYS = {
    "in_channels": "DATA.NUM_INPUT_CHANNELS",
    "num_bins": "DATA.TEMPORAL_SCALE",
    "max_duration_bins": "DATA.DURATION_SCALE",
}
_ONE_VIEW = EvalProtocol(1, 1)


@dataclass(frozen=True)
class Completed:
    """A model's settings, what a person should know of them, and what its checkpoint states, if anything."""

    spec: AnySpec
    notes: tuple[str, ...] = ()
    stated: StatedSettings | None = None


def complete(known: Known, checkpoint: Checkpoint, *, decided: Decided = NOTHING_DECIDED) -> Completed:
    """The settings of a known model with those that its checkpoint states.

    Args:
        known: The model: its spec, or the card of one of which not all is known.
        checkpoint: Its weights.
        decided: What a person says where the two differ, and where neither knows.

    Returns:
        The settings. A spec that is complete stays as it is, unless the file is trusted and differs.

    Raises:
        CheckpointError: The checkpoint is of another model, or states a network that cannot be built.
        UndecidedError: The two differ, or a setting is missing; the message names it.
        UsageError: A setting is given that is known, or of no use.
    """
    if isinstance(known, ModelCard) and known.spec is not None:
        known = known.spec
    if checkpoint.spec is not None:
        return _of_our_own(known, checkpoint, decided)
    if isinstance(known, ModelSpec | ModelCard):
        return _merged(known, checkpoint.path, checkpoint.stated, decided)
    if checkpoint.stated is not None and decided.trust is None and isinstance(known, ProposalSpec):
        _refuse_differences(_proposal_differences(known, checkpoint.stated), known.name, checkpoint.path)
    check_labels(known, decided.labels)
    return Completed(known, stated=checkpoint.stated)


def by_itself(checkpoint: Checkpoint, *, labels: Sequence[str] = ()) -> Completed:
    """A model of the authors' networks by what its checkpoint states alone.

    Its labels are those that the checkpoint states, or else `labels`, or else "class 0" and so on.

    Raises:
        UsageError: There are not as many `labels` as classes, or the checkpoint states some.
        CheckpointError: It states no settings, not all that are needed, or a network that cannot be built.
    """
    stated, file = checkpoint.stated, checkpoint.path
    if stated is None:
        raise CheckpointError(
            f"{file} does not say what model it is for: it holds neither a spec nor a {CFG}",
            hint=f"name it: --model NAME --weights {file}",
        )
    network = network_of(stated, file=file)
    if network is None or network.num_classes is None:
        lacking = "MODEL.NAME" if network is None else "VIDEO.HEAD.NUM_CLASSES"
        raise CheckpointError(
            f"{file} does not say what model it is for: its {stated.kind} has no {lacking}",
            hint=f"name it: --model NAME --weights {file}",
        )
    spec = ModelSpec(
        name=f"{network.architecture}.{_recipe_name(file)}",
        architecture=network.architecture,
        task="action",
        dataset="",
        input=_input_of(_stated_input(stated), file, stated, name=str(file)),
        heads=_labels_of(network.num_classes, stated),
        protocol=_stated_views(stated) or _ONE_VIEW,
        arguments=_unusual(network),
    )
    spec = with_labels(spec, labels)
    return Completed(spec, _notes(spec, stated, views=False), stated)


def check_same_network(spec: AnySpec, checkpoint: Checkpoint, *, are_renamed: bool = False) -> None:
    """Raises `CheckpointError` for a file of our own that holds another network, or one with other labels.

    Where classes `are_renamed`, only their number counts.
    """
    inside = checkpoint.spec
    if inside is None:
        return
    of_file, of_spec = (count_classes(each.heads) if are_renamed else each.heads for each in (inside, spec))
    if (inside.architecture, of_file) != (spec.architecture, of_spec):
        raise CheckpointError(
            f"{checkpoint.path} holds {inside.name}, not {spec.name}", hint=f"use --model {checkpoint.path}"
        )


def with_fitted(spec: ModelSpec, checkpoint: Checkpoint) -> ModelSpec:
    """The spec with what was fitted to the weights of a file of our own, if it is one.

    Raises:
        CheckpointError: The weights were trained on other clips or with other settings of the network.
    """
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


def _of_our_own(known: Known, checkpoint: Checkpoint, decided: Decided) -> Completed:
    """A file of our own: the settings inside are the model's, unless all are known and the file was not trusted."""
    inside, stated = checkpoint.spec, checkpoint.stated
    assert inside is not None
    was_trusted = stated is not None and stated.is_trusted and decided.trust != "manifest"
    if not isinstance(known, ModelCard) and not was_trusted:
        check_labels(known, decided.labels)
        return Completed(known, stated=stated)
    if inside.architecture != known.architecture:
        raise CheckpointError(
            f"{checkpoint.path} holds {inside.name}, not {known.name}", hint=f"use --model {checkpoint.path}"
        )
    are_given = isinstance(known, ModelCard) and not known.heads and not (stated is not None and stated.labels)
    inside = with_labels(inside, decided.labels, may_replace=are_given)
    notes = _notes(inside, stated, views=known.protocol is not None) if isinstance(inside, ModelSpec) else ()
    return Completed(inside, notes, stated)


def _merged(known: ModelSpec | ModelCard, file: Path, stated: StatedSettings | None, decided: Decided) -> Completed:
    """The model with what is known of it and what is stated."""
    trust, given = decided.trust, decided.given
    settings, own = _known_input(known), {} if stated is None else _stated_input(stated)
    network = None
    if stated is not None and (trust != "manifest" or _is_told_by_file(known)):
        network = network_of(stated, file=file, architecture=known.architecture)
    differences = [*_network_differences(known, network), *_input_differences(settings, own)]
    if trust is None:
        _refuse_differences(differences, known.name, file)
    takes_file = trust == "file" and bool(differences)
    stated = None if stated is None else replace(stated, is_trusted=takes_file)
    merged = {**settings, **own} if takes_file else {**own, **settings}
    _refuse_unneeded(given, merged, known.name)
    if isinstance(known, ModelSpec) and not takes_file:
        check_labels(known, decided.labels)
        return Completed(known, stated=stated)
    arguments, num_classes = dict(known.arguments), known.num_classes
    if network is not None:
        if takes_file or _is_told_by_file(known):
            arguments, num_classes = _unusual(network), network.num_classes or num_classes
        elif "dropout" in (unusual := _unusual(network)):
            arguments.setdefault("dropout", unusual["dropout"])
    assert num_classes is not None  # as every card has it that takes video
    are_known = bool(known.heads) and count_classes(known.heads) == num_classes
    facts = {each.name: getattr(known, each.name) for each in fields(ModelFacts)}
    facts |= {
        "architecture": network.architecture if network is not None and takes_file else known.architecture,
        "input": _input_of({**given, **merged}, file, stated, name=known.name),
        "arguments": arguments,
        "heads": dict(known.heads) if are_known else _labels_of(num_classes, stated),
        "protocol": known.protocol or _stated_views(stated) or _ONE_VIEW,
    }
    spec = with_labels(ModelSpec(**facts, exclusive_labels=known.exclusive_labels), decided.labels)
    return Completed(spec, _notes(spec, stated, views=known.protocol is not None), stated)


def _refuse_unneeded(given: Mapping[str, Any], known: Mapping[str, Any], name: str) -> None:
    """Raises `UsageError` for a setting that a person gives, where another one is known or none is used."""
    for key, value in given.items():
        if _is_unused(key, known):
            raise UsageError(f"{key} is of no use: {name} samples by segments", hint="leave it out")
        if known.get(key, value) != value:
            raise UsageError(f"{key} of {name} is {known[key]}, and {value} is given", hint="leave it out")


# --- what is known, and what is stated --------------------------------------------------------------------


def _is_told_by_file(known: Known) -> bool:
    """Whether nobody but the file says how its network is built."""
    return isinstance(known, ModelCard) and "arguments" in known.unknown


def _known_input(known: ModelSpec | ModelCard) -> dict[str, Any]:
    """Fields of the `InputSpec` that are known; those that segment sampling does not use have no place in it."""
    if isinstance(known, ModelSpec):
        found = {each.name: plain(getattr(known.input, each.name)) for each in fields(InputSpec)}
    else:
        unknown = {key.removeprefix("input.") for key in known.unknown}
        usual = {} if {"input", "minus_interval"} & unknown else {"minus_interval": False}
        found = {**usual, **{key: plain(value) for key, value in known.input.items()}}
    return {key: value for key, value in found.items() if not _is_unused(key, found)}


def _stated_input(stated: StatedSettings) -> dict[str, Any]:
    """Fields of an `InputSpec` that are stated; those that segment sampling does not use have no place in it."""
    found = {field: plain(stated.values[key]) for field, key in _INPUT_KEYS.items() if key in stated.values}
    if stated.kind == CONFIGURATION:
        found["sampling"] = "interval_hub"  # whatever it says, the hub's pipeline knows no other
    elif "sampling" in found:
        found["sampling"] = _SAMPLING.get(found["sampling"], found["sampling"])
    return {key: value for key, value in found.items() if not _is_unused(key, found)}


def _is_unused(key: str, settings: Mapping[str, Any]) -> bool:
    return key in _NOT_OF_SEGMENTS and settings.get("sampling") == "segment"


def _stated_views(stated: StatedSettings | None) -> EvalProtocol | None:
    """The views of the hub's pipeline; those of a `cfg` are never read."""
    views = {} if stated is None else stated.values
    clips, crops = views.get("TEST.NUM_ENSEMBLE_VIEWS"), views.get("TEST.NUM_SPATIAL_CROPS")
    return None if clips is None or crops is None else EvalProtocol(clips, crops)


def _input_of(settings: Mapping[str, Any], file: Path, stated: StatedSettings | None, *, name: str) -> InputSpec:
    """The input. Raises `UndecidedError` for settings that are missing, `CheckpointError` for those of no clip."""
    used = {**settings, **_NOT_OF_SEGMENTS} if settings.get("sampling") == "segment" else dict(settings)
    missing = [each.name for each in fields(InputSpec) if each.name not in used and each.name != "minus_interval"]
    if missing:
        why = f"the file has no {CFG} that says it" if stated is None else f"the file's {stated.kind} does not say it"
        # A person may know the rate of the frames; what more is missing is not guessed one by one.
        hint = "use a file that says it, as those of the authors' training code do"
        if missing == ["frame_stride"]:
            hint = f"if you know it, give it, for example: tada fetch --frame-stride 2 {name}"
        raise UndecidedError(f"{name} cannot be used: {', '.join(missing)} is not known, and {why}", hint=hint)
    if used["sampling"] not in ("interval", "interval_hub", "segment"):
        shown = in_one_line(repr(used["sampling"]))
        raise CheckpointError(f"{file}: DATA.SAMPLING_MODE is {shown}, and should be one of {', '.join(_SAMPLING)}")
    if used["crop_size"] > used["short_side"]:
        sizes = f"DATA.TEST_CROP_SIZE is {used['crop_size']}, above DATA.TEST_SCALE {used['short_side']}"
        raise CheckpointError(f"{file}: {sizes}")
    # As a table of the manifest is read, where a whole number may stand for a float.
    floats = {key: tuple(map(float, used[key])) for key in ("mean", "std")} | {"target_fps": float(used["target_fps"])}
    try:
        return InputSpec(**{**used, **floats})
    except ValueError as error:
        raise CheckpointError(f"{file} states clips that cannot be: {error}") from error


def _unusual(network: StatedNetwork) -> dict[str, Any]:
    """The arguments that the builder needs to be told."""
    usual = usual_arguments(network.architecture)
    stated = dict(network.arguments) | ({} if network.dropout is None else {"dropout": network.dropout})
    return {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in stated.items()
        if value != usual.get(key)
    }


def _labels_of(num_classes: int | Mapping[str, int], stated: StatedSettings | None) -> dict[str, tuple[str, ...]]:
    """The labels by head: those that are stated, or numbers."""
    if stated is not None and stated.labels:
        return {"": stated.labels}
    if isinstance(num_classes, int):
        return {"": numbered_labels(num_classes)}
    return {head: numbered_labels(count) for head, count in num_classes.items()}


def _recipe_name(file: Path) -> str:
    """The second part of a model's name, from that of its file or folder."""
    stem = file.parent.name if (file.parent / CONFIGURATION).is_file() and file.stem == "pytorch_model" else file.stem
    return in_one_line(stem) or "own"


# --- where the two differ ---------------------------------------------------------------------------------


def _input_differences(known: Mapping[str, Any], stated: Mapping[str, Any]) -> list[str]:
    """What both sides say differently of the clips; a way of sampling that differs says enough of the rate."""
    keys = [key for key in _INPUT_KEYS if key in known and key in stated and known[key] != stated[key]]
    return [_difference(key, stated[key], known[key]) for key in keys]


def _network_differences(known: ModelSpec | ModelCard, network: StatedNetwork | None) -> list[str]:
    if network is None:
        return []
    if network.architecture != known.architecture:
        return [_difference("network", network.architecture, known.architecture)]
    if _is_told_by_file(known):
        return []
    ours = {key: plain(value) for key, value in {**usual_arguments(known.architecture), **known.arguments}.items()}
    found = [
        _difference(key, value, ours.get(key)) for key, value in network.arguments.items() if ours.get(key) != value
    ]
    if network.num_classes not in (None, known.num_classes):
        found.append(_difference("num_classes", network.num_classes, known.num_classes))
    return found


def _proposal_differences(known: ProposalSpec, stated: StatedSettings) -> list[str]:
    values = {field: stated.values[key] for field, key in _PROPOSAL_KEYS.items() if key in stated.values}
    if values.get("max_duration_bins", 1) < 1:
        del values["max_duration_bins"]  # which then is that of the window
    return [
        _difference(field, value, known.arguments[field])
        for field, value in values.items()
        if known.arguments.get(field, value) != value
    ]


def _difference(what: str, stated: object, known: object) -> str:
    return f"{what} {_said(stated)} in the file, {_said(known)} in the manifest"


def _said(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_said, value))}]"
    return f"{value:g}" if isinstance(value, float) and value == int(value) else in_one_line(str(value))


def _refuse_differences(differences: list[str], name: str, file: Path) -> None:
    if differences:
        raise UndecidedError(
            f"{file} states other settings than are known of {name}: {'; '.join(differences)}",
            hint="--trust file takes the file's, --trust manifest those that are known, here as with tada fetch --from",
        )


# --- what to say ------------------------------------------------------------------------------------------


def _notes(spec: ModelSpec, stated: StatedSettings | None, *, views: bool) -> tuple[str, ...]:
    """What nobody says of a model: the names of its classes, and its views where they are not known otherwise."""
    notes = []
    if all(labels == numbered_labels(len(labels)) for labels in spec.heads.values()):
        first = next(iter(spec.heads.values()))[0]
        notes.append(f"the classes of {spec.name} have no names here: they are {first} and so on")
    if not views and _stated_views(stated) is None:
        notes.append(f"nobody says how many views {spec.name} was measured with: one is taken; --views takes more")
    return tuple(notes)
