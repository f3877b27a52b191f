"""What a run has done and tried: one record for each input, put there once, and a mark for each attempt at one.

A worker first looks for the record, then marks its attempt, then works, then puts the record. So a call that runs twice
counts once, a run that is killed goes on after its records, and an input at which three workers have ended gets a
record of that instead of a fourth.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from tadacli.cluster.stores import Store
from tadacli.errors import OutputError
from tadacli.results import Run
from tadacli.strict_tables import decode_table, parse_json, refusing

Kind = Literal["classify", "detect", "features", "eval"]
MOST_ATTEMPTS = 3
_VERSION = 1
_RUN = "run.json"


@dataclass(frozen=True)
class Begun:
    """What a run folder is for: the results of a command, and the run that they belong to.

    `about` is what else the file of results says, once for all of them.
    """

    kind: Kind
    run: Run
    about: dict[str, Any] = field(default_factory=dict)
    version: int = _VERSION


@dataclass(frozen=True)
class Attempt:
    """The mark of one attempt at an input, by its id and a number from 1 on."""

    id: str
    number: int

    @property
    def name(self) -> str:
        """The name of its object."""
        return f"attempts/{self.id[:2]}/{self.id}.{self.number}"


class Ledger:
    """The records of one run.

    Args:
        store: Where they are.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def place(self) -> str:
        """Where it is, as a person names it."""
        return self._store.place

    @property
    def store(self) -> Store:
        """Where it is kept."""
        return self._store

    def begun(self) -> Begun | None:
        """What the folder is for, None where nothing has begun.

        Raises:
            OutputError: It holds something else.
        """
        content = self._store.get(_RUN)
        if content is None:
            return None
        with refusing(f"{self.place}/{_RUN}", OutputError):
            facts = parse_json(content)
            begun = decode_table(Begun, facts, where=f"{self.place}/{_RUN}", error=OutputError)
            # What is checked has its keys in another order, and files are to have that in which they were written.
            spec, settings = facts["run"]["spec"], facts["run"]["settings"]
            about = facts.get("about", {})
            return replace(begun, run=replace(begun.run, spec=spec, settings=settings), about=about)

    def claim(self, kind: Kind, run: Run, about: Mapping[str, Any] | None = None) -> None:
        """Make it the folder of a run, or find that it is.

        Args:
            kind: The command whose results are kept.
            run: What they are made with.
            about: What else the file of results says.

        Raises:
            OutputError: It holds another run; what differs is said.
        """
        own = Begun(kind, run, dict(about or {}))
        if self._store.put_if_absent(_RUN, json.dumps(asdict(own), indent=1).encode() + b"\n"):
            return
        there = self.begun()
        if there is None:
            raise OutputError(f"{self.place}/{_RUN} is gone", hint="another program removes what is there")
        differing = differences(asdict(there), asdict(own))
        if there.run.id != run.id and not differing:
            differing = [f"the names of classes or what else makes run {there.run.id} there and {run.id} now"]
        if differing:
            raise OutputError(
                f"{self.place} holds another run: {'; '.join(differing)}",
                hint="go on with the same command, model, options and versions, or give another --output",
            )

    # --- results --------------------------------------------------------------------------------------

    def commit(self, item_id: str, row: Mapping[str, Any]) -> bool:
        """Keep the result of an input, unless one is there; whether it was this one."""
        content = json.dumps(row, ensure_ascii=True, allow_nan=False).encode() + b"\n"
        return self._store.put_if_absent(_result(item_id), content)

    def row(self, item_id: str) -> dict[str, Any] | None:
        """The result of an input, None where there is none.

        Raises:
            OutputError: What is there is none.
        """
        content = self._store.get(_result(item_id))
        if content is None:
            return None
        where = f"{self.place}/{_result(item_id)}"
        with refusing(where, OutputError):
            row = parse_json(content)
            if not (isinstance(row, dict) and isinstance(row.get("path"), str) and isinstance(row.get("status"), str)):
                raise ValueError("it is no result")
            return row

    def discard(self, item_id: str) -> None:
        """Take away what is kept of a share, when the result of the whole is there."""
        self._store.remove(_result(item_id))

    def committed(self) -> Iterator[str]:
        """The ids of all inputs whose result is there."""
        for name in self._store.names("results"):
            yield name.rpartition("/")[2].removesuffix(".json")

    # --- attempts -------------------------------------------------------------------------------------

    def attempt(self, item_id: str, worker: str) -> Attempt | None:
        """Mark that a worker begins with an input.

        Args:
            item_id: The input.
            worker: The worker's name.

        Returns:
            The attempt; None where as many workers as may have ended with this input.
        """
        content = json.dumps({"worker": worker}).encode()
        for number in range(1, MOST_ATTEMPTS + 1):
            attempt = Attempt(item_id, number)
            if self._store.put_if_absent(attempt.name, content):
                return attempt
        return None

    def withdraw(self, attempt: Attempt) -> None:
        """Take a mark away: the input is done, or the worker's end was not its fault."""
        self._store.remove(attempt.name)

    def attempt_of(self, item_id: str, worker: str) -> Attempt | None:
        """The attempt of a worker at an input, None where it is not marked."""
        for number in range(1, MOST_ATTEMPTS + 1):
            attempt = Attempt(item_id, number)
            if self._mark(attempt).get("worker") == worker:
                return attempt
        return None

    def explain(self, attempt: Attempt, worker: str, why: str) -> None:
        """Say of an attempt why its worker ended, unless that is said."""
        mark = self._mark(attempt)
        if mark.get("worker") == worker and "why" not in mark:
            self._store.put(attempt.name, json.dumps({**mark, "why": why}).encode())

    def reasons(self, item_id: str) -> list[str]:
        """Why workers ended with an input, as far as it is known, each reason once."""
        marks = [self._mark(Attempt(item_id, number)) for number in range(1, MOST_ATTEMPTS + 1)]
        return list(dict.fromkeys(str(mark["why"]) for mark in marks if "why" in mark))

    def withdraw_unexplained(self) -> None:
        """Take away the marks that nobody says the reason of: those of workers that ended with their driver."""
        for name in list(self._store.names("attempts")):
            item_id, _, number = name.rpartition("/")[2].partition(".")
            if number.isdigit() and "why" not in self._mark(Attempt(item_id, int(number))):
                self._store.remove(name)

    def _mark(self, attempt: Attempt) -> dict[str, Any]:
        content = self._store.get(attempt.name)
        with refusing(f"{self.place}/{attempt.name}", OutputError):
            mark = parse_json(content) if content else {}
            if not isinstance(mark, dict):
                raise ValueError("it is no attempt")
            return mark


def _result(item_id: str) -> str:
    return f"results/{item_id[:2]}/{item_id}.json"


def differences(there: Mapping[str, Any], now: Mapping[str, Any], *, within: str = "") -> list[str]:
    """What two nested tables say differently, in words, each value by its dotted name.

    Args:
        there: The one.
        now: The other.
        within: What the names begin with.

    Returns:
        A text for each value that differs, but for ids, which follow from the others.
    """
    found: list[str] = []
    for key in {**there, **now}:
        name, one, other = f"{within}{key}", there.get(key), now.get(key)
        if one == other or name == "run.id":
            continue
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            found += differences(one, other, within=f"{name}.")
        else:
            found.append(f"{name.removeprefix('run.')} is {_told(one)} there and {_told(other)} now")
    return found


def _told(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:12]}..."
