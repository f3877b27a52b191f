"""Whether a file gives what the network gives: clips through both."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

import torch
from torch import Tensor, nn

from tadacli.camera_motion.virtual_camera import CameraMove, render_sequence
from tadacli.errors import TadaError, UsageError, VideoError
from tadacli.exporting import MOST_RELATIVE_ERROR
from tadacli.runtimes import CLIPS, FEATURES, logits_name
from tadacli.runtimes.metadata import Proof, ProofKind
from tadacli.runtimes.networks import ExportedNetwork
from tadacli.scoring.views import decode_views, features_and_logits, normalised_views
from tadacli.specs import EvalProtocol, ModelSpec
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
    """Clips (N, 3, T, H, W), N >= 5, of what they were taken, and the videos that could not be read, with reasons.

    `origins` are the videos clip by clip.
    """

    clips: Tensor
    kind: ProofKind
    names: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()

    def halves(self) -> tuple[ProofClips, ProofClips]:
        """Every other clip, and those between."""
        one, other = (replace(self, clips=self.clips[first::2], origins=self.origins[first::2]) for first in (0, 1))
        return one, other


@dataclass(frozen=True)
class BatchProof:
    """What batches of one size gave; see `Proof`.

    Of `num_labelled` clips it is known what they show; `num_right` of them the network names rightly, and
    `num_right_in_file` the file.
    """

    batch_size: int
    num_clips: int
    relative_errors: Mapping[str, float]
    num_agreeing: int
    num_labelled: int = 0
    num_right: int = 0
    num_right_in_file: int = 0


def proof_clips(model: Model, videos: Sequence[str] = (), *, least: int = max(BATCH_SIZES)) -> ProofClips:
    """Clips to prove a file on.

    Args:
        model: The model, whose input settings hold.
        videos: Paths or URLs, of each of which the middle is taken, and more of it where they are few; without any,
            videos are rendered.
        least: How many clips there are at least.

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
            return ProofClips(torch.stack(_clips_of(video, model, least)), "rendered", ())
    each = -(-least // len(videos))
    clips: list[Tensor] = []
    left_out, names = [], []
    origins: list[str] = []
    for video in videos:
        try:
            found = _clips_of(video, model, each)
        except VideoError as error:
            left_out.append(f"{video}: {error.reason}")
            continue
        names.append(video)
        clips += found
        origins += [video] * len(found)
        if len(clips) >= _MOST_CLIPS:
            break
    if not clips:
        raise UsageError(
            f"none of the {len(videos)} videos of --clips can be read: {left_out[0]}", hint="give others, or none"
        )
    while len(clips) < least:  # the others could not be read
        origins += origins[: least - len(clips)]
        clips += clips[: least - len(clips)]
    return ProofClips(torch.stack(clips), "videos", tuple(names), tuple(left_out), tuple(origins))


def _seconds(model: Model) -> float:
    """How long one of the moves is shown, so that clips of the video see something move, and it is rendered soon."""
    spec = model.spec.input
    return min(max(spec.clip_frames * spec.frame_stride / spec.target_fps / len(_MOVES), 0.25), 1.0)


def _clips_of(video: str, model: Model, num_clips: int) -> list[Tensor]:
    with VideoBoundary(video) as boundary, local_path(video) as file, open_video(boundary.reads(file)) as source:
        views = decode_views(source, model=model, views=EvalProtocol(num_clips, 1))
        return list(normalised_views(views, model.spec.input))


@torch.inference_mode()
def prove(
    model: Model, exported: ExportedNetwork, *, clips: Tensor, truth: Sequence[int | None] = ()
) -> tuple[BatchProof, ...]:
    """Clips through the network and through a file, in batches of one, two and five.

    Args:
        model: The model, on the CPU.
        exported: What the file holds.
        clips: (N, 3, T, H, W), N >= 5. All of them go through in batches of five, one and two of them in smaller ones.
        truth: The class of the one head that each clip shows, None where nobody knows; none at all by default.

    Returns:
        What each size of batch gave.

    Raises:
        CheckpointError: The file cannot be run on such a batch.
    """
    names = [FEATURES, *(logits_name(head) for head in model.spec.heads)]
    found = []
    for size in BATCH_SIZES:
        errors, agreeing, labelled, right, right_in_file = dict.fromkeys(names, 0.0), 0, 0, 0, 0
        some = clips if size == max(BATCH_SIZES) else clips[:size]
        for first in range(0, len(some), size):
            part = some[first : first + size]
            batch = torch.cat((part, some[: size - len(part)]))
            expected = outputs_of(model.network, batch, names)
            given = exported.outputs({CLIPS: batch}, names)
            for name in names:
                errors[name] = max(errors[name], relative_error(given[name], expected[name]))
            agreeing += int(same_best(given, expected)[: len(part)].sum())
            for row, label in enumerate(truth[first : first + len(part)]):
                labelled += label is not None
                right += label == int(expected[names[1]][row].argmax())
                right_in_file += label == int(given[names[1]][row].argmax())
        found.append(BatchProof(size, len(some), errors, agreeing, labelled, right, right_in_file))
    return tuple(found)


def truth_of(clips: ProofClips, spec: ModelSpec) -> list[int | None]:
    """The class that each clip shows, where the folder of its video has the name of one of a single head's labels."""
    labels = list(spec.heads.get("", ()))
    folders = [PurePath(origin).parent.name for origin in clips.origins]
    return [labels.index(name) if name in labels else None for name in folders]


def outputs_of(network: nn.Module, clips: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
    """Features and logits of clips by the names that they have in a file."""
    features, logits = features_and_logits(network, clips.clone())  # our form may write over it
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


def proof_of(batches: Sequence[BatchProof], kind: ProofKind) -> Proof:
    """The proof in short."""
    return Proof(
        kind,
        max(each.num_clips for each in batches),
        tuple(each.batch_size for each in batches),
        max(max(each.relative_errors.values()) for each in batches),
        min(each.num_agreeing / each.num_clips for each in batches),
    )


def check_agreement(batches: Sequence[BatchProof], file: Path, *, least: float) -> None:
    """Raises `NotProvenError` where less than a share of the best classes is the same."""
    whole = batches[-1]
    if whole.num_agreeing < least * whole.num_clips:
        raise NotProvenError(
            f"{file} was not kept: in int8 the best class is the same for {whole.num_agreeing} of {whole.num_clips} "
            f"clips, less than {least:g} of them",
            hint="calibrate on more clips, or on others; or say --min-agreement, or leave out --int8",
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
