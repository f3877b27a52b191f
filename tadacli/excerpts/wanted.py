"""What is to be cut out of which videos: from results of detection, or from labels."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tadacli.datasets import AnnotationFormat
from tadacli.datasets.recognising import are_labels
from tadacli.errors import UsageError
from tadacli.formats.results import read_detections
from tadacli.formats.rows import DetectionRow
from tadacli.results import Detection


@dataclass(frozen=True)
class WantedSegment:
    """A span with a label, in seconds; `names` are all labels that it goes by. What a person labelled has no score.

    `reason` says why it cannot be cut out, where that is known beforehand.
    """

    start_seconds: float | None
    end_seconds: float | None
    label: str
    score: float | None = None
    names: tuple[str, ...] = ()
    reason: str = ""

    def is_one_of(self, labels: frozenset[str] | None, min_score: float | None) -> bool:
        """Whether it has one of the labels (None: any), and at least this score, or none."""
        has_label = labels is None or not labels.isdisjoint((self.label, *self.names))
        return has_label and (min_score is None or self.score is None or self.score >= min_score)


@dataclass(frozen=True)
class WantedVideo:
    """A video and what is to be cut out of it.

    `error` says why it could not be searched; then it has no segments. `fps` is the rate of a folder or tar of frames.
    `size_bytes` and `num_frames` are what the video had when it was searched, where that is known. In times that count
    `from_first_frame`, as those of labels do, it is shown at 0; others are presentation times. `gaps` are spans of
    which frames could not be read.
    """

    path: str
    segments: tuple[WantedSegment, ...]
    error: str = ""
    fps: float | None = None
    size_bytes: int | None = None
    num_frames: int | None = None
    from_first_frame: bool = False
    gaps: tuple[tuple[float, float], ...] = ()


def wanted_of(found: Iterable[Detection]) -> list[WantedVideo]:
    """What `detect` found, as what is to be cut out."""
    return [
        WantedVideo(
            each.path,
            tuple(
                WantedSegment(part.start_seconds, part.end_seconds, part.label, part.score, part.names)
                for part in each.segments
            ),
            error=each.error if each.status == "error" else "",
            fps=None if each.video is None else float(each.video.fps),
            num_frames=None if each.video is None else each.video.num_frames,
            gaps=tuple((gap.start_seconds, gap.end_seconds) for gap in each.gaps),
        )
        for each in found
    ]


def wanted_in(
    file: str | os.PathLike[str],
    *,
    data_root: Path | None = None,
    tiers: Sequence[str] | None = None,
    fps: float | None = None,
    kind: AnnotationFormat | None = None,
) -> tuple[list[WantedVideo], list[str]]:
    """What a file of results or labels names, as what is to be cut out.

    Args:
        file: What `tada detect` wrote, JSON or JSON lines; or labels, as `read_annotations` takes them.
        data_root: Of labels: where videos are looked for.
        tiers: Of labels: the tiers that count.
        fps: Of labels: the rate that frames are counted at.
        kind: Of labels: how they are written.

    Returns:
        The videos, and what to know of how the file was read.

    Raises:
        UsageError: It is neither of the two, or is damaged; or options of labels are given for results.
    """
    path = Path(file)
    options = data_root is not None or bool(tiers) or fps is not None
    if kind is None and not are_labels(path):
        if options:
            raise UsageError(
                f"{path} is what tada detect wrote",
                hint="leave out --data-root, --tier and --fps, which are for labels",
            )
        return [_of_row(row) for row in read_detections(path)], []
    return _labelled(path, data_root, tiers, fps, kind)


def _of_row(row: DetectionRow) -> WantedVideo:
    facts = row["info"]
    return WantedVideo(
        row["path"],
        tuple(
            WantedSegment(
                each["start_seconds"],
                each["end_seconds"],
                each["label"],
                None if each.get("origin") == "added" else each["score"],
                tuple(name for name in (each.get("verb_label"), each.get("noun_label")) if name is not None),
            )
            for each in row["segments"]
        ),
        error=(row["error"] or "it could not be searched") if row["status"] == "error" else "",
        fps=row["settings"].get("fps"),
        size_bytes=row["size_bytes"],
        num_frames=None if facts is None else facts["num_frames"],
        gaps=tuple((gap["start_seconds"], gap["end_seconds"]) for gap in row["gaps"]),
    )


def _labelled(
    path: Path,
    data_root: Path | None,
    tiers: Sequence[str] | None,
    fps: float | None,
    kind: AnnotationFormat | None,
) -> tuple[list[WantedVideo], list[str]]:
    from tadacli.datasets.annotations import read_annotations
    from tadacli.datasets.label_videos import label_videos

    read = read_annotations(path, data_root=data_root, tiers=tiers, fps=fps, kind=kind)
    found = label_videos(read, fps=fps)
    segments: dict[str, list[WantedSegment]] = {}
    rates: dict[str, float | None] = {}
    for video in found.videos:
        segments[video.path] = [
            WantedSegment(each.start_seconds, each.end_seconds, each.label, each.score) for each in video.segments
        ]
        rates[video.path] = video.fps
    for span in found.left_out:
        name = os.fspath(span.path or span.video)
        refused = WantedSegment(
            span.start_seconds, span.end_seconds, span.label, span.score, reason=f"{span.place}: {span.reason}"
        )
        segments.setdefault(name, []).append(refused)
    wanted = [
        WantedVideo(name, tuple(each), fps=rates.get(name), from_first_frame=True) for name, each in segments.items()
    ]
    return wanted, [*map(str, read.remarks), *found.remarks]
