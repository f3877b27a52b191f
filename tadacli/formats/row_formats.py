"""Our own formats by name: all that is known of each video, written so that it can be taken up again and read back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tadacli.formats.records import Format, JsonDocument, JsonLines
from tadacli.formats.rows import AnyRow, ClassificationRow, DetectionRow
from tadacli.formats.tables import CLASSIFICATIONS, DETECTIONS, Table, csv_format


def classification_formats(*, columns: Sequence[str] = ()) -> dict[str, Format[ClassificationRow]]:
    """The formats in which classifications are written, by name.

    Args:
        columns: What tables have besides their usual columns.

    Raises:
        UsageError: A column is not known.
    """
    return {
        "csv": csv_format(CLASSIFICATIONS, more=columns),
        "tsv": csv_format(CLASSIFICATIONS, more=columns, delimiter="\t"),
        "json": JsonDocument("path"),
        "jsonl": JsonLines("path"),
    }


def detection_formats(
    *, num_videos: int | None = None, columns: Sequence[str] = (), table: Table[DetectionRow] = DETECTIONS
) -> dict[str, Format[DetectionRow]]:
    """The formats in which detections are written, by name.

    Args:
        num_videos: How many videos there are; the JSON of a single one is its row itself, a line of JSON lines.
        columns: What tables have besides their usual columns.
        table: What makes lines of rows.

    Raises:
        UsageError: A column is not known.
    """
    return {
        "csv": csv_format(table, more=columns),
        "tsv": csv_format(table, more=columns, delimiter="\t"),
        "json": JsonLines("video") if num_videos == 1 else JsonDocument("video"),
        "jsonl": JsonLines("video"),
    }


FORMATS: Mapping[str, Format[ClassificationRow]] = classification_formats()
DETECTION_FORMATS: Mapping[str, Format[DetectionRow]] = detection_formats()


def encode_all(form: Format[AnyRow], rows: Sequence[AnyRow]) -> bytes:
    """The content of a finished file.

    Args:
        form: The format.
        rows: The rows, in order.

    Returns:
        The bytes that a command writes for these rows.
    """
    return form.head + form.separator.join(form.encode(row).content for row in rows) + form.tail
