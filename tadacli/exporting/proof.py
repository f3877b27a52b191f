"""Whether a file gives what the network gives: clips through both."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from tadacli.camera_motion.virtual_camera import CameraMove, render_sequence
from tadacli.errors import TadaError, UsageError, VideoError
from tadacli.exporting import MOST_RELATIVE_ERROR
from tadacli.runtimes import CLIPS, FEATURES, logits_name
from tadacli.runtimes.metadata import Proof
from tadacli.runtimes.networks import ExportedNetwork
from tadacli.scoring.views import FeatureNetwork, decode_views, normalised_views
from tadacli.specs import EvalProtocol
from tadacli.video.boundary import VideoBoundary
from tadacli.video.inputs import local_path
from tadacli.video.reading import open_video
from tadacli.zoo.loading import Model

BATCH_SIZES = (1, 2, 5)
_MOST_CLIPS = 256  # a clip takes megabytes
_HEIGHT, _WIDTH, _FPS = 180, 320, 30
_MOVES = ("pan left", "zoom in", "tilt up", "roll clockwise")


class NotProvenError(TadaError):
    """A file that does not give what the network gives."""


@dataclass(frozen=True)
class ProofClips:
    """Clips (N, 3, T, H, W), N >= 5, of what they were taken, and the videos that could not be read, with reasons."""

    clips: Tensor
    kind: str
    names: tuple[str, ...]
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class BatchProof:
    """What batches of one size gave; see `Proof`."""

    batch_size: int
    num_clips: int
    relative_errors: Mapping[str, float]
    num_agreeing: int


def proof_clips(model: Model, videos: Sequence[str] = ()) -> ProofClips:
    """Clips to prove a file on.

    Args:
        model: The model, whose input settings hold.
        videos: Paths or URLs, of each of which the middle is taken, and more of it where they are few; without any,
            videos are rendered.

    Returns:
        The clips.

    Raises:
        UsageError: None of the videos can be read.
    """
    if not videos:
        with tempfile.TemporaryDirectory() as folder:
            video = f"{folder}/moves.mp4"
            moves = [(CameraMove(name, speed=0.3), _seconds(model)) for name in _MOVES]
            render_sequence(video, moves=moves, fps=_FPS, height=_HEIGHT, width=_WIDTH)
            return ProofClips(torch.stack(_clips_of(video, model, max(BATCH_SIZES))), "rendered", ())
    each = -(-max(BATCH_SIZES) // len(videos))
    clips: list[Tensor] = []
    left_out, names = [], []
    for video in videos:
        try:
            found = _clips_of(video, model, each)
        except VideoError as error:
            left_out.append(f"{video}: {error.reason}")
            continue
        names.append(video)
        clips += found
        if len(clips) >= _MOST_CLIPS:
            break
    if not clips:
        raise UsageError(
            f"none of the {len(videos)} videos of --clips can be read: {left_out[0]}", hint="give others, or none"
        )
    while len(clips) < max(BATCH_SIZES):  # the others could not be read
        clips += clips[: max(BATCH_SIZES) - len(clips)]
    return ProofClips(torch.stack(clips), "videos", tuple(names), tuple(left_out))


def _seconds(model: Model) -> float:
    """How long one of the moves is shown, so that clips of the video see something move, and it is rendered soon."""
    spec = model.spec.input
    return min(max(spec.clip_frames * spec.frame_stride / spec.target_fps / len(_MOVES), 0.25), 1.0)


def _clips_of(video: str, model: Model, num_clips: int) -> list[Tensor]:
    with VideoBoundary(video) as boundary, local_path(video) as file, open_video(boundary.reads(file)) as source:
        views = decode_views(source, model=model, views=EvalProtocol(num_clips, 1))
        return list(normalised_views(views, model.spec.input))


@torch.inference_mode()
def prove(model: Model, exported: ExportedNetwork, clips: Tensor) -> tuple[BatchProof, ...]:
    """Clips through the network and through a file, in batches of one, two and five.

    Args:
        model: The model, on the CPU.
        exported: What the file holds.
        clips: (N, 3, T, H, W), N >= 5. All of them go through in batches of five, one and two of them in smaller ones.

    Returns:
        What each size of batch gave.

    Raises:
        CheckpointError: The file cannot be run on such a batch.
    """
    names = [FEATURES, *(logits_name(head) for head in model.spec.heads)]
    found = []
    for size in BATCH_SIZES:
        errors, agreeing = dict.fromkeys(names, 0.0), 0
        some = clips if size == max(BATCH_SIZES) else clips[:size]
        for first in range(0, len(some), size):
            part = some[first : first + size]
            batch = torch.cat((part, some[: size - len(part)]))
            expected = outputs_of(model.network, batch, names)
            given = exported.outputs({CLIPS: batch}, names)
            for name in names:
                errors[name] = max(errors[name], relative_error(given[name], expected[name]))
            agreeing += int(same_best(given, expected)[: len(part)].sum())
        found.append(BatchProof(size, len(some), errors, agreeing))
    return tuple(found)


def outputs_of(network: nn.Module, clips: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
    """Features and logits of clips by the names that they have in a file."""
    features, logits = cast(FeatureNetwork, network).features_and_logits(clips.clone())
    of_heads = list(logits.values()) if isinstance(logits, dict) else [logits]
    return dict(zip(names, (features, *of_heads), strict=True))


def relative_error(found: Tensor, expected: Tensor) -> float:
    """The largest difference, relative to the largest value; infinite for other shapes and what is not finite."""
    if found.shape != expected.shape or not bool(found.isfinite().all()):
        return float("inf")
    largest = float(expected.abs().max())
    return float((found - expected).abs().max()) / max(largest, torch.finfo(torch.float32).tiny)


def same_best(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> Tensor:
    """Of each clip, whether the best class of every head is the same, (B,)."""
    heads = [name for name in expected if name != FEATURES]
    same = [found[name].argmax(dim=1) == expected[name].argmax(dim=1) for name in heads]
    return torch.stack(same).all(dim=0)


def proof_of(batches: Sequence[BatchProof], clips: ProofClips) -> Proof:
    """The proof in short."""
    return Proof(
        clips.kind,  # type: ignore[arg-type]
        len(clips.clips),
        tuple(each.batch_size for each in batches),
        max(max(each.relative_errors.values()) for each in batches),
        min(each.num_agreeing / each.num_clips for each in batches),
    )


def check_proven(batches: Sequence[BatchProof], file: Path) -> None:
    """Raises `NotProvenError` for outputs that differ by more than `MOST_RELATIVE_ERROR`, or in the best class."""
    for each in batches:
        name, error = max(each.relative_errors.items(), key=lambda item: item[1])
        if error > MOST_RELATIVE_ERROR or each.num_agreeing < each.num_clips:
            raise NotProvenError(
                f"{file} was not kept, since it gives other values than the network: {name} differ by {error:.1e} of "
                f"the largest at batch {each.batch_size} (at most {MOST_RELATIVE_ERROR:.0e}), and the best class is "
                f"the same for {each.num_agreeing} of {each.num_clips} clips",
                hint="try another version of PyTorch or onnxscript, or the other kind of file",
            )
