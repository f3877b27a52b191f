"""Tables of labels that data sets publish: Charades's CSV, AVA's boxes by the second, TSM's lists of folders.

AVA's is read as spans: boxes of one person and action, a second after the other, are one.
"""

from __future__ import annotations

import re
from collections import defaultdict

from tadacli.datasets.foreign.marks import Mark, Marks
from tadacli.datasets.tables import AnyPath, bad_line, plain_rows, read_table

_ACTION = re.compile(r"(\S+) (\d+(?:\.\d+)?) (\d+(?:\.\d+)?)")
_CHARADES = ("id", "actions")
_NUMERAL = re.compile(r"-?\d{1,9}(\.\d{1,9})?(e-?\d{1,2})?")
_FOLDER_LINE = re.compile(r"(.+) (\d{1,7}) (\d{1,6})")
_NUM_AVA_FIELDS, _HALF = (7, 8), 0.5


def read_charades_table(file: AnyPath) -> Marks:
    """The actions of all videos of Charades.

    Args:
        file: The CSV; `actions` has "label start end", divided by semicolons, in seconds.

    Returns:
        A mark for each action; its label is the class as it is written, such as c092.

    Raises:
        UsageError: The table lacks a column, or an action is not so.
    """
    marks = []
    for row in read_table(file, _CHARADES, what="the CSV of Charades"):
        for number, action in enumerate(filter(None, row.values["actions"].strip().split(";"))):
            found = _ACTION.fullmatch(action.strip())
            if not found:
                raise row.error(f"action {number} is {action[:40]!r}, not a class, a start and an end")
            label, start, end = found.groups()
            marks.append(Mark(f"line {row.line}, action {number}", row.text("id"), label, float(start), float(end)))
    return Marks(tuple(marks))


def is_ava(text: str) -> bool:
    """Whether the first line of a text has a video, a time, four sides of a box, an action and maybe a person."""
    first = [cell.strip('" \r') for cell in text.split("\n", 1)[0].split(",")]
    return len(first) in _NUM_AVA_FIELDS and bool(first[0]) and all(_NUMERAL.fullmatch(each) for each in first[1:])


def read_ava(text: str, file: AnyPath) -> Marks:
    """The actions of all people, each as long as there is a box of it in every second.

    Args:
        text: Lines of video, second, box, action and person.
        file: Its name, for errors.

    Returns:
        A mark for each stretch of seconds; a box stands for the second around its time. The person is its participant.

    Raises:
        UsageError: A line is not so.
    """
    seen: dict[tuple[str, str, str], dict[float, int]] = defaultdict(dict)
    for number, fields in plain_rows(text, file):
        if len(fields) not in _NUM_AVA_FIELDS or not _NUMERAL.fullmatch(fields[1]):
            raise bad_line(file, number, "not a video, a second, four sides of a box, an action and a person")
        if not fields[6].strip():  # a second that was looked at, without an action
            continue
        person = fields[7].strip() if len(fields) > 7 else ""
        seen[fields[0], fields[6].strip(), person].setdefault(float(fields[1]), number)
    marks = []
    for (video, action, person), seconds in seen.items():
        stretch: list[float] = []
        for time in [*sorted(seconds), None]:
            if stretch and (time is None or time - stretch[-1] > 1.0 + 1e-6):
                place = f"line {seconds[stretch[0]]}"
                span = max(0.0, stretch[0] - _HALF), stretch[-1] + _HALF
                marks.append(Mark(place, video, action, *span, participant=person, about_seconds=_HALF))
                stretch = []
            stretch += [] if time is None else [time]
    return Marks(tuple(marks), ("classes are numbers", "each box stands for the second around its time"))


def is_folder_list(text: str) -> bool:
    """Whether the first line of a text has a folder, a number of frames and the number of a class."""
    return _FOLDER_LINE.fullmatch(text.split("\n", 1)[0].strip()) is not None


def read_folder_list(text: str, file: AnyPath) -> Marks:
    """The folders of frames of a list, such as `val_videofolder.txt`, each as a whole.

    Args:
        text: Lines of folder, number of frames and number of the class.
        file: Its name, for errors.

    Returns:
        A mark for each line, without times.

    Raises:
        UsageError: A line is not so.
    """
    marks = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        found = _FOLDER_LINE.fullmatch(line.strip())
        if not found:
            raise bad_line(file, number, "not a folder, a number of frames and the number of a class")
        marks.append(Mark(f"line {number}", found[1], found[3], None, None))
    return Marks(tuple(marks), ("classes are numbers",))
