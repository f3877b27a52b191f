"""Training recipes: the settings of a run by name or from a file, published or of one's own.

`recipes.toml` holds the published recipes, named like the models they trained, and our own. A file of one's own is
the same flat table, or `base = "NAME"` and what differs from it.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import MISSING, dataclass, fields
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from tadacli.errors import UsageError
from tadacli.strict_tables import decode_table
from tadacli.training.settings import Augmentation, Optimisation, Recipe

_PARTS = {"optimisation": Optimisation, "augmentation": Augmentation}
# Of each setting as files have it, the default.
_DEFAULTS = {
    each.name: each.default for kind in (Recipe, *_PARTS.values()) for each in fields(kind) if each.name not in _PARTS
}
_TEXTS = ("source", "note")  # belong to one recipe alone


@dataclass(frozen=True)
class RecipeChoice:
    """The name of a known recipe that nobody named, and why it was taken."""

    name: str
    reason: str


def load_recipe(name_or_path: str | Path, overrides: Mapping[str, object] | None = None) -> Recipe:
    """The recipe of a known name or of a flat .toml file, with some settings replaced.

    A file may say `base = "NAME"`, a known recipe, and then only what differs from it. What was changed is added to
    the recipe's `source`.

    Args:
        name_or_path: The name of a known recipe, or a TOML file.
        overrides: Settings by key. Values have the type of their setting, or are texts as a command line gives them
            ("none" where a setting may be None; lists in TOML, where the outer brackets may be left out).

    Returns:
        The recipe.

    Raises:
        UsageError: The recipe or a key is not known, or a value is not allowed; the message names the recipe and the
            key.
    """
    name = str(name_or_path)
    where = f"recipe {name}"
    values = _known_tables().get(name) or _read_file(name)
    changes = _settings(overrides or {}, where=where)
    changes = {key: _from_text(key, value) if isinstance(value, str) else value for key, value in changes.items()}
    return _decoded(_changed(values, changes), where=where)


def recipe_toml(recipe: Recipe) -> str:
    """The recipe as the text of a file that `load_recipe` reads as an equal one; values that are None are left out."""
    return "".join(f"{key} = {_toml(value)}\n" for key, value in recipe.flat().items() if value is not None)


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
        base = known.get(table.pop("base", ""), {})
        inherited = {key: value for key, value in base.items() if key not in _TEXTS}
        known[name] = inherited | _settings(table, where=f"recipe {name}")
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
    own = _settings(table, where=f"recipe {path}")
    if base is None:
        return own
    if str(base) not in known:
        close = _meant(str(base), known).rstrip("; ")
        raise UsageError(f"recipe {path}: base is {base!r}, which is not a known recipe", hint=close)
    return _changed(known[str(base)], own)


def _settings(table: Mapping[str, object], *, where: str) -> dict[str, Any]:
    """A table with tuples for its lists and None for "none" where that is meant; raises for a key that is not known."""
    for key in table:
        if key not in _DEFAULTS:
            raise UsageError(f"{where}: unknown key {key!r}", hint=_meant(key, _DEFAULTS).rstrip("; "))
    return {key: None if _is_none(key, value) else _frozen(value) for key, value in table.items()}


def _is_none(key: str, value: object) -> bool:
    return _DEFAULTS[key] is None and isinstance(value, str) and value.strip().lower() == "none"


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _changed(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The values with the changes made, and the changes named in `source`, so that it does not claim too much."""
    changed = [key for key, value in changes.items() if key not in _TEXTS and values.get(key, _DEFAULTS[key]) != value]
    result = {**values, **changes}
    if changed and values.get("source") and "source" not in changes:
        result["source"] = f"{values['source']}; changed: {', '.join(changed)}"
    return result


def _from_text(key: str, text: str) -> object:
    """What a text of a command line means: a number, true or false, a list, or itself."""
    text = text.strip()
    if isinstance(_DEFAULTS[key], str):
        return text
    for read in (int, float, _toml_value):
        with suppress(ValueError):  # tomllib's own error is one, too
            return read(text)
    return text


def _toml_value(text: str) -> object:
    with suppress(ValueError):
        return tomllib.loads(f"value = {text}")["value"]
    return _frozen(tomllib.loads(f"value = [{text}]")["value"])


def _decoded(values: Mapping[str, Any], *, where: str) -> Recipe:
    missing = [key for key, default in _DEFAULTS.items() if default is MISSING and key not in values]
    if missing:
        hint = 'add what is missing, or base = "finetune" and only what differs'
        raise UsageError(f"{where}: {', '.join(missing)} not given", hint=hint)
    table = dict(values)
    for part, kind in _PARTS.items():
        table[part] = {each.name: table.pop(each.name) for each in fields(kind) if each.name in values}
        decode_table(kind, table[part], where=where, error=UsageError)  # by itself, so that errors name flat keys
    return decode_table(Recipe, table, where=where, error=UsageError)


def _meant(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]}? " if close else f"there are {', '.join(known)}; "
