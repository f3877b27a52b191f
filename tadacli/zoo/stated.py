"""Settings that a checkpoint states of itself: its `cfg`, or the model hub's `configuration.json` beside it.

Both are JSON of the authors' configuration tables: their training code keeps the resolved one as a text under the key
`cfg` of every checkpoint. Of it only a closed set of keys is looked at, each with a type and bounds; all others, which
hold paths, secrets and settings of training, are never kept or shown. The set has no views, since those of a `cfg` are
of the validation during training; the hub's views and labels are read, as its pipeline uses them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Any, Final, Literal

from tadacli.errors import CheckpointError
from tadacli.strict_tables import in_one_line, parse_json
from tadacli.zoo import Trust

CFG: Final = "cfg"
CONFIGURATION: Final = "configuration.json"
HUB_WEIGHTS = "pytorch_model.pt"  # lies beside a configuration.json
MOST_CHARACTERS = 1 << 20  # the longest that are known have a few ten thousand
_MOST_NAME, _MOST_LABEL, _MOST_LIST, _MOST_COUNT = 100, 500, 64, 1 << 16
_MOST_CLASSES, _MOST_LAYERS = 1 << 17, 512
_LARGEST = 1e9
_NUMBER = re.compile(r"[+-]?(\d{1,30}\.?\d{0,30}|\.\d{1,30})([eE][+-]?\d{1,3})?")

Values = Mapping[str, Any]
_Check = Callable[[object], Any]


@dataclass(frozen=True)
class StatedSettings:
    """What a checkpoint states of itself, by the keys of its tables joined with dots; what it leaves out is missing.

    `sha256` is that of the whole text. `labels` are the hub's. With `is_trusted` the person who took the file wanted
    its settings also where others are known.
    """

    kind: Literal["cfg", "configuration.json"]
    values: Values
    sha256: str
    labels: tuple[str, ...] = ()
    is_trusted: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON-ready values; the labels are those of the spec beside them."""
        return {"kind": self.kind, "values": dict(self.values), "sha256": self.sha256, "is_trusted": self.is_trusted}


@dataclass(frozen=True)
class Decided:
    """What a person says of a model's settings.

    `trust` is whose setting to take where what is known and what the file states differ, None to refuse that; `given`
    are fields of the `InputSpec` that neither side knows; `labels` are names for classes that nobody has named.
    """

    trust: Trust | None = None
    given: Mapping[str, Any] = field(default_factory=dict)
    labels: tuple[str, ...] = ()


NOTHING_DECIDED = Decided()


def settings_in_cfg(text: object, *, file: Path) -> StatedSettings:
    """The settings in the `cfg` of a checkpoint.

    Args:
        text: What stands under the key.
        file: The checkpoint, for errors.

    Returns:
        The settings. Numbers that are written as texts are numbers here.

    Raises:
        CheckpointError: It is no JSON of tables, too long, or a value is of another type or beyond its bounds.
    """
    if not isinstance(text, str):
        raise CheckpointError(f"{file}: its cfg is no text but {type(text).__name__}", hint=_NO_SETTINGS)
    tables = _tables(text, f"{file}: its cfg")
    return StatedSettings(CFG, _values(tables, f"{file}: its cfg"), _sha256(text))


def settings_of_configuration(file: Path) -> StatedSettings:
    """The settings and labels in a `configuration.json` of the model hub.

    Args:
        file: The file.

    Returns:
        The settings; all are there that the hub's pipeline reads.

    Raises:
        CheckpointError: It cannot be read, is no JSON of tables, too long, or lacks a key; a value is of another type
            or beyond its bounds; labels repeat, or are not one for each class.
    """
    try:
        with file.open("rb") as stream:
            content = stream.read(MOST_CHARACTERS + 1)
        text = content.decode("utf-8")
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{file} cannot be read: {in_one_line(str(error))}", hint=_AGAIN) from error
    tables = _tables(text, str(file))
    values = _values(tables, str(file), {**_KEYS, **_HUB_KEYS})
    lacking = [key for key in _HUB_NEEDS if key not in values]
    if lacking or "label_mapping" not in tables:
        raise CheckpointError(f"{file}: {(lacking or ['label_mapping'])[0]} is missing", hint=_AGAIN)
    labels = _labels(tables["label_mapping"], values["VIDEO.HEAD.NUM_CLASSES"], file)
    return StatedSettings(CONFIGURATION, values, hashlib.sha256(content).hexdigest(), labels)


def settings_kept(table: object, *, file: Path) -> StatedSettings:
    """What `StatedSettings.to_dict` wrote. Raises `CheckpointError` where that is not what the table is."""
    kept = table if isinstance(table, Mapping) else {}
    values, kind, sha256 = kept.get("values"), kept.get("kind"), kept.get("sha256")
    keys = {**_KEYS, **_HUB_KEYS}
    if not isinstance(values, Mapping) or not isinstance(sha256, str) or kind not in (CFG, CONFIGURATION):
        raise CheckpointError(f"{file}: the settings that its original stated are damaged", hint=_AGAIN)
    known = {key: _checked(key, values[key], keys[key], str(file)) for key in keys if key in values}
    return StatedSettings(kind, known, sha256, is_trusted=kept.get("is_trusted") is True)


_NO_SETTINGS = "the file was not made by the authors' training code; nothing of it is used"
_AGAIN = "fetch it again, from a source that you trust"


def _tables(text: str, where: str) -> Mapping[str, Any]:
    if len(text) > MOST_CHARACTERS:
        raise CheckpointError(f"{where} has more than {MOST_CHARACTERS:,} characters", hint=_NO_SETTINGS)
    try:
        tables = parse_json(text)
    except ValueError as error:
        raise CheckpointError(f"{where} is not JSON: {in_one_line(str(error))}", hint=_NO_SETTINGS) from error
    if not isinstance(tables, Mapping):
        raise CheckpointError(f"{where} is JSON, but no table of settings", hint=_NO_SETTINGS)
    return tables


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _values(tables: Mapping[str, Any], where: str, keys: Mapping[str, _Check] | None = None) -> dict[str, Any]:
    """The known keys that the tables hold, checked; what is null there is as if it were not."""
    values = {}
    for key, check in (keys or _KEYS).items():
        found: object = tables
        path = key.split(".")
        for depth, part in enumerate(path):
            if not isinstance(found, Mapping):
                above = ".".join(path[:depth])
                raise CheckpointError(f"{where}: {above} is {_shown(found)}, not a table", hint=_AGAIN)
            found = found.get(part)
            if found is None:
                break
        if found is not None:
            values[key] = _checked(key, found, check, where)
    return values


def _checked(key: str, value: object, check: _Check, where: str) -> Any:
    try:
        return check(value)
    except ValueError as error:
        raise CheckpointError(f"{where}: {key} is {_shown(value)}, {error}", hint=_AGAIN) from None


def _labels(mapping: object, num_classes: object, file: Path) -> tuple[str, ...]:
    """The labels in index order."""
    if not isinstance(mapping, Mapping):
        raise CheckpointError(f"{file}: label_mapping is {_shown(mapping)}, not a table", hint=_AGAIN)
    if not isinstance(num_classes, int) or len(mapping) != num_classes:
        wanted = f"VIDEO.HEAD.NUM_CLASSES is {_shown(num_classes)}"
        raise CheckpointError(f"{file}: label_mapping has {len(mapping)} labels, and {wanted}", hint=_AGAIN)
    seen: dict[str, int] = {}
    for index in range(num_classes):
        label = mapping.get(str(index))
        if label is None:
            raise CheckpointError(f"{file}: label_mapping.{index} is missing", hint=_AGAIN)
        if not isinstance(label, str) or not label.strip() or len(label) > _MOST_LABEL or not label.isprintable():
            raise CheckpointError(f"{file}: label_mapping.{index} is {_shown(label)}, no name of a class", hint=_AGAIN)
        if label in seen:
            places = f"label_mapping.{seen[label]} and label_mapping.{index}"
            raise CheckpointError(f"{file}: {places} are both {_shown(label)}", hint=_AGAIN)
        seen[label] = index
    return tuple(seen)


def _shown(value: object) -> str:
    return in_one_line(repr(value) if isinstance(value, str | int | float | list) else type(value).__name__)


# --- what a value may be: each returns it as it is used, or raises `ValueError` with what it should have been ---------


def _name(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _MOST_NAME:
        raise ValueError("and should be a name")
    return value


def _flag(value: object) -> bool:
    # To the authors' code any text is true, also "False" of a command line.
    if not isinstance(value, bool):
        raise ValueError("and should be true or false")
    return value


def _number(value: object) -> float:
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("and should be a number")
    if not (abs(value) <= _LARGEST and isfinite(value)):
        raise ValueError(f"and should be finite, up to {_LARGEST:g}")
    return float(value)


def _above_zero(value: object) -> float:
    number = _number(value)
    if number <= 0:
        raise ValueError("and should be above zero")
    return number


def _share(value: object) -> float:
    number = _number(value)
    if not 0 <= number < 1:
        raise ValueError("and should be from 0 to below 1")
    return number


def _whole(value: object, *, least: int = 1, most: int = _MOST_COUNT) -> int:
    number = _number(value)
    if number != int(number) or not least <= number <= most:
        raise ValueError(f"and should be a whole number from {least} to {most}")
    return int(number)


def _list_of(check: _Check, *, length: int | None = None) -> _Check:
    def checked(value: object) -> list[Any]:
        if not isinstance(value, list) or not 0 < len(value) <= _MOST_LIST:
            raise ValueError("and should be a list")
        if length is not None and len(value) != length:
            raise ValueError(f"and should be a list of {length}")
        return [check(each) for each in value]

    return checked


def _one_or_list(check: _Check) -> _Check:
    return lambda value: _list_of(check)(value) if isinstance(value, list) else check(value)


def _classes(value: object) -> int:
    return _whole(value, most=_MOST_CLASSES)


def _crops(value: object) -> int:
    if (number := _whole(value)) not in (1, 3):
        raise ValueError("and should be 1 or 3")
    return number


_KEYS: Mapping[str, _Check] = {
    "MODEL.NAME": _name,
    "BN.EPS": _above_zero,
    "VIDEO.BACKBONE.META_ARCH": _name,
    "VIDEO.BACKBONE.NUM_INPUT_CHANNELS": _whole,
    "VIDEO.BACKBONE.NUM_OUT_FEATURES": _whole,
    "VIDEO.BACKBONE.NUM_FILTERS": _list_of(_whole),
    "VIDEO.BACKBONE.NUM_FEATURES": _whole,
    "VIDEO.BACKBONE.DEPTH": _one_or_list(partial(_whole, most=_MOST_LAYERS)),
    "VIDEO.BACKBONE.DROP_PATH": _share,
    "VIDEO.BACKBONE.LARGE_SCALE_INIT_VALUE": _above_zero,
    "VIDEO.BACKBONE.KERNEL_SIZE": _list_of(_one_or_list(_one_or_list(_whole))),
    "VIDEO.BACKBONE.DOWNSAMPLING": _list_of(_flag),
    "VIDEO.BACKBONE.DOWNSAMPLING_TEMPORAL": _list_of(_flag),
    "VIDEO.BACKBONE.EXPANSION_RATIO": _whole,
    "VIDEO.BACKBONE.NONLOCAL.ENABLE": _flag,
    "VIDEO.BACKBONE.STEM.NAME": _name,
    "VIDEO.BACKBONE.STEM.T_KERNEL_SIZE": _whole,
    "VIDEO.BACKBONE.STEM.T_STRIDE": _whole,
    "VIDEO.BACKBONE.BRANCH.NAME": _name,
    "VIDEO.BACKBONE.BRANCH.ROUTE_FUNC_TYPE": _name,
    "VIDEO.BACKBONE.BRANCH.ROUTE_FUNC_R": _whole,
    "VIDEO.BACKBONE.BRANCH.ROUTE_FUNC_K": _list_of(_whole, length=2),
    "VIDEO.BACKBONE.BRANCH.HEAD_DIM": _whole,
    "VIDEO.BACKBONE.BRANCH.POOL_K": _list_of(_whole, length=3),
    "VIDEO.BACKBONE.INPUT_RES": _whole,
    "VIDEO.BACKBONE.PATCH_SIZE": _whole,
    "VIDEO.BACKBONE.TUBLET_SIZE": _whole,
    "VIDEO.BACKBONE.TUBLET_STRIDE": _whole,
    "VIDEO.BACKBONE.NUM_HEADS": _whole,
    "VIDEO.BACKBONE.REDUCTION": _whole,
    "VIDEO.BACKBONE.REQUIRE_PROJ": _flag,
    "VIDEO.BACKBONE.ATTN_MASK_ENABLE": _flag,
    "VIDEO.BACKBONE.DOUBLE_TADA": _flag,
    "VIDEO.BACKBONE.TEMP_ENHANCE": _flag,
    "VIDEO.HEAD.NAME": _name,
    "VIDEO.HEAD.NUM_CLASSES": _one_or_list(_classes),
    "VIDEO.HEAD.DROPOUT_RATE": _share,
    "VIDEO.HEAD.ACTIVATION": _name,
    "DATA.NUM_INPUT_CHANNELS": _whole,
    "DATA.NUM_INPUT_FRAMES": _whole,
    "DATA.SAMPLING_MODE": _name,
    "DATA.SAMPLING_RATE": _whole,
    "DATA.TARGET_FPS": _above_zero,
    "DATA.MINUS_INTERVAL": _flag,
    "DATA.TEST_SCALE": _whole,
    "DATA.TEST_CROP_SIZE": _whole,
    "DATA.MEAN": _list_of(_number, length=3),
    "DATA.STD": _list_of(_above_zero, length=3),
    "DATA.MULTI_LABEL": _flag,
    "DATA.ENSEMBLE_METHOD": _name,
    "DATA.TEMPORAL_SCALE": _whole,
    "DATA.DURATION_SCALE": partial(_whole, least=-1),
}
_HUB_KEYS: Mapping[str, _Check] = {"TEST.NUM_ENSEMBLE_VIEWS": _whole, "TEST.NUM_SPATIAL_CROPS": _crops}
# What the hub's pipeline cannot do without.
_HUB_NEEDS = (
    "MODEL.NAME",
    *(f"VIDEO.BACKBONE.{key}" for key in ("NUM_INPUT_CHANNELS", "NUM_FILTERS", "DROP_PATH", "DEPTH")),
    *(f"VIDEO.BACKBONE.{key}" for key in ("LARGE_SCALE_INIT_VALUE", "NUM_OUT_FEATURES")),
    *(f"VIDEO.BACKBONE.BRANCH.ROUTE_FUNC_{key}" for key in ("TYPE", "R", "K")),
    *(f"VIDEO.HEAD.{key}" for key in ("NAME", "NUM_CLASSES", "DROPOUT_RATE", "ACTIVATION")),
    *(f"DATA.{key}" for key in ("NUM_INPUT_FRAMES", "SAMPLING_RATE", "TARGET_FPS", "MINUS_INTERVAL")),
    *(f"DATA.{key}" for key in ("TEST_SCALE", "TEST_CROP_SIZE", "MEAN", "STD")),
    *_HUB_KEYS,
)
