"""What goes to the person: messages on stderr, tables on a terminal."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import textwrap
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import typer

from tadacli.cli import progress
from tadacli.cli.exits import write_stdout
from tadacli.cli.printable import printable, printable_lines
from tadacli.cli.progress import clock, end_line, redraw
from tadacli.errors import TadaError

if TYPE_CHECKING:
    from tadacli.formats.excerpt_rows import ExcerptRow
    from tadacli.formats.feature_rows import FeatureRow
    from tadacli.formats.registry import TimesName
    from tadacli.formats.rows import ClassificationRow, DetectionRow, ResultRow
    from tadacli.profiling import Profile, ProfileReport

Cell = tuple[str, str]  # a text and its style
_NOTHING: Cell = ("", "")
_MOST_NAMED = 3  # of the videos that a note is about
_is_quiet = False


def be_quiet(quiet: bool) -> None:
    """Say nothing but what is said always, and show no progress, from now on; or everything again."""
    global _is_quiet
    _is_quiet = quiet
    progress.show_bars(not quiet)


def is_quiet() -> bool:
    """Whether nothing is said but what is said always."""
    return _is_quiet


def say(text: str, *, always: bool = False, wraps: bool = False) -> None:
    """A message of one line on stderr, below any progress bar; --quiet leaves what is said `always`.

    On a terminal one that `wraps` is broken between words; commands and paths in the others stay whole.
    """
    if always or not _is_quiet:
        with contextlib.suppress(OSError):  # nobody reads it; what the command is for goes on
            end_line()
            print(_fitting(printable(text)) if wraps else printable(text), file=sys.stderr, flush=True)
            redraw()


def say_note(text: str) -> None:
    """What a person should know, on stderr."""
    say(f"note: {text}", wraps=True)


def _fitting(text: str) -> str:
    if not sys.stderr.isatty():
        return text
    return textwrap.fill(text, shutil.get_terminal_size().columns, break_long_words=False, break_on_hyphens=False)


def show(text: str) -> None:
    """Lines for a person on stdout; ends the command if its reader has gone away."""
    write_stdout(printable_lines(text + "\n").encode())


def print_error(error: TadaError) -> None:
    """The error and its hint on stderr."""
    say(f"error: {error.message}", always=True)
    if error.hint:
        say(f"hint: {error.hint}", always=True)


# --- tables -----------------------------------------------------------------------------------------


def detection_table(
    rows: Sequence[DetectionRow],
    *,
    title: str,
    width: int | None = None,
    most: int | None = None,
    times: TimesName = "seconds",
) -> str:
    """The segments as a table for people, with colours if stdout is a terminal, gaps and notes below.

    Videos without `times` of this kind have those of the clock.

    Or no more than its first `most` lines, with nothing below but that there are others.
    """
    one = len(rows) == 1
    ends = ("start frame", "end frame") if times == "frames" else ("start", "end")
    return _table(
        {**({} if one else {"video": False}), **dict.fromkeys(ends, True), "score": True, "label": False},
        [
            [line if one else (_name(row, number), *line) for number, line in enumerate(_segments(row, times))]
            for row in rows
        ],
        above=[*([_name(rows[0], 0)[0]] if one else []), printable(title)],
        below=[*_gaps(rows), *_notes(rows)],
        width=width,
        most=most,
    )


def suggestion_table(rows: Sequence[DetectionRow], *, width: int | None = None) -> str:
    """Spans to label for people, the first to be labelled first."""
    segments = [(row, each) for row in rows for each in row["segments"]]
    ranked = sorted(((each.get("rank", 0), row, each) for row, each in segments), key=lambda each: each[0])
    lines = [
        (
            (str(rank), ""),
            (printable(row["path"]), ""),
            (clock(each["start_seconds"]), ""),
            (clock(each["end_seconds"]), ""),
            (f"{each['score']:.3f}", ""),
            (printable(each["label"]), "bold"),
        )
        for rank, row, each in ranked
    ]
    columns = {"#": True, "video": False, "start": True, "end": True, "score": True, "guess": False}
    return _table(columns, [lines], above=[], below=[], width=width)


def classification_table(
    rows: Sequence[ClassificationRow], *, title: str, width: int | None = None, most: int | None = None
) -> str:
    """The results as a table for people, with colours if stdout is a terminal, and their notes below.

    Or no more than its first `most` lines, as `detection_table`.
    """
    return _table(
        {"video": False, "label": False, "score": True},
        [[(_name(row, number), *line) for number, line in enumerate(_labels(row))] for row in rows],
        above=[printable(title)],
        below=_notes(rows),
        width=width,
        most=most,
    )


def feature_table(rows: Sequence[FeatureRow], *, width: int | None = None) -> str:
    """What came of each video as a table for people, gaps and notes below."""
    lines: list[list[tuple[Cell, ...]]] = []
    for row in rows:
        if row["status"] == "error":
            lines.append([(_name(row, 0), _NOTHING, _NOTHING, _error(row))])
            continue
        count = f"{row['snippets']} of {row['snippets_planned']}"
        file = printable(row["file"] or "")
        lines.append([(_name(row, 0), (count, ""), (str(row["columns"]), ""), (file, "bold"))])
    return _table(
        {"video": False, "snippets": True, "columns": True, "file": False},
        lines,
        above=[],
        below=[*_gaps(rows), *_notes(rows)],
        width=width,
    )


def excerpt_table(rows: Sequence[ExcerptRow], *, width: int | None = None) -> str:
    """What became of each segment as a table for people."""
    videos: dict[str, list[tuple[Cell, ...]]] = {}
    for row in rows:
        lines = videos.setdefault(row["video"], [])
        name = "" if lines else printable(row["video"])
        start = "" if row["start_seconds"] is None else clock(row["start_seconds"])
        files = [os.path.basename(file) for file in (row["file"], row["image"]) if file is not None]
        told = "\n".join(map(printable, files)) or "on the sheet"
        is_error = row["status"] == "error"
        last = (f"error: {printable(row['error'] or '')}", "red") if is_error else (told, "bold")
        lines.append(((name, ""), (start, ""), last, (row["how"] or "", "")))
    return _table(
        {"video": False, "start": True, "file": False, "how": True},
        list(videos.values()),
        above=[],
        below=[],
        width=width,
    )


def _gaps(rows: Sequence[DetectionRow | FeatureRow]) -> list[str]:
    """Every gap in a line of its own."""
    return [
        f"gap in {printable(row['path'])}: {clock(gap['start_seconds'])} to {clock(gap['end_seconds'])}: "
        + printable(gap["reason"])
        for row in rows
        for gap in row["gaps"]
    ]


def terminal_width() -> int | None:
    """The columns of the terminal that stdout is, None where it is none: then nothing needs to fit."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def hanging(head: str, text: str, *, indent: int) -> str:
    """A short text and beside it a longer one, which on a terminal goes on below itself; broken between words alone."""
    line, width = f"{head:{indent}}{text}", terminal_width()
    if width is None or width <= 2 * indent or " " not in text.strip():
        return line
    return textwrap.fill(line, width, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False)


def fitting_columns(rows: Sequence[Sequence[str]], *, least: Sequence[int], width: int | None) -> list[int]:
    """The numbers of the columns that stand in `width` beside each other: those named `least` first go first."""
    widest = [max(map(len, column)) for column in zip(*rows, strict=True)]
    kept = list(range(len(widest)))
    for number in least:
        if width is None or sum(widest[each] + 2 for each in kept) - 2 <= width:
            break
        kept.remove(number)
    return kept


def aligned(rows: Sequence[Sequence[str]], *, to_left: Collection[int] = (0,)) -> list[str]:
    """Rows as plain lines: the columns of these numbers to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    sides = ["<" if number in to_left else ">" for number in range(len(widths))]
    return [
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True)).rstrip()
        for row in rows
    ]


def _table(
    columns: Mapping[str, bool],
    videos: Sequence[Sequence[Sequence[Cell]]],
    *,
    above: Sequence[str],
    below: Sequence[str],
    width: int | None,
    most: int | None = None,
) -> str:
    """The lines of each video below each other; a column of numbers (True) is never wrapped."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for name, is_number in columns.items():
        if is_number:
            table.add_column(name, justify="right", no_wrap=True)
        else:
            table.add_column(name, overflow="fold")
    for lines in videos:
        for number, line in enumerate(lines, start=1):
            if most is None or len(table.rows) < most:
                table.add_row(*(Text(text, style=style) for text, style in line), end_section=number == len(lines))
    if most is not None:
        below = [f"the first {most} lines; all are in the file"] if sum(map(len, videos)) > most else []
    size = shutil.get_terminal_size()
    console = Console(width=width or size.columns, height=size.lines)  # or a dumb terminal is taken for 80 columns
    with console.capture() as capture:
        for text in above:
            console.print(Text(text), soft_wrap=True)
        console.print(table)
        for text in below:
            console.print(Text(_fitting(text)), soft_wrap=True)
    return capture.get()


def _name(row: ResultRow, number: int) -> Cell:
    """The video, on the first of its lines, with what a list said of it."""
    from tadacli.formats.rows import video_in
    from tadacli.video.lists import ListedPart

    video, said = video_in(row), list[str]()
    if number:
        return "", ""
    if isinstance(video, ListedPart):
        start, end = (None if each is None else clock(each) for each in video.part[:2])
        said += [] if video.id is None else [video.id]
        said += [f"{start or 'start'} to {end or 'end'}"] if start or end else []
    return printable(f"{video} ({', '.join(said)})" if said else video), ""


def _segments(row: DetectionRow, times: TimesName) -> list[tuple[Cell, ...]]:
    """The start, the end, the score and the label of each line of a video."""
    if row["status"] == "error":
        return [(_NOTHING, _NOTHING, _NOTHING, _error(row))]
    lines: list[tuple[Cell, ...]] = [
        ((start, ""), (end, ""), (f"{each['score']:.3f}", ""), (printable(each["label"]), "bold"))
        for each, (start, end) in zip(row["segments"], _spans(row, times), strict=True)
    ]
    return lines or [(_NOTHING, _NOTHING, _NOTHING, ("nothing found", "dim"))]


def _spans(row: DetectionRow, times: TimesName) -> list[tuple[str, str]]:
    """When each segment starts and ends."""
    spans = [(clock(each["start_seconds"]), clock(each["end_seconds"])) for each in row["segments"]]
    if times == "seconds":
        return spans
    from tadacli.formats.labelled import labelled_video
    from tadacli.formats.segment_times import TIME_COLUMNS, time_cells

    start, end = TIME_COLUMNS[times]
    cells = time_cells(labelled_video(row))
    return [(cell.get(start, span[0]), cell.get(end, span[1])) for cell, span in zip(cells, spans, strict=True)]


def _labels(row: ClassificationRow) -> list[tuple[Cell, ...]]:
    """The label and the score of each line of a video."""
    if row["status"] == "error":
        return [(_error(row), _NOTHING)]
    lines: list[tuple[Cell, ...]] = []
    for head, predictions in (row["heads"] if "heads" in row else {"": row["topk"]}).items():
        for rank, prediction in enumerate(predictions):
            label = f"{head}: {prediction['label']}" if head else prediction["label"]
            short = " (video shorter than a clip)" if row["status"] == "short" and not lines else ""
            lines.append(((printable(label) + short, "" if rank else "bold"), (f"{prediction['score']:.3f}", "")))
    return lines or [(("no label reaches the minimum score", "dim"), _NOTHING)]


def _error(row: ResultRow) -> Cell:
    return f"error: {printable(row['error'] or '')}", "red"


def _notes(rows: Sequence[ClassificationRow | DetectionRow | FeatureRow]) -> list[str]:
    """Every note once, see `Notes`."""
    notes = Notes()
    for row in rows:
        notes.add(row)
    return notes.lines()


class Notes:
    """What is to be known of the results of a run, each text once: of all videos, of those named, or of how many."""

    def __init__(self) -> None:
        self._videos: dict[str, tuple[int, list[str]]] = {}  # how many have it, and the first of them
        self._num_videos = 0

    def add(self, row: ClassificationRow | DetectionRow | FeatureRow) -> None:
        """Keep the notes of a result that is no error."""
        if row["status"] != "error":
            self._num_videos += 1
            for note in row["notes"]:
                count, paths = self._videos.get(note, (0, []))
                self._videos[note] = count + 1, [*paths, row["path"]][:_MOST_NAMED]

    def lines(self) -> list[str]:
        """A line for each text, in the order in which they came."""
        return [printable(f"note{self._where(*found)}: {note}") for note, found in self._videos.items()]

    def _where(self, count: int, paths: Sequence[str]) -> str:
        if count == self._num_videos:
            return ""
        many = f"{count} of {self._num_videos} videos"
        return f" on {', '.join(paths) if count <= _MOST_NAMED else many}"

    def say(self) -> None:
        """Say what there is; it is empty then."""
        for line in self.lines():
            say(line, wraps=True)
        self._videos = {}


# --- where the time went ----------------------------------------------------------------------------


def start_profile(asked: bool) -> Profile | None:
    """A profile whose wall time begins now, if it was asked for."""
    if not asked:
        return None
    from tadacli.profiling import Profile

    return Profile()


@contextlib.contextmanager
def showing(profile: Profile | None, *, unit: str = "view") -> Iterator[None]:
    """What happens inside is the work; after it, also if it was interrupted, it is shown. It counts `unit`s."""
    if profile is None:
        yield
        return
    from tadacli.profiling import profiled

    profile.ready()
    try:
        with profiled(profile):
            yield
    except typer.Exit:
        _say_profile(profile, unit=unit)
        raise
    _say_profile(profile, unit=unit)


def _say_profile(profile: Profile, *, unit: str) -> None:
    for line in profile_table(profile.report(), unit=unit).splitlines():
        say(line, always=True)


def profile_table(found: ProfileReport, *, unit: str) -> str:
    """A line for each stage with its seconds and share of the wall time, what overlapped, and counts."""
    wall = found.wall_seconds
    rows = [(str(stage), seconds) for stage, seconds in found.stages.items()]
    rows += [("everything else", found.rest_seconds), ("wall time", wall)]
    rows += [("several of these at once", found.together_seconds)] if found.together_seconds else []
    lines = [f"{name:<26}{seconds:>10.2f} s{_share(seconds, wall):>7}" for name, seconds in rows]
    rate = f", {found.num_views / wall:.2f} a second" if wall > 0 else ""
    counts = f"{found.num_decoded} frames decoded, {found.num_used} of them used; {found.num_views} {unit}s{rate}"
    return "\n".join([f"{'where the time went':<26}{'seconds':>12}{'share':>7}", *lines, counts])


def _share(seconds: float, wall: float) -> str:
    return f"{seconds / wall:.0%}" if wall > 0 else ""
