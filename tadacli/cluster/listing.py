"""Which inputs a run has, in their order: written as they are read, for results to be put in that order."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from typing import NamedTuple

from tadacli.cluster.stores import Store
from tadacli.errors import OutputError
from tadacli.formats.tables import PART_COLUMNS
from tadacli.strict_tables import parse_json, refusing
from tadacli.video.lists import ListedPart

_IN_A_PART = 10_000
_WHOLE = "inputs.json"


class Listing:
    """Writes the list of inputs; it counts when it is closed, in place of an earlier one.

    Args:
        store: Where to.
    """

    def __init__(self, store: Store) -> None:
        self._store, self._name = store, secrets.token_hex(4)
        self._lines: list[str] = []
        self.count = 0
        self._num_parts, self._has_parts = 0, False

    def add(self, path: str, item_id: str) -> None:
        """One more input, with the id of its result."""
        self._lines.append(json.dumps([item_id, path]))
        self._has_parts = self._has_parts or isinstance(path, ListedPart)
        self.count += 1
        if len(self._lines) == _IN_A_PART:
            self._write()

    def close(self) -> None:
        """There are no more."""
        self._write()
        facts: dict[str, object] = {"list": self._name, "parts": self._num_parts, "count": self.count}
        facts |= {"columns": list(PART_COLUMNS)} if self._has_parts else {}
        earlier = read_facts(self._store)
        self._store.put(_WHOLE, json.dumps(facts).encode() + b"\n")
        if earlier is not None:
            for number in range(earlier.num_parts):
                self._store.remove(_part(earlier.name, number))

    def _write(self) -> None:
        if self._lines:
            self._store.put(_part(self._name, self._num_parts), ("\n".join(self._lines) + "\n").encode())
            self._num_parts += 1
            self._lines = []


def _part(name: str, number: int) -> str:
    return f"inputs/{name}-{number:06}.jsonl"


class ListFacts(NamedTuple):
    """A list that is whole: its name, how many parts it has, how many inputs, and what columns tables of them need."""

    name: str
    num_parts: int
    num_inputs: int
    columns: tuple[str, ...] = ()


def read_facts(store: Store) -> ListFacts | None:
    """What is known of the list, None where none is whole yet. Raises `OutputError` where that is damaged."""
    content = store.get(_WHOLE)
    if content is None:
        return None
    with refusing(f"{store.place}/{_WHOLE}", OutputError):
        facts = parse_json(content)
        name, parts, count = str(facts["list"]), int(facts["parts"]), int(facts["count"])
        columns = tuple(facts.get("columns", ()))
        if not name.isalnum() or parts < 0 or count < 0 or not {*columns} <= {*PART_COLUMNS}:
            raise ValueError("it is no list of inputs")
        return ListFacts(name, parts, count, columns)


def listed_ids(store: Store) -> Iterator[tuple[str, str]]:
    """The id of each input's result, and its path, in order.

    Args:
        store: Where they were written.

    Raises:
        OutputError: They have not been read to their end yet, or the list is damaged.
    """
    facts = read_facts(store)
    if facts is None:
        raise OutputError(
            f"{store.place} does not have all of its inputs yet", hint="go on with the same command and --resume"
        )
    for number in range(facts.num_parts):
        part = _part(facts.name, number)
        content = store.get(part)
        with refusing(f"{store.place}/{part}", OutputError):
            if content is None:
                raise ValueError("it is gone")
            for line in content.splitlines():
                item_id, path = parse_json(line)
                yield str(item_id), str(path)
