"""Models ready to use, as `load_model` and its like return them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

import tadacli  # what a model does for its caller is the package's public functions, found when they are called
from tadacli.results import Classifications, Detections, Progress
from tadacli.runtimes import Runtime
from tadacli.specs import EvalProtocol, HeadSpec, ModelSpec, ProposalSpec, ScoreLimit


@dataclass(frozen=True)
class Model:
    """A network in its form for inference on its device, with the spec and the hash of its weights file.

    `notes` are what the person who asked for the model should know, such as the dtype that "auto" came to. `runtime` is
    what computes an exported file in PyTorch's place, None for PyTorch; the hash is then that of the weights which were
    exported.
    """

    spec: ModelSpec
    network: nn.Module
    device: torch.device
    dtype: torch.dtype
    weights_path: Path
    weights_sha256: str
    notes: tuple[str, ...] = ()
    runtime: Runtime | None = None

    def classify(
        self,
        videos: tadacli.video.VideoLike | Iterable[tadacli.video.VideoLike],
        *,
        views: str | EvalProtocol | None = None,
        part: tadacli.Part | None = None,
        topk: int = 5,
        min_score: ScoreLimit = 0.0,
        batch_size: int | None = None,
        fps: float | None = None,
        times: tadacli.video.Times | None = None,
        progress: Callable[[Progress], object] | None = None,
        index: str | os.PathLike[str] | None = None,
    ) -> Classifications:
        """What each video shows: `tadacli.classify` with this model, whose documentation says what the arguments are.

        Args:
            videos: Paths, URLs or frames in memory.
            views: How many views are averaged.
            part: The part of each video to look at.
            topk: At most so many labels are given for each head.
            min_score: Classes below this score are left out.
            batch_size: Views scored at once.
            fps: Frames a second of arrays, folders and tars of frames.
            times: When each frame of an array is shown, in seconds.
            progress: Called with how far this is.
            index: A folder in which the frame tables of video files are kept.

        Returns:
            A result for each video, in order.

        Raises:
            TadaError: As `tadacli.classify`.
        """
        return tadacli.classify(
            videos,
            model=self,
            views=views,
            part=part,
            topk=topk,
            min_score=min_score,
            batch_size=batch_size,
            fps=fps,
            times=times,
            progress=progress,
            index=index,
        )

    def detect(
        self,
        videos: tadacli.video.VideoLike | Iterable[tadacli.video.VideoLike],
        *,
        window: str | float | None = None,
        stride: str | float | None = None,
        threshold: ScoreLimit | None = None,
        labels: str | Sequence[str] | None = None,
        windows: tadacli.WindowSettings | None = None,
        segments: tadacli.SegmentSettings | None = None,
        fps: float | None = None,
        times: tadacli.video.Times | None = None,
        progress: Callable[[Progress], object] | None = None,
        index: str | os.PathLike[str] | None = None,
    ) -> Detections:
        """What happens in each video, and when: `tadacli.detect` with this model, which says what the arguments are.

        Args:
            videos: Paths, URLs or frames in memory.
            window: How long the windows are that are scored.
            stride: From one window to the next.
            threshold: The score that a segment reaches.
            labels: The only labels that are reported.
            windows: All settings of windows.
            segments: All settings of segments.
            fps: Frames a second of arrays, folders and tars of frames.
            times: When each frame of an array is shown, in seconds.
            progress: Called with how far this is.
            index: A folder in which the frame tables of video files are kept.

        Returns:
            A result for each video, in order.

        Raises:
            TadaError: As `tadacli.detect`.
        """
        return tadacli.detect(
            videos,
            model=self,
            window=window,
            stride=stride,
            threshold=threshold,
            labels=labels,
            windows=windows,
            segments=segments,
            fps=fps,
            times=times,
            progress=progress,
            index=index,
        )


@dataclass(frozen=True)
class Trained:
    """A network with its weights as it was trained, in evaluation mode in float32 on the CPU, with its spec."""

    spec: ModelSpec
    network: nn.Module
    path: Path
    sha256: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ProposalModel:
    """A network over features on its device, in evaluation mode, with its spec and the hash of its weights file."""

    spec: ProposalSpec
    network: nn.Module
    device: torch.device
    dtype: torch.dtype
    weights_path: Path
    weights_sha256: str


@dataclass(frozen=True)
class HeadModel:
    """A head over features on its device, in evaluation mode, with its spec and the hash of its weights file.

    `trunk` is the file of the model that makes the features, None where it is not kept with the head.
    """

    spec: HeadSpec
    network: nn.Module
    device: torch.device
    dtype: torch.dtype
    weights_path: Path
    weights_sha256: str
    trunk: Path | None
