"""`tada detect --features`: actions in videos whose features are there already."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tadacli.cli.weights import model_here
from tadacli.errors import UsageError

if TYPE_CHECKING:
    from tadacli.detection.jobs import DetectionJob

# The parameters of the command that mean something where no video is opened and no window of frames is scored.
_USED = frozenset(
    "inputs model weights fetch features class_scores device batch_size output_format output resume quiet".split()
)


def refuse_other_options(given: Mapping[str, object], defaults: Mapping[str, object]) -> None:
    """Raise `UsageError` for an option that was given and would be without effect."""
    for name, value in given.items():
        if name not in _USED and value != defaults[name] and value != []:
            raise UsageError(
                f"--{name.replace('_', '-')} does not go with --features",
                hint="leave it out: the published inference from features has settings of its own",
            )


def job_in_features(
    folders: list[Path],
    *,
    model: str,
    weights: str | None,
    fetch: bool,
    class_scores: Path | None,
    videos: list[str],
    device: str,
    batch_size: int | None,
) -> DetectionJob:
    """The job of searching features, in a process that is repeatable from now on."""
    from tadacli.detection.from_features import features_job
    from tadacli.scoring.provenance import make_repeatable
    from tadacli.zoo.loading import load_proposal_model

    model = model_here(model, weights=weights, fetch=fetch, takes_features=True)
    make_repeatable()
    if batch_size is not None and batch_size < 1:
        raise UsageError(f"--batch-size {batch_size} is no number of windows", hint="give 1 or more")
    return features_job(
        folders,
        model=load_proposal_model(model, weights=weights, device=device),
        class_scores=class_scores,
        videos=videos,
        batch_size=batch_size or 1,
    )
