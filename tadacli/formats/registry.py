"""The table of formats that results are written in: their names, as options take them, and what their files are.

It is light to import: what makes the bytes is loaded when it is first needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from tadacli.formats.rows import DetectionRow

# Our own: all that is known of each video, so that they can be resumed and read back.
RowsName = Literal["csv", "json", "jsonl"]
_Player = Literal["srt", "vtt", "audacity"]
_Challenge = Literal["activitynet", "epic"]
_Editor = Literal["eaf"]
SegmentsName = Literal[_Player, _Challenge, _Editor]

ClassifyFormat = Literal["table", RowsName]
DetectFormat = Literal[ClassifyFormat, SegmentsName]
ConvertFormat = Literal[_Player, _Editor, _Challenge, RowsName]
ReportFormat = Literal["table", "json", "csv"]
BenchFormat = Literal["table", "json"]


@dataclass(frozen=True)
class SegmentFormat:
    """A format of other programs: its name, the suffix of its files, and the function that makes them.

    With `per_video` a file holds one video, else any number of them. `made_by` is a module of this package and a
    function in it, which takes one row or, for several videos, a sequence of them.
    """

    name: SegmentsName
    suffix: str
    per_video: bool
    made_by: tuple[str, str]

    def encode(self, rows: Sequence[DetectionRow]) -> bytes:
        """The bytes of a file of this format.

        Args:
            rows: Videos that could be read; exactly one if the format is `per_video`.

        Returns:
            The whole content of the file; the same rows give the same bytes.

        Raises:
            TadaError: The format has no place for what the rows say, or two videos would have one name in it.
        """
        module, function = self.made_by
        make: Callable[[Any], bytes] = getattr(import_module(f"tadacli.formats.{module}"), function)
        if not self.per_video:
            return make(rows)
        (row,) = rows
        return make(row)


SEGMENT_FORMATS: Mapping[str, SegmentFormat] = {
    form.name: form
    for form in (
        SegmentFormat("srt", ".srt", True, ("subtitles", "srt")),
        SegmentFormat("vtt", ".vtt", True, ("subtitles", "vtt")),
        SegmentFormat("audacity", ".txt", True, ("captions", "audacity")),
        SegmentFormat("activitynet", ".json", False, ("activitynet", "activitynet")),
        SegmentFormat("epic", ".json", False, ("epic_detection", "epic_detection")),
        SegmentFormat("eaf", ".eaf", True, ("elan", "eaf")),
    )
}

# The format that a file's name stands for. A suffix that two formats share is that of the first.
CLASSIFY_SUFFIXES: Mapping[str, ClassifyFormat] = {".csv": "csv", ".json": "json", ".jsonl": "jsonl", ".txt": "table"}
DETECT_SUFFIXES: Mapping[str, DetectFormat] = {
    **CLASSIFY_SUFFIXES,
    **{form.suffix: form.name for form in SEGMENT_FORMATS.values() if form.suffix not in CLASSIFY_SUFFIXES},
}
REPORT_SUFFIXES: Mapping[str, ReportFormat] = {".json": "json", ".csv": "csv", ".txt": "table"}
BENCH_SUFFIXES: Mapping[str, BenchFormat] = {".json": "json", ".txt": "table"}
