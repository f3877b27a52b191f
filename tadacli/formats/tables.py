"""Tables of results that people open: what a spreadsheet shows, a line for each segment or prediction.

What all lines have in common, the settings above all, stands once in a companion beside the file (see `companion`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeAlias

from typing_extensions import TypedDict

from tadacli.errors import UsageError
from tadacli.formats.detection_rows import detection_csv_rows
from tadacli.formats.records import Csv, encode_json
from tadacli.formats.rows import SCHEMA_VERSION, AnyRow, ClassificationRow, DetectionRow, Row, csv_rows
from tadacli.results import Run, RunSettings, SpecSummary

Columns: TypeAlias = Mapping[str, str]  # what each of them says, by name

# The columns that hold numbers; the others hold text.
COUNTS = frozenset(
    "rank index verb noun num_frames windows windows_planned size_bytes num_rows start_frame end_frame".split()
)
SECONDS_AND_SCORES = frozenset(
    (
        "start_seconds end_seconds video_start_seconds duration_seconds score peak_score fps "
        "part_start_seconds part_end_seconds"
    ).split()
)
# By these a file is taken up again: they are in every table.
_BOOKKEEPING: Columns = {
    "size_bytes": "size of the video's file",
    "num_rows": "how many lines this video has",
    "run": "what it was made with: runs in the companion file have it",
}
_OUTCOME: Columns = {
    "status": "ok, short or partial, or error",
    "error": "why there is no result",
}
# These stand beside the times in seconds.
_TIMES: Columns = {
    "start_timecode": "the same as SMPTE timecode, from that of the video's first frame on",
    "end_timecode": "timecode of the first frame after the segment",
    "start_frame": "number of the segment's first frame, the video's first being 0",
    "end_frame": "number of the first frame after the segment",
}
# What a list said of videos: of these alone, so that "all" does not mean them.
PART_COLUMNS: Columns = {
    "id": "the id that a list gave the video, or the part of it",
    "part_start_seconds": "where the part starts that a list named, presentation time",
    "part_end_seconds": "where it ends",
}
_ABOUT: Columns = {
    "model": "name of the model",
    "task": "what the model was made for",
    "notes": "what else to know of the result",
    "duration_seconds": "length of the video",
    "weights_sha256": "hash of the model's weights",
    "tool_version": "version of tada",
    "spec": "the model's settings, JSON",
    "settings": "the settings of the run, JSON",
}


@dataclass(frozen=True)
class Table(Generic[AnyRow]):
    """What a table of results can have: `columns` always, `more` if they are asked for, and lines made by `flatten`.

    `earlier` are the columns, and the last of them that were `new` then, that earlier versions wrote.
    """

    name: str
    columns: Columns
    more: Columns
    flatten: Callable[[AnyRow], list[dict[str, str]]]
    earlier: Sequence[str]
    num_new: int = 0

    def with_columns(self, more: Sequence[str]) -> dict[str, str]:
        """The columns of a table with `more` than usual, in order. Raises `UsageError` for one that is not known."""
        unknown = [name for name in more if name not in self.more and name not in self.columns and name != "all"]
        if unknown:
            raise UsageError(
                f"there is no column {unknown[0]!r} of {self.name}", hint=f"add some of {', '.join(self.more)}, or all"
            )
        is_all = "all" in more
        wanted = [name for name in self.more if name in more or (is_all and name not in PART_COLUMNS)]
        tail = {**_OUTCOME, **_BOOKKEEPING}
        times = {name: self.more[name] for name in wanted if name in _TIMES}
        first: dict[str, str] = {}
        for name, said in self.columns.items():
            if name not in tail:
                first |= {name: said, **(times if name == "end_seconds" else {})}
        return {**first, **_OUTCOME, **{name: self.more[name] for name in wanted}, **_BOOKKEEPING}


CLASSIFICATIONS: Table[ClassificationRow] = Table(
    name="classifications",
    columns={
        "video": "the video as it was named",
        "rank": "1 for the best label",
        "label": "what the video shows",
        "score": "0 to 1",
        "head": "of several heads, the one that says it",
        "index": "number of the label",
    },
    more={
        "num_frames": "how many frames the video has",
        "frames": "frames that the model saw, number@seconds, clips divided by a bar",
        "views": "clips x crops that were averaged",
        **_ABOUT,
        **PART_COLUMNS,
    },
    flatten=csv_rows,
    earlier=(
        "path status error model task head rank label index score notes num_frames duration_seconds frames views "
        "weights_sha256 tool_version spec run size_bytes num_rows"
    ).split(),
)
DETECTIONS: Table[DetectionRow] = Table(
    name="detections",
    columns={
        "video": "the video as it was named",
        "start_seconds": "where the segment starts, presentation time",
        "end_seconds": "where it ends",
        "label": "what happens",
        "score": "0 to 1",
        "index": "number of the label",
        # By this column readers know that times are presentation times.
        "video_start_seconds": "presentation time of the first frame, which a player shows at 0",
    },
    more={
        **_TIMES,
        "rank": "of what tada suggest chose, 1 for what is to be labelled first; its label is a guess",
        "peak_score": "the highest score in the segment, which met the threshold",
        "verb": "of an action, number of the verb",
        "noun": "of an action, number of the noun",
        "action": "of an action, both",
        "gaps": "spans that cannot be read, JSON",
        "fps": "frames a second",
        "windows": "windows that were scored",
        "windows_planned": "windows there are",
        **_ABOUT,
        **PART_COLUMNS,
    },
    flatten=detection_csv_rows,
    earlier=(
        "path status error model task start_seconds end_seconds label index score verb noun action gaps notes "
        "duration_seconds video_start_seconds fps windows windows_planned weights_sha256 tool_version spec settings "
        "run size_bytes num_rows peak_score"
    ).split(),
    num_new=1,
)


def csv_format(table: Table[AnyRow], *, more: Sequence[str] = (), delimiter: str = ",") -> Csv[AnyRow]:
    """The format of a table.

    Args:
        table: What it can have.
        more: Columns that it has besides the usual ones; "all" for all of them.
        delimiter: What stands between two cells.

    Returns:
        The format; a file that an earlier version began goes on in its columns.

    Raises:
        UsageError: A column is not known.
    """
    earlier = Csv(table.earlier, table.flatten, num_new=table.num_new) if delimiter == "," else None
    return Csv(list(table.with_columns(more)), table.flatten, delimiter=delimiter, earlier=earlier)


def is_table(content: bytes) -> bool:
    """Whether a file begins as a table of results does, of this version or an earlier one."""
    timed = [DETECTIONS.with_columns([name]) for name in _TIMES if name.startswith("start")]
    heads = [
        delimiter.join(list(columns)[:4]).encode()
        for columns in (CLASSIFICATIONS.columns, DETECTIONS.columns, *timed)
        for delimiter in (",", "\t")
    ]
    return content.startswith((b"path,status,", *heads))


class RunFacts(TypedDict):
    """What results were made with; `run` is its id, as the lines have it."""

    run: str
    model: str
    task: str
    tool_version: str
    weights_sha256: str
    spec: SpecSummary
    settings: RunSettings


class Companion(TypedDict):
    """What stands beside a table: what its columns say, and what its lines were made with."""

    schema_version: int
    table: str
    columns: dict[str, str]
    runs: list[RunFacts]


def companion(table: Table[AnyRow], runs: Iterable[RunFacts], *, more: Sequence[str] = ()) -> bytes:
    """The content of the file beside a table.

    Args:
        table: What the table can have.
        runs: What its lines were made with.
        more: Columns that it has besides the usual ones.

    Returns:
        JSON; the same arguments give the same bytes.
    """
    facts: Companion = {
        "schema_version": SCHEMA_VERSION,
        "table": table.name,
        "columns": table.with_columns(more),
        "runs": list({each["run"]: each for each in runs}.values()),
    }
    return encode_json(facts, indent=1) + b"\n"


def facts_of(run: Run) -> RunFacts:
    """What results were made with."""
    return {
        "run": run.id,
        "model": run.spec["name"],
        "task": run.spec["task"],
        "tool_version": run.tool_version,
        "weights_sha256": run.weights_sha256,
        "spec": run.spec,
        "settings": run.settings,
    }


def runs_of(rows: Iterable[Row]) -> list[RunFacts]:
    """What rows were made with, each run once."""
    found: dict[str, RunFacts] = {}
    for row in rows:
        found[row["run"]] = {
            "run": row["run"],
            "model": row["model"],
            "task": row["task"],
            "tool_version": row["tool_version"],
            "weights_sha256": row["weights_sha256"],
            "spec": row["spec"],
            "settings": row["settings"],
        }
    return list(found.values())
