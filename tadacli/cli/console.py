"""What goes to the person: messages and progress on stderr, tables on a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tadacli.errors import TadaError

if TYPE_CHECKING:
    from tadacli.writers.rows import Row


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

        self._views, self._seen = views_per_video, 0
        self._bar = tqdm(
            total=num_videos * views_per_video,
            unit="view",
            file=sys.stderr,
            disable=True if quiet else None,  # None: only on a terminal
            dynamic_ncols=True,
            leave=False,
        )

    def start(self, number: int, path: str) -> None:
        """A video begins; `number` counts from 1."""
        videos = (self._bar.total or 0) // self._views
        self._bar.set_description(f"{number}/{videos} {printable(os.path.basename(path))[:30]}")
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


def classification_table(rows: Sequence[Row], *, title: str, width: int | None = None) -> str:
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


def _table_lines(row: Row) -> list[tuple[str, str, str]]:
    """(label, score, style) of each line of a video."""
    if row["status"] == "error":
        return [(f"error: {printable(row['error'])}", "", "red")]
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
