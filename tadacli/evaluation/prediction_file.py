"""Predictions on disk: the scores of every item of a data set, one line each, in a file that grows and resumes.

The first line says what made them; each further one is an item with all its scores. So a run that was killed loses
the item it was at, shards are joined line by line, and every metric can be computed again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NotRequired, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypedDict

from tadacli.datasets.samples import Sample
from tadacli.errors import OutputError, TadaError, UsageError
from tadacli.evaluation.predictions import ScoreTable
from tadacli.files import held_file, not_written, require_folder, write_new
from tadacli.results import Run, RunSettings, SpecSummary, Status
from tadacli.results.json_ready import Count, Number
from tadacli.strict_tables import decode_table, parse_json
from tadacli.video.inputs import file_size

KIND = "tada predictions 1"
# What may differ in files that are joined: machines have different numbers of threads.
_OF_A_SHARD = ("shard", "threads")
_NO_PREDICTIONS = partial(UsageError, hint="make them with tada eval --save-predictions")
_DAMAGED_LINE = partial(UsageError, hint="remove the line, then use --resume")
Line = TypeVar("Line")


@dataclass(frozen=True)
class ItemScores:
    """The scores of one item by head, (num_classes,) probabilities with seven digits; or why it has none.

    `status` is "ok", "short" (fewer frames than a clip spans, so that some were repeated) or "error" (then `error`
    says why). `cut_seconds` is how much of the span lies after the end of the video.
    """

    id: str
    path: str
    status: Status
    error: str = ""
    scores: Mapping[str, Sequence[float] | NDArray[np.float64]] = field(default_factory=dict)
    start_seconds: float | None = None
    end_seconds: float | None = None
    cut_seconds: float = 0.0
    size_bytes: int | None = None


@dataclass(frozen=True)
class Shard:
    """Part `number` (from 1) of `count`. Raises `UsageError` for one that there is not."""

    number: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise UsageError(f"there is no shard {self}", hint="use 1/8 to 8/8, for example")

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


def parse_shard(text: str) -> Shard:
    """The shard of "3/8". Raises `UsageError` for anything else."""
    number, slash, count = text.partition("/")
    with contextlib.suppress(UsageError):
        if slash and all(part.isascii() and part.isdigit() for part in (number, count)):
            return Shard(int(number), int(count))
    raise UsageError(f"shard {text!r} cannot be read", hint="give part and number of parts, for example --shard 3/8")


@dataclass(frozen=True)
class Header:
    """What the predictions of a file are of, and what made them; `heads` are the class names by head.

    `num_items` counts the samples of the whole split, also in the file of a shard.
    """

    dataset: str
    split: str
    num_items: int
    shard: Shard | None
    run: Run
    heads: Mapping[str, tuple[str, ...]]

    def encode(self) -> bytes:
        """The first line of the file."""
        shard = None if self.shard is None else str(self.shard)
        facts = {"dataset": self.dataset, "split": self.split, "num_items": self.num_items, "shard": shard}
        heads = {name: list(labels) for name, labels in self.heads.items()}
        return _line({"kind": KIND, **facts, **vars(self.run), "heads": heads})

    def differences(self, other: Header, *, but: Sequence[str] = ()) -> list[str]:
        """What another header says otherwise, in words, `but` for facts of these names."""
        here, there = self._facts(), other._facts()
        keys = [key for key in {**here, **there} if here.get(key) != there.get(key) and key not in but]
        return [key if key == "classes" else f"{key} {here.get(key)}, now {there.get(key)}" for key in keys]

    def _facts(self) -> dict[str, Any]:
        return {
            "dataset": self.dataset,
            "split": self.split,
            "shard": self.shard,
            "items": self.num_items,
            "tada": self.run.tool_version,
            "weights": self.run.weights_sha256,
            "model": self.run.spec,
            "classes": {head: tuple(labels) for head, labels in self.heads.items()},
            **self.run.settings,
        }


@dataclass(frozen=True, eq=False)
class SavedPredictions:
    """The predictions of one run: `table` has the items with scores, `failed` the reason of each of the others.

    `num_short` items are shorter than a clip; `cut_seconds`, by id, is how much of a span is after its video.
    `missing` are the other shards of the run.
    """

    header: Header
    table: ScoreTable
    failed: Mapping[str, str]
    num_short: int
    cut_seconds: Mapping[str, float]
    missing: tuple[Shard, ...] = ()

    @property
    def num_items(self) -> int:
        """Items that are done, with or without scores."""
        return len(self.table.ids) + len(self.failed)


def samples_digest(samples: Sequence[Sample]) -> str:
    """A hash of the ids, spans and rates of all samples, which tells predictions from those of other annotations."""
    spans = [
        [sample.id, sample.start_seconds, sample.end_seconds, *([] if sample.fps is None else [sample.fps])]
        for sample in samples
    ]
    return hashlib.sha256(json.dumps(spans).encode()).hexdigest()[:16]


class PredictionFile:
    """Items are appended as they come; when `add` returns, the file holds the item.

    A file that is there already is continued with `resume`, or refused; one run at a time has it. `done` is the
    status of each item that the file holds, by id.

    Args:
        path: The file.
        header: What its predictions are of.
        paths: The videos of all items by id, empty for those without; items whose video is another one now, by its
            path or size, are dropped.
        resume: Whether the file may be there.

    Raises:
        OutputError: It cannot be written, is another run's at the moment, or holds something else.
    """

    def __init__(self, path: str | os.PathLike[str], header: Header, *, paths: Mapping[str, str], resume: bool) -> None:
        self._path, self._paths = Path(path), paths
        self.done: dict[str, str] = {}
        self._stream = self._opened(resume=resume)
        try:
            self._begin(header)
        except OSError as error:
            self.close()
            raise self._failed(error) from error
        except TadaError:
            self.close()
            raise

    def add(self, item: ItemScores) -> None:
        """Append one item."""
        position = self._stream.tell()
        try:
            self._stream.write(_line(vars(item)))
            self._stream.flush()
        except OSError as error:
            with contextlib.suppress(OSError):  # the buffered half cannot be written; what was is removed next
                self._stream.close()
            os.truncate(self._path, position)
            raise self._failed(error) from error
        self.done[item.id] = item.status

    def close(self) -> None:
        """Close the file as it is; it can be resumed."""
        with contextlib.suppress(OSError):  # of a full disk: what could not be written has raised its error
            self._stream.close()

    def _opened(self, *, resume: bool) -> BinaryIO:
        """The file, which is this run's alone until it is closed."""
        if self._path.exists() and not self._path.is_file():
            raise OutputError(f"{self._path} is not a regular file", hint="give another --save-predictions")
        if not resume and os.path.lexists(self._path):
            raise OutputError(
                f"{self._path} exists and is not overwritten",
                hint="continue it with --resume, give another --save-predictions, or remove it",
            )
        require_folder(self._path)
        try:
            return held_file(self._path, create=True, resume=resume)
        except OSError as error:
            raise not_written(self._path, error) from error

    def _begin(self, header: Header) -> None:
        """Keep the items that still hold, and put the file's position after them."""
        there = self._stream.read()
        content = header.encode() + b"".join(self._kept(there, header))
        if there.startswith(content):
            self._stream.truncate(len(content))
        elif content.startswith(there):
            self._stream.write(content[len(there) :])
            self._stream.flush()
        else:
            write_new(self._path, content, replace=True)
            self._stream.close()
            self._stream = held_file(self._path, create=False, resume=True)
        self._stream.seek(0, os.SEEK_END)

    def _kept(self, content: bytes, header: Header) -> list[bytes]:
        """The lines after the first that still hold."""
        first = header.encode()
        if first.startswith(content):  # new, or killed within the first line
            return []
        if not content.startswith(first):
            raise self._other(content, header)
        kept = []
        lines = content[: content.rfind(b"\n") + 1].splitlines(keepends=True)[1:]
        for number, line in enumerate(lines, start=2):
            item = _read_item(line, header, f"{self._path}, line {number}")
            now = self._paths.get(item.id)
            if item.path == now and item.size_bytes == (file_size(now) if now else None):
                self.done[item.id] = item.status
                kept.append(line)
        return kept

    def _other(self, content: bytes, header: Header) -> OutputError:
        try:
            there = _read_header(content.partition(b"\n")[0], os.fspath(self._path))
        except UsageError:
            return OutputError(
                f"{self._path} holds no predictions of this tool", hint="give another --save-predictions"
            )
        differing = there.differences(header) or [f"run {there.run.id}, now {header.run.id}"]
        return OutputError(
            f"{self._path} was made with other settings ({'; '.join(differing)})",
            hint="resume with the same data set, model, weights, options, version and number of threads "
            "(OMP_NUM_THREADS), or give another file",
        )

    def _failed(self, error: OSError) -> OutputError:
        hint = "what it holds is whole; free some space or give another file, then use --resume"
        return not_written(self._path, error, hint=hint)


def is_prediction_file(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins as one of ours does."""
    try:
        with Path(path).open("rb") as file:
            return file.read(len(KIND) + 11).startswith(f'{{"kind": "{KIND}"'.encode())
    except OSError:
        return False


def read_predictions(paths: Sequence[str | os.PathLike[str]]) -> SavedPredictions:
    """The predictions of one file, or of the shards of one run, in any order.

    Raises `UsageError` for a file that is none of ours, files of different runs, and an item that stands in two.
    """
    header: Header | None = None
    items: list[ItemScores] = []
    shards: list[Shard | None] = []
    place_of: dict[str, str] = {}
    for path in paths:
        shown = os.fspath(path)
        lines = _whole_lines(shown)
        own = _read_header(next(lines, b""), shown)
        header = header or own
        shards.append(own.shard)
        differing = header.differences(own, but=_OF_A_SHARD)
        if differing:
            raise UsageError(
                f"{os.fspath(paths[0])} and {shown} are not of one run: {'; '.join(differing)}",
                hint="join shards that were made with the same data set, model, weights, options and version",
            )
        for number, line in enumerate(lines, start=2):
            item = _read_item(line, own, f"{shown}, line {number}")
            if item.id in place_of:
                raise UsageError(
                    f"{item.id} stands in {place_of[item.id]} and in {shown}", hint="give each shard of a run once"
                )
            place_of[item.id] = shown
            items.append(item)
    if header is None:
        raise UsageError("no file of predictions was given")
    return replace(of_items(header, items), missing=_missing(shards))


def _missing(shards: Sequence[Shard | None]) -> tuple[Shard, ...]:
    """The shards that these lack to a whole run."""
    counts = {shard.count for shard in shards if shard is not None}
    if None in shards or len(counts) != 1:
        return ()
    (count,) = counts
    whole = (Shard(number, count) for number in range(1, count + 1))
    return tuple(shard for shard in whole if shard not in shards)


def of_items(header: Header, items: Sequence[ItemScores]) -> SavedPredictions:
    """The predictions that these items are."""
    scored = [item for item in items if item.status != "error"]
    scores = {
        head: np.array([item.scores[head] for item in scored], dtype=np.float64).reshape(len(scored), len(labels))
        for head, labels in header.heads.items()
    }
    return SavedPredictions(
        header=header,
        table=ScoreTable(np.array([item.id for item in scored], dtype=np.str_), scores),
        failed={item.id: item.error for item in items if item.status == "error"},
        num_short=sum(item.status == "short" for item in scored),
        cut_seconds={item.id: item.cut_seconds for item in scored if item.cut_seconds},
    )


def _line(value: Mapping[str, Any]) -> bytes:
    """One line of JSON; what is no text in UTF-8, as file names may be, is escaped."""
    return json.dumps(value).encode() + b"\n"


def _whole_lines(shown: str) -> Iterator[bytes]:
    """The lines that were written to their end: the last one may be half, if the run was killed."""
    try:
        with Path(shown).open("rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    yield line
    except FileNotFoundError as error:
        raise UsageError(f"there is no file {shown}", hint="make one with --save-predictions") from error
    except OSError as error:
        raise UsageError(f"{shown} cannot be read: {error.strerror or error}") from error


class HeaderLine(TypedDict):
    """The first line: what the predictions are of, and what made them, as `Run` has it."""

    kind: str
    dataset: str
    split: str
    num_items: Count
    shard: str | None
    tool_version: str
    weights_sha256: str
    spec: SpecSummary
    settings: RunSettings
    id: str
    heads: dict[str, list[str]]


class ItemLine(TypedDict):
    """Each further line: an `ItemScores`, whose defaults earlier versions may leave out."""

    id: str
    path: str
    status: Status
    error: NotRequired[str]
    scores: NotRequired[dict[str, list[Number]]]
    start_seconds: NotRequired[Number | None]
    end_seconds: NotRequired[Number | None]
    cut_seconds: NotRequired[Number]
    size_bytes: NotRequired[Count | None]


def _read_header(line: bytes, shown: str) -> Header:
    about = _decoded(HeaderLine, line, f"{shown} holds no predictions of this tool", _NO_PREDICTIONS)
    if about["kind"] != KIND:
        raise _NO_PREDICTIONS(f"{shown} holds no predictions of this tool: its kind is {about['kind']!r}")
    return Header(
        dataset=about["dataset"],
        split=about["split"],
        num_items=about["num_items"],
        shard=None if about["shard"] is None else parse_shard(about["shard"]),
        run=Run(about["tool_version"], about["weights_sha256"], about["spec"], about["settings"], about["id"]),
        heads={name: tuple(labels) for name, labels in about["heads"].items()},
    )


def _read_item(line: bytes, header: Header, place: str) -> ItemScores:
    item = _decoded(ItemLine, line, f"{place} is damaged", _DAMAGED_LINE)
    scores = item.get("scores", {})
    sizes = {head: len(values) for head, values in scores.items()}
    if sizes != ({} if item["status"] == "error" else {head: len(names) for head, names in header.heads.items()}):
        raise _DAMAGED_LINE(f"{place} does not have the scores of all classes")
    return ItemScores(
        id=item["id"],
        path=item["path"],
        status=item["status"],
        error=item.get("error", ""),
        # Arrays take a quarter of the memory of lists.
        scores={head: np.array(values, dtype=np.float64) for head, values in scores.items()},
        start_seconds=item.get("start_seconds"),
        end_seconds=item.get("end_seconds"),
        cut_seconds=item.get("cut_seconds", 0.0),
        size_bytes=item.get("size_bytes"),
    )


def _decoded(kind: type[Line], line: bytes, where: str, error: Callable[[str], TadaError]) -> Line:
    """A line as what it may hold, or an error that begins with `where`."""
    try:
        value = parse_json(line)
    except ValueError as problem:
        raise error(f"{where}: {problem}") from problem
    if not isinstance(value, dict):
        raise error(f"{where}: it is no object")
    decode_table(kind, value, where=where, error=error)
    return cast("Line", value)  # as it is: settings keep their order, in which reports write them
