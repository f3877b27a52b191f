"""What `tada clip` says of each segment: rows of JSON as they come, or a table in the end."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from tadacli.cli.console import excerpt_table, say
from tadacli.cli.exits import write_stdout

if TYPE_CHECKING:
    from tadacli.excerpts.jobs import ExcerptJob
    from tadacli.formats.excerpt_rows import ExcerptRow
    from tadacli.results.excerpts import Excerpt


class ClipOutput:
    """Takes excerpts as they come; the table is written when it is closed.

    Attributes:
        num_failed: How many have failed so far, videos that could not be searched included.
    """

    def __init__(self, *, is_table: bool) -> None:
        self._is_table = is_table
        self._rows: list[ExcerptRow] = []
        self._hows: Counter[str] = Counter()
        self._num_written = self._num_unsearched = 0
        self.num_failed = 0

    def add(self, excerpt: Excerpt) -> None:
        """Say what became of a segment."""
        from tadacli.formats.excerpt_rows import excerpt_row
        from tadacli.formats.records import encode_json

        row = excerpt_row(excerpt)
        if self._is_table:
            self._rows.append(row)
        else:
            write_stdout(encode_json(row) + b"\n")
        if row["status"] == "ok":
            self._num_written += 1
            self._hows.update([row["how"]] if row["how"] is not None else [])
            return
        self.num_failed += 1
        self._num_unsearched += row["label"] is None
        place = "" if row["start_seconds"] is None else f" at {row['start_seconds']:.2f} s"
        what = "" if row["label"] is None else f": {row['label']}{place}"
        say(f"error: {row['video']}{what}: {row['error']}", always=True)

    def close(self) -> None:
        """Write the table, if there is one."""
        if self._rows:
            rows, self._rows = self._rows, []
            write_stdout(excerpt_table(rows).encode(), is_styled=True)

    def summary(self, job: ExcerptJob) -> str:
        """How many segments were written, how, and how many were not."""
        from tadacli.results import counted, out_of

        text = out_of(self._num_written, job.num_segments, "segments", "written")
        hows = ", ".join(f"{number} {how}" for how, number in sorted(self._hows.items()))
        text += f" ({hows})" if hows else ""
        text += f" to {job.folder}" if job.folder is not None else ""
        failed = self.num_failed - self._num_unsearched
        text += f"; {failed} failed" if failed else ""
        return text + (f"; {counted(self._num_unsearched, 'videos')} had failed before" if self._num_unsearched else "")
