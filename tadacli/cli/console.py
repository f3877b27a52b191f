"""What goes to the person: messages and progress on stderr, tables on a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tadacli.errors import TadaError

if TYPE_CHECKING:
    from tadacli.formats.rows import ClassificationRow, DetectionRow, Row


def printable(text: str) -> str:
    """Text that any terminal takes; bytes of a file name that are not UTF-8 show as a replacement mark."""
    return text.encode("utf-8", errors="surrogateescape").decode("utf-8", errors="replace")


def say(text: str, *, quiet: bool = False) -> None:
    """A message on stderr, below any progress bar."""
    if not quiet:
        print(printable(text), file=sys.stderr, flush=True)


def print_error(error: TadaError) -> None:
    """The error and its hint on stderr."""
    say(f"error: {error.message}")
    if error.hint:
        say(f"hint: {error.hint}")


class Progress:
    """A bar over the views of all videos, with the time left; silent when stderr is not a terminal."""

    def __init__(self, num_videos: int, views_per_video: int, *, quiet: bool) -> None:
        from tqdm import tqdm

        self._num_videos, self._number = num_videos, 0
        self._views, self._seen = views_per_video, 0
        self._bar = tqdm(
            total=num_videos * views_per_video,
            unit="view",
            file=sys.stderr,
            disable=True if quiet else None,  # None: only on a terminal
            dynamic_ncols=True,
            leave=False,
        )

    def start(self, path: str) -> None:
        """The next video begins."""
        self._number += 1
        self._bar.set_description(f"{self._number}/{self._num_videos} {printable(os.path.basename(path))[:30]}")
        self._seen = 0

    def advance(self, views: int) -> None:
        """This many more views of the video are scored."""
        self._seen += views
        self._bar.update(views)

    def end(self) -> None:
        """The video is done, whether all its views could be scored or not."""
        self._bar.update(self._views - self._seen)

    def say(self, text: str, *, quiet: bool = False) -> None:
        """A message above the bar."""
        self._bar.clear()
        say(text, quiet=quiet)
        self._bar.refresh()

    def close(self) -> None:
        """Take the bar away."""
        self._bar.close()


class TimelineProgress:
    """A bar along the timeline of each video: time reached, how much faster than real time, time left."""

    def __init__(self, videos: Sequence[str], *, quiet: bool) -> None:
        self._videos, self._quiet, self._name = videos, quiet, ""
        self._bar: Any = None
        self._first = 0.0

    def start(self, path: str) -> None:
        """The next video begins, one of those in the list."""
        number = self._videos.index(path) + 1
        self._name = f"{number}/{len(self._videos)} {printable(os.path.basename(path))[:30]}"

    def reach(self, start_seconds: float, end_seconds: float, reached_seconds: float) -> None:
        """The range from start to end is scored up to here."""
        if self._bar is None:
            from tqdm import tqdm

            self._first = reached_seconds
            self._bar = tqdm(
                desc=self._name,
                total=end_seconds - start_seconds,
                initial=reached_seconds - start_seconds,
                file=sys.stderr,
                disable=True if self._quiet else None,
                dynamic_ncols=True,
                leave=False,
                bar_format="{desc} {bar} {postfix} [{elapsed}<{remaining}]",
            )
        done = min(reached_seconds, end_seconds) - start_seconds
        elapsed = self._bar.format_dict["elapsed"]
        factor = (reached_seconds - self._first) / elapsed if elapsed > 0 else 0.0
        self._bar.set_postfix_str(
            f"{clock(done)[:-4]} of {clock(end_seconds - start_seconds)[:-4]}, {factor:.1f}x real time", refresh=False
        )
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Take the bar away, until there is one of the next video."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class StepProgress:
    """A bar over steps whose number is known once they begin."""

    def __init__(self, name: str, *, unit: str, quiet: bool) -> None:
        self._name, self._unit, self._quiet = name, unit, quiet
        self._bar: Any = None

    def __enter__(self) -> StepProgress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def reach(self, done: int, total: int) -> None:
        """So many steps of the total are done."""
        if self._bar is None:
            from tqdm import tqdm

            disable = True if self._quiet else None
            self._bar = tqdm(
                desc=self._name, total=total, unit=self._unit, file=sys.stderr, disable=disable, leave=False
            )
        self._bar.update(done - self._bar.n)


def clock(seconds: float) -> str:
    """A time as h:mm:ss.mmm."""
    whole = round(seconds * 1000)
    sign = "-" if whole < 0 else ""
    minutes, milliseconds = divmod(abs(whole), 60_000)
    return f"{sign}{minutes // 60}:{minutes % 60:02}:{milliseconds / 1000:06.3f}"


def detection_table(rows: Sequence[DetectionRow], *, title: str, width: int | None = None) -> str:
    """The segments as a table for people, with colours if stdout is a terminal, gaps and notes below."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table()
    if len(rows) > 1:
        table.add_column("video", overflow="fold")
    for name in ("start", "end", "score"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("label", overflow="fold")
    for row in rows:
        lines = _segment_lines(row)
        for number, (*cells, label, style) in enumerate(lines):
            video = [Text(printable(row["path"]) if number == 0 else "")] if len(rows) > 1 else []
            end_section = number == len(lines) - 1
            table.add_row(*video, *cells, Text(label, style=style), end_section=end_section)
    console = Console(width=width)
    with console.capture() as capture:
        if len(rows) == 1:
            console.print(Text(printable(rows[0]["path"])), soft_wrap=True)
        console.print(Text(title), soft_wrap=True)
        console.print(table)
        for line in [*_gap_lines(rows), *_notes(rows)]:
            console.print(Text(line), soft_wrap=True)
    return capture.get()


def _segment_lines(row: DetectionRow) -> list[tuple[str, str, str, str, str]]:
    """(start, end, score, label, style) of each line of a video."""
    if row["status"] == "error":
        return [("", "", "", f"error: {printable(row['error'] or '')}", "red")]
    lines = [
        (clock(each["start_seconds"]), clock(each["end_seconds"]), f"{each['score']:.3f}", each["label"], "bold")
        for each in row["segments"]
    ]
    return lines or [("", "", "", "nothing found", "dim")]


def _gap_lines(rows: Sequence[DetectionRow]) -> list[str]:
    return [
        f"gap in {printable(row['path'])}: {clock(gap['start_seconds'])} to {clock(gap['end_seconds'])}: "
        + printable(gap["reason"])
        for row in rows
        for gap in row["gaps"]
    ]


def classification_table(rows: Sequence[ClassificationRow], *, title: str, width: int | None = None) -> str:
    """The results as a table for people, with colours if stdout is a terminal, and their notes below."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table()
    table.add_column("video", overflow="fold")
    table.add_column("label", overflow="fold")
    table.add_column("score", justify="right", no_wrap=True)
    for row in rows:
        lines = _table_lines(row)
        for number, (label, score, style) in enumerate(lines):
            video = printable(row["path"]) if number == 0 else ""
            table.add_row(Text(video), Text(label, style=style), score, end_section=number == len(lines) - 1)
    console = Console(width=width)
    with console.capture() as capture:
        console.print(Text(title))
        console.print(table)
        for note in _notes(rows):
            console.print(Text(note), soft_wrap=True)
    return capture.get()


def _notes(rows: Sequence[Row]) -> list[str]:
    """Every note once; the name of its video in front where there are others without it."""
    scored = [row for row in rows if row["status"] != "error"]
    videos: dict[str, list[str]] = {}
    for row in scored:
        for note in row["notes"]:
            videos.setdefault(note, []).append(printable(row["path"]))
    return [
        f"note: {note}" if len(paths) == len(scored) else f"note on {', '.join(paths)}: {note}"
        for note, paths in videos.items()
    ]


def _table_lines(row: ClassificationRow) -> list[tuple[str, str, str]]:
    """(label, score, style) of each line of a video."""
    if row["status"] == "error":
        return [(f"error: {printable(row['error'] or '')}", "", "red")]
    lines = []
    for head, predictions in (row["heads"] if "heads" in row else {"": row["topk"]}).items():
        prefix = f"{head}: " if head else ""
        for rank, prediction in enumerate(predictions):
            style = "bold" if rank == 0 else ""
            lines.append((f"{prefix}{prediction['label']}", f"{prediction['score']:.3f}", style))
    if row["status"] == "short" and lines:
        label, score, style = lines[0]
        lines[0] = (f"{label} (video shorter than a clip)", score, style)
    return lines or [("no label reaches the minimum score", "", "dim")]
