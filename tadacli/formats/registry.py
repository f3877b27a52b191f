"""The table of formats that results are written in: their names, as options take them, and what their files are.

It is light to import: what makes the bytes is loaded when it is first needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

from tadacli.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from tadacli.formats.labelled import LabelledVideo
    from tadacli.formats.rows import DetectionRow

# Our own: all that is known of each video, so that they can be resumed and read back.
RowsName = Literal["csv", "tsv", "json", "jsonl"]
# Those of our own that people open in a spreadsheet.
TABLES = ("csv", "tsv")
_Player = Literal["srt", "vtt", "audacity"]
_Columns = Literal["parquet"]
_Challenge = Literal[
    "activitynet", "epic", "actionformer", "charades", "charades-json", "thumos", "ava", "ego4d", "createml"
]
_Annotator = Literal["eaf", "elan-txt", "labelstudio", "boris", "boris-csv", "cvat", "via", "via-csv"]
_Editor = Literal["edl", "otio", "fcpxml", "fcp7xml", "resolve-edl", "premiere-xml"]
# How tables say when segments begin and end.
TimesName = Literal["seconds", "timecode", "frames"]
SegmentsName = Literal[_Player, _Challenge, _Annotator, _Editor]

ClassifyFormat = Literal["table", RowsName, _Columns]
DetectFormat = Literal[ClassifyFormat, SegmentsName]
ConvertFormat = Literal[_Player, _Editor, _Annotator, _Challenge, RowsName, _Columns]
ReportFormat = Literal["table", "json", "csv"]
BenchFormat = Literal["table", "json"]


@dataclass(frozen=True)
class Holding:
    """What a format can hold of labelled segments; what it cannot is said when it is written.

    `labels` are any text, text on one line, a field of a line that bars divide, one word, or a number. With `frames`
    times are numbers of frames, with `timecode` at a rate of SMPTE; with `seconds` they are whole seconds.
    """

    scores: bool = False
    splits: bool = False
    subjects: bool = False
    frames: bool = False
    timecode: bool = False
    seconds: bool = False
    labels: Literal["text", "line", "field", "word", "number"] = "text"


@dataclass(frozen=True)
class SegmentFormat:
    """A format of other programs: its name, the suffix of its files, and the function that makes them.

    With `per_video` a file holds one video, else any number of them. `made_by` is a module of this package and a
    function in it, which takes one labelled video or, for several, a sequence of them. With `of_rows` it takes rows of
    `tada detect` instead, and labels of people cannot be written; with `in_folder` it also takes the file's folder.
    `needs` are modules that the extra `editors` brings.
    """

    name: SegmentsName
    suffix: str
    per_video: bool
    made_by: tuple[str, str]
    holds: Holding = Holding()
    of_rows: bool = False
    in_folder: bool = False
    needs: tuple[str, ...] = ()

    def require(self) -> None:
        """Raises `UsageError` where a package that writes this format is not installed."""
        if any(find_spec(module) is None for module in self.needs):
            raise UsageError(
                f"{self.name} needs a package that is not installed",
                hint="python -m pip install 'tadacli[editors]'; or take edl or fcpxml, which need none",
            )

    def encode(self, rows: Sequence[DetectionRow], *, folder: Path | None = None) -> bytes:
        """The bytes of a file of this format.

        Args:
            rows: Videos that could be read; exactly one if the format is `per_video`.
            folder: The folder that the file will be in, if that is known.

        Returns:
            The whole content of the file; the same rows give the same bytes.

        Raises:
            TadaError: The format has no place for what the rows say, or two videos would have one name in it.
        """
        if self.of_rows:
            return self._make()(rows)
        from tadacli.formats.labelled import labelled_video

        return self.encode_labelled([labelled_video(row) for row in rows], folder=folder)

    def encode_labelled(self, videos: Sequence[LabelledVideo], *, folder: Path | None = None) -> bytes:
        """The bytes of a file of this format, of labels of any origin.

        Args:
            videos: The videos; exactly one if the format is `per_video`.
            folder: The folder that the file will be in, if that is known.

        Returns:
            The whole content of the file; equal videos give equal bytes.

        Raises:
            TadaError: As `encode`.
        """
        if self.of_rows:
            raise UsageError(
                f"{self.name} holds what a model found, and these are labels", hint="convert them to another format"
            )
        make = self._make()
        if not self.per_video:
            return make(videos)
        (video,) = videos
        return make(video, folder=folder) if self.in_folder else make(video)

    def _make(self) -> Callable[..., bytes]:
        self.require()
        module, function = self.made_by
        make: Callable[..., bytes] = getattr(import_module(f"tadacli.formats.{module}"), function)
        return make


_ON_A_LINE = Holding(scores=True, labels="line")
_OF_PEOPLE = Holding(subjects=True)
_IN_TIMECODE = Holding(scores=True, frames=True, timecode=True, labels="line")
_OTIO = ("opentimelineio",)
_FCP = (*_OTIO, "otio_fcp_adapter")
SEGMENT_FORMATS: Mapping[str, SegmentFormat] = {
    form.name: form
    for form in (
        SegmentFormat("srt", ".srt", True, ("subtitles", "srt"), _ON_A_LINE),
        SegmentFormat("vtt", ".vtt", True, ("subtitles", "vtt"), _ON_A_LINE),
        SegmentFormat("audacity", ".txt", True, ("captions", "audacity"), _ON_A_LINE),
        SegmentFormat("edl", ".edl", True, ("edl", "edl"), _IN_TIMECODE),
        SegmentFormat(
            "otio",
            ".otio",
            True,
            ("otio_timeline", "otio"),
            replace(_IN_TIMECODE, subjects=True, labels="text"),
            needs=_OTIO,
        ),
        SegmentFormat("fcpxml", ".fcpxml", True, ("fcpxml", "fcpxml"), replace(_IN_TIMECODE, subjects=True)),
        SegmentFormat("fcp7xml", ".xml", True, ("otio_timeline", "fcp7_xml"), _IN_TIMECODE, needs=_FCP),
        SegmentFormat("resolve-edl", ".edl", True, ("edl", "resolve_markers"), replace(_IN_TIMECODE, labels="field")),
        SegmentFormat("premiere-xml", ".xml", True, ("otio_timeline", "premiere_markers"), _IN_TIMECODE, needs=_FCP),
        SegmentFormat("activitynet", ".json", False, ("activitynet", "activitynet"), Holding(scores=True)),
        SegmentFormat("epic", ".json", False, ("epic_detection", "epic_detection"), Holding(scores=True), of_rows=True),
        SegmentFormat("eaf", ".eaf", True, ("elan", "eaf"), _ON_A_LINE, in_folder=True),
        SegmentFormat("elan-txt", ".txt", True, ("elan_table", "elan_table"), _ON_A_LINE),
        SegmentFormat("labelstudio", ".json", False, ("labelstudio", "labelstudio"), Holding(scores=True, frames=True)),
        SegmentFormat("boris", ".boris", False, ("boris", "boris"), _OF_PEOPLE),
        SegmentFormat("boris-csv", ".csv", False, ("boris", "boris_table"), _OF_PEOPLE),
        SegmentFormat("cvat", ".xml", True, ("cvat", "cvat"), Holding(frames=True, labels="line")),
        SegmentFormat("via", ".json", False, ("via", "via"), Holding(scores=True)),
        SegmentFormat("via-csv", ".csv", False, ("via", "via_table"), Holding(scores=True)),
        SegmentFormat("actionformer", ".json", False, ("activitynet", "actionformer"), Holding(splits=True)),
        SegmentFormat("charades", ".csv", False, ("word_lists", "charades"), Holding(labels="word")),
        SegmentFormat(
            "charades-json", ".json", False, ("word_lists", "charades_json"), Holding(splits=True, labels="number")
        ),
        SegmentFormat("ava", ".csv", False, ("ava", "ava"), Holding(seconds=True, labels="number")),
        SegmentFormat("ego4d", ".json", False, ("ego4d", "ego4d_moments"), Holding(splits=True)),
        SegmentFormat("createml", ".json", False, ("createml", "createml"), Holding(splits=True)),
        SegmentFormat("thumos", ".txt", False, ("word_lists", "thumos"), Holding(scores=True, labels="number")),
    )
}

# The format that a file's name stands for. Suffixes that many programs share stand for none of theirs.
CLASSIFY_SUFFIXES: Mapping[str, ClassifyFormat] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".parquet": "parquet",
    ".txt": "table",
}
_OF_OWN_SUFFIX = ("srt", "vtt", "edl", "otio", "fcpxml", "eaf", "boris")
DETECT_SUFFIXES: Mapping[str, DetectFormat] = {
    **CLASSIFY_SUFFIXES,
    **{SEGMENT_FORMATS[name].suffix: SEGMENT_FORMATS[name].name for name in _OF_OWN_SUFFIX},
}
REPORT_SUFFIXES: Mapping[str, ReportFormat] = {".json": "json", ".csv": "csv", ".txt": "table"}
BENCH_SUFFIXES: Mapping[str, BenchFormat] = {".json": "json", ".txt": "table"}
