"""What a check of a data set found, as text to read, JSON or CSV."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import get_args

from tadacli.datasets.check import DatasetCheck, SplitCount
from tadacli.errors import UsageError
from tadacli.files import csv_line
from tadacli.formats.records import encode_json, encode_text
from tadacli.formats.registry import ReportFormat

CHECK_COLUMNS = ("kind", "split", "id", "path", "reason")


def check_rows(check: DatasetCheck) -> list[dict[str, str]]:
    """The findings of a check as flat rows.

    Args:
        check: The check.

    Returns:
        A row for each finding, with `CHECK_COLUMNS`.
    """
    return [{column: getattr(finding, column) for column in CHECK_COLUMNS} for finding in check.findings]


def encode_check(check: DatasetCheck, form: ReportFormat) -> bytes:
    """A check in one of the formats; the same check gives the same bytes.

    Args:
        check: The check.
        form: "table" is text for people: counts, then every finding under its kind. "json" is one object with `splits`,
            `num_files`, `counts` by kind, `findings` and `notes`. "csv" has a line for each finding below a header.

    Returns:
        The bytes, in UTF-8.

    Raises:
        UsageError: The format is another.
    """
    if form not in get_args(ReportFormat):
        raise UsageError(f"a check has no format {form!r}", hint="one of: " + ", ".join(get_args(ReportFormat)))
    if form == "table":
        return "".join(f"{_printable(line)}\n" for line in _lines(check)).encode()
    if form == "csv":
        lines = [CHECK_COLUMNS, *([row[column] for column in CHECK_COLUMNS] for row in check_rows(check))]
        return encode_text("".join(map(csv_line, lines)))
    return _json(check)


def _json(check: DatasetCheck) -> bytes:
    content = {
        "splits": [asdict(split) for split in check.splits],
        "num_files": check.num_files,
        "counts": dict(check.counts),
        "findings": check_rows(check),
        "notes": [note.text for note in check.notes],
    }
    return encode_json(content, indent=1) + b"\n"


def _lines(check: DatasetCheck) -> Iterator[str]:
    for split in check.splits:
        yield _summary(split)
    yield f"{check.num_files} files opened"
    yield from (f"note: {note}" for note in check.notes)
    if check.findings:
        yield f"{len(check.findings)} problems"
    elif check.splits and not any(split.num_samples for split in check.splits):
        yield "nothing was checked: there are no samples"
    else:
        yield "no problems"
    for kind, count in check.counts.items():
        yield ""
        yield f"{kind}: {count}"
        for finding in check.findings:
            if finding.kind == kind:
                path = f" ({finding.path})" if finding.path else ""
                yield f"  {finding.split}: {finding.id}{path}: {finding.reason}"


def _summary(split: SplitCount) -> str:
    elsewhere = f", {split.num_other_splits} of them of other splits" if split.num_other_splits else ""
    return (
        f"{split.split} ({split.dataset}): {split.num_sound} of {split.num_samples} samples have a sound video; "
        f"{split.num_rows} rows{elsewhere}"
    )


def _printable(line: str) -> str:
    """A line without what would move a terminal's cursor, or is no text."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in line)
