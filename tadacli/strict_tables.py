"""Tables from outside as frozen dataclasses: every key known, every value of its declared type, or an error.

A table is what a TOML or JSON text holds. The dataclass is the one declaration of what it may hold; checks that a type
cannot say belong in its `__post_init__`, as a `ValueError`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_type_hints

from tadacli.errors import SpecError, TadaError

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, TypeAdapter
    from pydantic_core import CoreSchema, ErrorDetails

T = TypeVar("T")
_ADAPTERS: dict[Any, TypeAdapter[Any]] = {}
_MOST_SHOWN, _MOST_PROBLEMS, _LONGEST_REASON = 60, 8, 200
_UNKNOWN_KEYS = ("unexpected_keyword_argument", "extra_forbidden")


@contextmanager
def refusing(file: object, error: Callable[[str], TadaError]) -> Iterator[None]:
    """Whatever goes wrong inside, where a file from outside is read, leaves as one known error.

    Args:
        file: What the error calls the file.
        error: Its class, or what makes one of its message. Other errors of ours go through as they are.
    """
    try:
        yield
    except TadaError:
        raise
    except Exception as found:  # bytes from anywhere make a reader fail in any way
        says_why = isinstance(found, (ValueError, OSError)) and str(found)
        what = in_one_line(str(found) if says_why else f"{type(found).__name__} {found}", most=_LONGEST_REASON)
        raise error(f"{file} is damaged, or not what it claims to be: {what}") from found


class Finite:
    """Of an `Annotated` whole number or float: it must be finite, and no larger than a float can be."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, _: GetCoreSchemaHandler) -> CoreSchema:
        """What pydantic asks for when it comes to such a number."""
        from pydantic_core import core_schema

        if source is float:
            return core_schema.float_schema(allow_inf_nan=False)
        largest = int(sys.float_info.max)
        return core_schema.int_schema(ge=-largest, le=largest)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, _: GetJsonSchemaHandler) -> dict[str, str]:
        """What a JSON Schema says of such a number; limits of three hundred digits help nobody."""
        return {"type": "number" if schema["type"] == "float" else "integer"}


def decode_table(
    kind: type[T],
    table: Mapping[str, Any] | Sequence[Any],
    *,
    where: str,
    error: Callable[[str], TadaError] = SpecError,
    others: Literal["forbid", "ignore"] = "forbid",
) -> T:
    """A table as a value of a dataclass, a `typing_extensions.TypedDict` or another type that pydantic knows.

    Whole numbers are taken for floats, lists for tuples; nothing else is converted.

    Args:
        kind: The type that declares the keys, their types and their defaults.
        table: The values, as `json.loads` or `tomllib.loads` gives them.
        where: What the table is, for errors: "tada2d_r50.ssv2_8f", "recipes.toml: default".
        error: The class of the error, or what makes one of its message.
        others: What becomes of keys that the type does not declare: tables of other programs have many.

    Returns:
        The value.

    Raises:
        TadaError: A key is missing or unknown, or a value is of another type or refused by the type. The message names
            `where`, the whole path of the key and the value. Its class is `error`.
    """
    from pydantic import ValidationError
    from typing_extensions import is_typeddict

    try:
        value: T
        if is_typeddict(kind):  # as it is: JSON for pydantic has no place for the bytes of a name that is not UTF-8
            value = _adapter(kind).validate_python(table, strict=True, extra=others)
        else:  # as JSON, where a table may become a dataclass and a list a tuple though all else is strict
            value = _adapter(kind).validate_json(json.dumps(table, default=str), strict=True, extra=others)
        return value
    except ValidationError as found:
        problems = [_said(each) for each in found.errors(include_url=False)]
        more = [f"and {len(problems) - _MOST_PROBLEMS} more"] if len(problems) > _MOST_PROBLEMS else []
        raise error(f"{where}: {'; '.join([*problems[:_MOST_PROBLEMS], *more])}") from None


def check_arguments(
    function: Callable[..., object],
    arguments: Mapping[str, Any],
    *,
    where: str,
    error: Callable[[str], TadaError] = SpecError,
) -> None:
    """Checks keyword arguments from outside against the types that a function declares.

    Args:
        function: All of its parameters have types, and none takes what is left over.
        arguments: By name.
        where: What the arguments are, for errors.
        error: The class of the error, or what makes one of its message.

    Raises:
        TadaError: One is missing, unknown or of another type, as `decode_table` says it.
    """
    decode_table(_table_of(function), dict(arguments), where=where, error=error)


@cache
def _table_of(function: Callable[..., object]) -> Any:
    """The parameters of a function as a `TypedDict`."""
    from typing import NotRequired

    from typing_extensions import TypedDict

    hints = get_type_hints(function)
    fields = {
        name: hints[name] if each.default is Parameter.empty else NotRequired[hints[name]]
        for name, each in signature(function).parameters.items()
        if name in hints  # `self` has no type
    }
    make_type: Any = TypedDict  # which to a type checker is a form with keys that it knows
    return make_type("Arguments", fields)


def parse_json(text: str | bytes) -> Any:
    """A JSON text, in which no object has a key twice.

    Args:
        text: The text, or its UTF-8 bytes.

    Returns:
        What it holds.

    Raises:
        ValueError: The text is not JSON, is nested too deeply, or an object has a key twice.
    """
    try:
        return json.loads(text, object_pairs_hook=_no_key_twice)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _adapter(kind: Any) -> TypeAdapter[Any]:
    """The adapter of a type, made once."""
    from pydantic import TypeAdapter

    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in pairs:
        if key in values:
            raise ValueError(f"the key '{in_one_line(key)}' stands there twice")
        values[key] = value
    return values


def _said(problem: ErrorDetails) -> str:
    """One problem in words, with the whole path of its key."""
    key = ".".join(
        in_one_line(str(part)) or "(single)" for part in problem["loc"]
    )  # the one head of a model has no name
    if problem["type"] == "missing":
        return f"{key} is missing"
    if problem["type"] in _UNKNOWN_KEYS:
        return f"unknown key {key}"
    if problem["type"] == "value_error":  # raised by a dataclass itself, in our words
        return f"{key}: {problem['ctx']['error']}" if key else str(problem["ctx"]["error"])
    shown = in_one_line(json.dumps(problem["input"], ensure_ascii=True))
    return f"{key} has the wrong type or value, got {shown} ({problem['msg'][0].lower()}{problem['msg'][1:]})"


def in_one_line(text: str, *, most: int = _MOST_SHOWN) -> str:
    """Text from outside in one line of about `most` characters at most, in which nothing moves the terminal."""
    line = "".join(each if each.isprintable() else f"\\u{ord(each):04x}" for each in text[: most + 1])
    return line if len(text) <= most else line[:most] + "..."
