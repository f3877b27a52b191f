"""`tada detect --model RUN`, where the run trained a head that finds segments."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tadacli.cli import options
from tadacli.errors import UsageError

if TYPE_CHECKING:
    from tadacli.detection.jobs import DetectionJob
    from tadacli.detection.settings import SegmentSettings

# The parameters of the command that mean something for a head: no windows are scored, and no curves are cut.
_USED = frozenset(
    "inputs model fetch features threshold min_duration topk topk_per_class label background device batch_size fps "
    "index output_format output resume recursive max_download cache cache_size report truth render quiet".split()
)
# Those of videos, which are not opened where features are there.
_OF_VIDEOS = frozenset("batch_size fps index recursive max_download cache cache_size report truth render".split())


def is_head_model(model: str) -> bool:
    """Whether a model's name is the path of a head; nothing heavy is loaded for names."""
    if not Path(model).exists():
        return False
    from tadacli.zoo.loading import is_head

    return is_head(model)


def job_of_head(
    inputs: list[str],
    *,
    model: str,
    features: list[Path] | None,
    segments: SegmentSettings,
    device: str,
    batch_size: int | None,
    fps: float | None,
    recursive: bool,
    max_download: int,
    index: Path | None,
) -> DetectionJob:
    """The job of searching videos, or features of them, in a process that is repeatable from now on."""
    from tadacli.detection.by_head import job_by_head, job_by_head_in_features
    from tadacli.scoring.provenance import make_repeatable
    from tadacli.zoo.loading import load_head_model

    make_repeatable()
    head = load_head_model(model, device=device)
    if features:
        if len(features) > 1:
            raise UsageError("a head takes one folder of features", hint="give --features once")
        return job_by_head_in_features(features[0], head=head, segments=segments, videos=inputs)
    videos = options.named_videos(inputs, recursive=recursive)
    if head.trunk is None:
        raise UsageError(
            f"{model} has no model that makes features of videos: it was trained on features of others",
            hint="give those of the videos with --features",
        )
    trunk = options.repeatable_model(str(head.trunk), weights=None, device=device, dtype="float32")
    return job_by_head(
        videos,
        head=head,
        trunk=trunk,
        segments=segments,
        batch_size=batch_size,
        fps=fps,
        max_download=max_download,
        index=options.index_folder(index),
    )


def refuse_options_without_use(given: Mapping[str, object], defaults: Mapping[str, object]) -> None:
    """Raise `UsageError` for an option that was given and would be without effect."""
    for name, value in given.items():
        if value == defaults[name] or value == []:
            continue
        if name not in _USED:
            raise UsageError(
                f"--{name.replace('_', '-')} does not go with a head that finds segments",
                hint="leave it out: such a head scores no windows",
            )
        if given["features"] and name in _OF_VIDEOS:
            raise UsageError(
                f"--{name.replace('_', '-')} does not go with --features", hint="leave it out: no video is opened"
            )
