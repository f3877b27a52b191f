"""Labels of any kind as one plain table, which the other commands read: path, label, times in seconds, split."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from tadacli.datasets.annotations import is_annotations
from tadacli.datasets.spans import Annotations, LabelledSpan
from tadacli.datasets.tables import read_bytes
from tadacli.errors import UsageError
from tadacli.files import csv_line

_COLUMNS = ("path", "label", "start_seconds", "end_seconds")


def holds_labels(path: Path) -> bool:
    """Whether a path holds labels of a person, and not results of `tada detect`.

    Args:
        path: A file or folder.

    Returns:
        True for XML and other files of the programs and data sets that `read_annotations` knows, for tables with a
        column of labels, and for a folder of documents of ELAN or of lists of classes.
    """
    try:
        if path.is_dir():
            return is_annotations(path)
        return read_bytes(path).lstrip()[:1] == b"<" or is_annotations(path)
    except UsageError:  # whoever reads it says what is wrong
        return False


def label_table(
    annotations: Annotations,
    *,
    left_out: Collection[LabelledSpan] = (),
    times: Mapping[str, Callable[[LabelledSpan], str]] | None = None,
) -> bytes:
    """The labels that can be used, as a CSV.

    Args:
        annotations: What was read.
        left_out: Spans that are not written, beside those that say why they cannot be used.
        times: Columns beside the times in seconds, and what makes their cells.

    Returns:
        The table in UTF-8, a line for each label in its order: the video's file, or its name where none was found,
        and times in seconds from its first frame. It has a column `score` if there are scores, `participant` if
        it is said who is seen, and `split` if splits are named.
    """
    refused = {(span.place, span.id, span.label) for span in left_out}
    spans = [span for span in annotations.spans if not span.reason and (span.place, span.id, span.label) not in refused]
    more = {
        "score": ["" if span.score is None else repr(span.score) for span in spans],
        "participant": [span.participant for span in spans],
        "split": [span.split for span in spans],
    }
    filled = {name: cells for name, cells in more.items() if any(cells)}
    timed = times or {}
    lines = [csv_line([*_COLUMNS, *timed, *filled])]
    for number, span in enumerate(spans):
        cells = [span.path or span.video, span.label, _shown(span.start_seconds), _shown(span.end_seconds)]
        cells += [cell(span) for cell in timed.values()]
        lines.append(csv_line([*cells, *(column[number] for column in filled.values())]))
    return "".join(lines).encode("utf-8", "surrogateescape")


def _shown(seconds: float | None) -> str:
    return "" if seconds is None else repr(round(seconds, 6))
