"""`tada detect --truth`: what people labelled in the videos that are searched."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tadacli.cli.console import say_note
from tadacli.errors import UsageError

if TYPE_CHECKING:
    from tadacli.datasets.labels_of_people import LabelsOfPeople
    from tadacli.reports.truth import Truth


def labels_of_people(file: Path | None, report: Path | None) -> LabelsOfPeople | None:
    """The labels in a file, before anything is searched; None where no file is given."""
    if file is None:
        return None
    if report is None:
        raise UsageError("--truth is shown on the page of a report", hint="give --report FILE.html, too")
    from tadacli.datasets.labels_of_people import read_labels_of_people

    return read_labels_of_people(file)


def truth_of_videos(labels: LabelsOfPeople | None, videos: Sequence[str]) -> Truth | None:
    """The labels of these videos; how they were read is said."""
    if labels is None:
        return None
    from tadacli.reports.truth import truth_of

    truth = truth_of(labels, videos)
    for remark in truth.remarks:
        say_note(remark)
    return truth
