"""Training recipes: every setting of a run in one flat table, published or of one's own.

`recipes.toml` holds the published recipes, named like the models they trained, and our own. A file of one's own is
the same flat table, or `base = "NAME"` and what differs from it.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from functools import cache
from importlib import resources
from pathlib import Path
from types import MappingProxyType, NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from tadacli.errors import UsageError
from tadacli.specs import InputSpec
from tadacli.training.augmentation import Augmentation
from tadacli.training.optimisation import Optimisation, Optimizer, Schedule, check_value

Precision = Literal["float32", "bfloat16", "float16"]
Freeze = Literal["nothing", "trunk"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All settings of a training run. Raises `UsageError` naming the value that cannot be meant.

    `batch_size` counts the clips of one optimiser step over all processes; they are taken in `accumulate` parts, each
    shared out to the processes. `dropout` and `drop_path` are the network's own where they are None. `early_stop`
    counts evaluations without a better one (0: never). `crop_size` 0 and `short_sides` (0, 0) are the model's own (see
    `for_input`). `source` says where the settings were published, `note` what is not known or not followed.

    The other settings are those of `Optimisation` and `Augmentation`. RandAugment's magnitude and the deviation from
    it count from 0 to 10: what published settings call rand-m9-n4-mstd0.5 is magnitude 9, 4 operations, deviation 0.5.
    """

    source: str = ""
    note: str = ""

    epochs: float
    batch_size: int
    accumulate: int = 1
    seed: int = 0
    precision: Precision = "float32"
    checkpoint_activations: bool = False
    freeze: Freeze = "nothing"
    freeze_norms: bool = False
    dropout: float | None = None
    drop_path: float | None = None
    label_smoothing: float = 0.0
    evaluate_every_epochs: float = 1.0
    early_stop: int = 0

    optimizer: Optimizer
    learning_rate: float
    momentum: float = 0.9
    weight_decay: float
    schedule: Schedule
    warmup_epochs: float = 0.0
    warmup_start_rate: float = 0.0
    final_rate: float = 0.0
    route_rate_factor: float = 1.0
    route_bias_rate_factor: float | None = None
    head_rate_factor: float = 1.0
    head_bias_rate_factor: float | None = None
    layer_decay: float = 1.0
    max_grad_norm: float = 0.0
    ema_decay: float = 0.0

    crop_size: int = 0
    crop: Literal["jitter", "resized"] = "jitter"
    short_sides: tuple[int, int] = (0, 0)
    crop_areas: tuple[float, float] = (0.08, 1.0)
    crop_ratios: tuple[float, float] = (0.75, 1.3333)
    flip: Literal["none", "plain", "labels"] = "plain"
    flip_pairs: tuple[tuple[str, str], ...] = ()
    randaugment_ops: int = 0
    randaugment_magnitude: float = 9.0
    randaugment_std: float = 0.5
    grayscale: float = 0.0
    colour_jitter: float = 0.0
    erasing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self) -> None:
        for key in ("epochs", "evaluate_every_epochs"):
            value = getattr(self, key)
            check_value(key, value, 0 < value < math.inf, "a number above 0")
        for key in ("batch_size", "accumulate"):
            check_value(key, getattr(self, key), getattr(self, key) >= 1, "1 or more")
        for key in ("seed", "early_stop", "crop_size"):
            check_value(key, getattr(self, key), 0 <= getattr(self, key) < 2**31, "0 or more, and below 2^31")
        for key in ("label_smoothing", "dropout", "drop_path"):
            value = getattr(self, key)
            check_value(key, value, value is None or 0 <= value < 1, "0 or more, and below 1")
        for key, choices in (("precision", get_args(Precision)), ("freeze", get_args(Freeze))):
            check_value(key, getattr(self, key), getattr(self, key) in choices, f"one of {', '.join(choices)}")
        divides = self.batch_size % self.accumulate == 0
        check_value("accumulate", self.accumulate, divides, f"a divisor of the batch size, {self.batch_size}")
        if not self.warmup_epochs < self.epochs:
            raise UsageError(
                f"warmup_epochs is {self.warmup_epochs:g}, expected less than the {self.epochs:g} epochs of the run",
                hint="set warmup_epochs, too; 0 is no warm-up",
            )
        _ = self.optimisation
        stand_in = self.crop_size or min(self.short_sides) or 224
        self._augmentation(crop_size=stand_in, short_sides=self._sides_or(stand_in, stand_in))

    @property
    def optimisation(self) -> Optimisation:
        """The settings of the optimiser and its schedule."""
        return Optimisation(**{field.name: getattr(self, field.name) for field in fields(Optimisation)})

    @property
    def augmentation(self) -> Augmentation:
        """The settings of the augmentation; a recipe that leaves sizes to the model goes through `for_input` first."""
        if not self.crop_size or not any(self.short_sides):
            raise ValueError("crop_size or short_sides are the model's own: ask for_input first")
        return self._augmentation()

    def for_input(self, model_input: InputSpec) -> Recipe:
        """The recipe with the sizes that it leaves to the model: its crop, and short sides from its own to 1.25 of it.

        Where the recipe has a crop size of its own, the short sides keep the model's relation to its crop.
        """
        crop_size = self.crop_size or model_input.crop_size
        shortest = max(crop_size, round(model_input.short_side * crop_size / model_input.crop_size))
        sides = self._sides_or(shortest, round(1.25 * shortest))
        return dataclasses.replace(self, crop_size=crop_size, short_sides=sides)

    def _sides_or(self, shortest: int, longest: int) -> tuple[int, int]:
        return self.short_sides if any(self.short_sides) else (shortest, longest)

    def _augmentation(self, **sizes: Any) -> Augmentation:
        settings = {field.name: getattr(self, field.name) for field in fields(Augmentation)}
        return Augmentation(**(settings | sizes))


def known_recipes() -> Mapping[str, Recipe]:
    """The recipes that ship with the package, by name, in the order of their file."""
    return MappingProxyType({name: _recipe(values, where=f"recipe {name}") for name, values in _known_tables().items()})


def load_recipe(name_or_path: str | Path, overrides: Mapping[str, object] | None = None) -> Recipe:
    """The recipe of a known name or of a flat .toml file, with some settings replaced.

    A file may say `base = "NAME"`, a known recipe, and then only what differs from it. The values of `overrides` have
    the type of their setting, or are texts as a command line gives them ("none" where a setting may be None; lists in
    TOML, where the outer brackets may be left out). What was changed is added to the recipe's `source`.

    Raises `UsageError` naming the file and the key for a recipe or key that is not known, or a value that is not
    allowed.
    """
    name = str(name_or_path)
    values = dict(_known_tables().get(name) or _read_file(name))
    where = f"recipe {name}"
    changes = {key: _from_option(key, value, where=where) for key, value in (overrides or {}).items()}
    return _recipe(_changed(values, changes), where=where)


def recipe_toml(recipe: Recipe) -> str:
    """The recipe as the text of a file that `load_recipe` reads as an equal one; values that are None are left out."""
    values = ((field.name, getattr(recipe, field.name)) for field in fields(Recipe))
    return "".join(f"{key} = {_toml(value)}\n" for key, value in values if value is not None)


def _toml(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(_toml(item) for item in value)}]"
    if isinstance(value, str):
        # A JSON text is one of TOML but for the delete character, which TOML wants escaped.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value).lower() if isinstance(value, bool) else repr(value)


@cache
def _known_tables() -> Mapping[str, dict[str, Any]]:
    """The values of each known recipe, its base filled in; a base stands above what builds on it."""
    text = resources.files("tadacli").joinpath("training", "recipes.toml").read_text(encoding="utf-8")
    known: dict[str, dict[str, Any]] = {}
    for name, table in tomllib.loads(text).items():
        own = {key: _checked(key, value, where=f"recipe {name}") for key, value in table.items() if key != "base"}
        # `source` and `note` belong to one recipe alone.
        base = (
            {key: value for key, value in known[table["base"]].items() if key not in _TEXTS} if "base" in table else {}
        )
        known[name] = base | own
    return known


def _read_file(path: str) -> dict[str, Any]:
    known = _known_tables()
    if not path.endswith(".toml") and not Path(path).is_file():
        raise UsageError(f"unknown recipe {path!r}", hint=f"{_meant(path, known)}or give a .toml file")
    try:
        table = tomllib.loads(Path(path).read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise UsageError(f"there is no recipe file {path}", hint=_meant(path, known).rstrip("; ")) from error
    except OSError as error:
        raise UsageError(f"recipe file {path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # not TOML, or not UTF-8
        raise UsageError(f"{path} is not a TOML file: {error}", hint="lines of key = value are expected") from error
    base = table.pop("base", None)
    if base is not None and base not in known:
        close = _meant(str(base), known).rstrip("; ")
        raise UsageError(f"recipe {path}: base is {base!r}, which is not a known recipe", hint=close)
    own = {key: _checked(key, value, where=f"recipe {path}") for key, value in table.items()}
    return own if base is None else _changed(known[base], own)


def _changed(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The values with the changes made, and the changes named in `source`, so that it does not claim too much."""
    changed = [key for key, value in changes.items() if key not in _TEXTS and values.get(key, _default(key)) != value]
    result = {**values, **changes}
    if changed and values.get("source") and "source" not in changes:
        result["source"] = f"{values['source']}; changed: {', '.join(changed)}"
    return result


def _recipe(values: Mapping[str, Any], *, where: str) -> Recipe:
    missing = [field.name for field in fields(Recipe) if field.default is MISSING and field.name not in values]
    if missing:
        hint = 'add what is missing, or base = "finetune" and only what differs'
        raise UsageError(f"{where}: {', '.join(missing)} not given", hint=hint)
    try:
        return Recipe(**values)
    except UsageError as error:
        raise UsageError(f"{where}: {error.message}", hint=error.hint) from error


_TEXTS = ("source", "note")


@cache
def _types() -> Mapping[str, Any]:
    return get_type_hints(Recipe)


def _default(key: str) -> object:
    return next(field.default for field in fields(Recipe) if field.name == key)


def _meant(word: str, known: Sequence[str] | Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]}? " if close else f"there are {', '.join(known)}; "


def _type_of(key: str, *, where: str) -> Any:
    if key not in _types():
        raise UsageError(f"{where}: unknown key {key!r}", hint=_meant(key, _types()).rstrip("; "))
    return _types()[key]


def _checked(key: str, value: object, *, where: str) -> Any:
    """The value of a file or of code, if it has the type of its setting; whole numbers are numbers, lists tuples."""
    kind = _type_of(key, where=where)
    try:
        return _typed(value, kind)
    except ValueError:
        raise UsageError(f"{where}: {key} is {value!r}, expected {_expected(kind)}") from None


def _from_option(key: str, value: object, *, where: str) -> Any:
    """The value of an override, which may be the text of a command line."""
    kind = _type_of(key, where=where)
    if not isinstance(value, str):
        return _checked(key, value, where=where)
    try:
        return _typed(_parsed(value.strip(), kind), kind)
    except ValueError:  # tomllib's own error is one, too
        raise UsageError(f"{where}: {key} is {value!r}, expected {_expected(kind)}") from None


def _parsed(text: str, kind: Any) -> object:
    """What a text means where the type is expected; raises ValueError if it means nothing there."""
    if get_origin(kind) is UnionType:
        kind = next(option for option in get_args(kind) if option is not NoneType)
        if text.lower() == "none":
            return None
    if kind in (int, float):
        return kind(text)
    if kind is bool and text in ("true", "false"):
        return text == "true"
    if get_origin(kind) is tuple:
        return tomllib.loads(f"value = {text if text.startswith('[') else f'[{text}]'}")["value"]
    return text


def _typed(value: object, kind: Any) -> Any:
    """The value as the type, without guessing: raises ValueError if it is of another one."""
    if get_origin(kind) is UnionType:
        if value is None or value == "none":
            return None
        return _typed(value, next(option for option in get_args(kind) if option is not NoneType))
    if get_origin(kind) is Literal:
        if isinstance(value, str) and value in get_args(kind):
            return value
    elif get_origin(kind) is tuple:
        items = get_args(kind)
        if isinstance(value, (list, tuple)) and (items[-1] is ... or len(value) == len(items)):
            return tuple(_typed(item, items[0]) for item in value)
    elif kind is float:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
    elif isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
        return value
    raise ValueError


def _expected(kind: Any) -> str:
    if get_origin(kind) is UnionType:
        return f"{_expected(next(option for option in get_args(kind) if option is not NoneType))}, or none"
    if get_origin(kind) is Literal:
        return f"one of {', '.join(get_args(kind))}"
    if get_origin(kind) is tuple:
        pairs = get_origin(get_args(kind)[0]) is tuple
        return (
            "a list of pairs of class names" if pairs else f"two numbers{' without fraction' * (int in get_args(kind))}"
        )
    return {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}[kind]
