"""Tables become dataclasses, or an error that names the key by its whole path."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from tadacli.errors import SpecError, UsageError
from tadacli.strict_tables import decode_table, parse_json


@dataclass(frozen=True)
class Inner:
    size: int
    flip: Literal["none", "plain"] = "plain"

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"size is {self.size}, and must be positive")


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner
    rates: tuple[float, ...] = ()
    labels: dict[str, tuple[str, ...]] = field(default_factory=dict)


def test_a_table_becomes_the_dataclass() -> None:
    table = {"name": "a", "inner": {"size": 2, "flip": "none"}, "rates": [1, 0.5], "labels": {"": ["x"]}}
    assert decode_table(Outer, table, where="here") == Outer("a", Inner(2, "none"), (1.0, 0.5), {"": ("x",)})
    assert decode_table(Outer, {"name": "a", "inner": {"size": 1}, "rates": [math.inf]}, where="h").rates == (math.inf,)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"extra": 1}, "here: unknown key extra"),
        ({"inner": {"size": 1, "sise": 2}}, "here: unknown key inner.sise"),
        ({"inner": {}}, "here: inner.size is missing"),
        ({"inner": {"size": True}}, "here: inner.size has the wrong type"),
        ({"inner": {"size": 1.5}}, "here: inner.size has the wrong type"),
        ({"inner": {"size": "1"}}, "here: inner.size has the wrong type"),
        ({"inner": {"size": 1, "flip": "some"}}, 'here: inner.flip has the wrong type or value, got "some"'),
        ({"inner": {"size": 0}}, "here: inner: size is 0, and must be positive"),
        ({"rates": [1, "2"]}, "here: rates.1 has the wrong type"),
        ({"labels": {"verb": "x" * 200}}, "here: labels.verb has the wrong type"),
        ({"name": None}, "here: name has the wrong type or value, got null"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError) as caught:
        decode_table(Outer, {"name": "a", "inner": {"size": 1}, **change}, where="here")
    assert caught.value.message.startswith(said)
    assert len(caught.value.message) < 250


@pytest.mark.parametrize("key", ["\x1b[31mred\n", "\u202ekey", "k" * 500])
def test_a_key_from_outside_cannot_write_on_the_terminal(key: str) -> None:
    with pytest.raises(SpecError) as caught:
        decode_table(Outer, {"name": "a", "inner": {"size": 1}, key: 1}, where="here")
    with pytest.raises(ValueError, match="stands there twice") as twice:
        parse_json(f'{{"{json_text(key)}": 1, "{json_text(key)}": 2}}')
    for message in (caught.value.message, str(twice.value)):
        assert message.isprintable()
        assert len(message) < 120


def json_text(text: str) -> str:
    return json.dumps(text)[1:-1]


def test_the_class_of_the_error_is_the_callers() -> None:
    with pytest.raises(UsageError, match="name is missing; inner is missing"):
        decode_table(Outer, {}, where="row 3", error=UsageError)


def test_a_key_that_stands_there_twice_is_refused() -> None:
    assert parse_json('{"a": 1, "b": {"a": 2}}') == {"a": 1, "b": {"a": 2}}
    with pytest.raises(ValueError, match="'a' stands there twice"):
        parse_json('{"b": {"a": 1, "a": 2}}')
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_json("[" * 100_000)
