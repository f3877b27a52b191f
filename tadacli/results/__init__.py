"""Values that the library returns: facts about a video, predictions, classifications, detections, runs, progress.

Here: the frozen values with what can be asked of them, lists of them, their JSON-ready form, data frames, HTML for
notebooks, and notes. Not here: files (`formats`), pages (`reports`), and how anything is found.
"""

from tadacli.results.classifications import Classification, Classifications, Prediction
from tadacli.results.detections import Detection, Detections, Gap, Segment, Window
from tadacli.results.excerpts import Excerpt
from tadacli.results.json_ready import DetectionStatus, Status
from tadacli.results.notes import Note, NoteKind, counted, out_of
from tadacli.results.progress import Progress
from tadacli.results.runs import (
    FeatureSummary,
    InputSummary,
    Run,
    RunSettings,
    SegmentSummary,
    SpecSummary,
    StepSummary,
)
from tadacli.results.videos import FrameTime, VideoInfo

__all__ = [
    "Classification",
    "Classifications",
    "Detection",
    "DetectionStatus",
    "Detections",
    "Excerpt",
    "FeatureSummary",
    "FrameTime",
    "Gap",
    "InputSummary",
    "Note",
    "NoteKind",
    "Prediction",
    "Progress",
    "Run",
    "RunSettings",
    "Segment",
    "SegmentSummary",
    "SpecSummary",
    "Status",
    "StepSummary",
    "VideoInfo",
    "Window",
    "counted",
    "out_of",
]
