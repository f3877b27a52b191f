"""Features of a video's snippets: what a network makes of each before its last layer, when, and by which contract."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tadacli.results import DetectionStatus, Gap, Note, NoteKind, RunSettings, VideoInfo
from tadacli.specs import ModelSpec


@dataclass(frozen=True)
class FeatureContract:
    """What features are a function of, besides the video.

    Attributes:
        spec: The model, with its labels.
        weights_sha256: Hash of its weights file.
        tool_version: The version of this tool.
        fps: The model's own rate, at which snippets and strides in frames are counted.
        snippet_seconds: Length of a snippet.
        stride_seconds: From one snippet to the next.
        first_centre_seconds: The centre of the first snippet, from the start of the video.
        crops: Of each frame, 1 or 3; features of the crops stand beside each other: left, middle, right.
        settings: The settings in the words they were given in, the device, the dtype and the versions of libraries.
    """

    spec: ModelSpec
    weights_sha256: str
    tool_version: str
    fps: float
    snippet_seconds: float
    stride_seconds: float
    first_centre_seconds: float
    crops: int
    settings: RunSettings

    def __post_init__(self) -> None:
        """Raises `ValueError` for numbers that no contract can have."""
        numbers = (self.fps, self.snippet_seconds, self.stride_seconds)
        is_sound = all(0 < number < np.inf for number in numbers) and 0 <= self.first_centre_seconds < np.inf
        if not is_sound or self.crops not in (1, 3):
            raise ValueError("it has a rate or a length of time that is none, or other than 1 or 3 crops")

    @property
    def model(self) -> str:
        """The name of the model."""
        return self.spec.name


@dataclass(frozen=True, eq=False)
class VideoFeatures:
    """The features of one video, a row for each snippet that could be read, in order of time.

    Attributes:
        path: The video as it was given; of a file that was read, what it names.
        values: Features (N, C).
        spans: Start and end of each snippet (N, 2), in true presentation seconds. Snippets at the start and the end of
            a video are moved into it.
        centres: The time that each row stands for (N,), in seconds: even steps but for what is missing.
        stride_seconds: From one row to the next, where none is missing.
        duration_seconds: Where the video's timeline ends.
        gaps: What of the timeline could not be read.
        contract: What the features are a function of; None for other people's files.
        scores: Scores of the classes (N, num_classes) by head; empty where they were not kept.
        start_seconds: Where the video's timeline starts.
        size_bytes: Size of the video's file, if it is known.
        num_planned: Snippets that there would be without gaps; None for other people's files.
        notes: What to know of the video that is no error.
        cuts: When shots begin across which no snippet reaches, in presentation seconds; None where nobody asked.
        info: What is known of the video; None where it was not opened, as its features were there already.
        num_frames_used: Distinct frames that were looked at; 0 then.

    Raises:
        ValueError: The arrays do not fit together, or hold values that are not finite.
    """

    path: str
    values: NDArray[np.float32]
    spans: NDArray[np.float64]
    centres: NDArray[np.float64]
    stride_seconds: float
    duration_seconds: float
    gaps: tuple[Gap, ...]
    contract: FeatureContract | None
    scores: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    start_seconds: float = 0.0
    size_bytes: int | None = None
    num_planned: int | None = None
    notes: tuple[Note, ...] = ()
    cuts: tuple[float, ...] | None = None
    info: VideoInfo | None = None
    num_frames_used: int = 0

    def __post_init__(self) -> None:
        """Raises `ValueError` for arrays that do not fit together."""
        count = len(self.values)
        columns: dict[str, NDArray[np.floating]] = {"spans": self.spans, "centres": self.centres, "values": self.values}
        columns |= {f"scores {name}": values for name, values in self.scores.items()}
        for name, values in columns.items():
            shape = {"spans": (count, 2), "centres": (count,)}.get(name, (count, *(values.shape[1:2] or (0,))))
            if values.shape != shape or values.dtype.kind != "f":
                found = f"{values.dtype} {values.shape}"
                raise ValueError(f"its arrays do not fit together: {name} is {found} beside {count} rows")
            if not np.isfinite(values).all():
                raise ValueError(f"{name} holds values that are not finite")
        if not 0 < self.stride_seconds < np.inf or not -np.inf < self.start_seconds <= self.duration_seconds < np.inf:
            ends = f"from {self.start_seconds} s to {self.duration_seconds} s"
            raise ValueError(f"snippets every {self.stride_seconds} s {ends} are none")

    @property
    def status(self) -> DetectionStatus:
        """Whether all of the video is there: "ok", or "partial"."""
        is_cut = any(note.kind is NoteKind.CUT_SHORT for note in self.notes)
        return "partial" if self.gaps or is_cut else "ok"
