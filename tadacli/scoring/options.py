"""How videos are scored, and what is reported of the scores, as a person asks for it."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tadacli.errors import UsageError
from tadacli.sampling.settings import default_batch_size
from tadacli.scoring import DEFAULT_BATCH_SIZE, DEFAULT_MIN_SCORE, DEFAULT_TOPK
from tadacli.specs import EvalProtocol
from tadacli.video.frame_names import checked_rate

if TYPE_CHECKING:
    from tadacli.sampling.plan import Part
    from tadacli.specs import ModelSpec, ScoreLimit


@dataclass(frozen=True)
class ScoringOptions:
    """How the views of videos are scored.

    `views` None are those that the model was published with. `batch_size` views are scored at once, None for a usual
    number; with `fill_batches` also those of several videos (see `score_in_order`).

    Raises:
        UsageError: For a batch without a view.
    """

    views: EvalProtocol | None = None
    batch_size: int | None = None
    fill_batches: bool = False

    def __post_init__(self) -> None:
        if self.batch_size is not None and self.batch_size < 1:
            raise UsageError(f"a batch of {self.batch_size} views is not possible", hint="use --batch-size 1 or more")

    def views_of(self, spec: ModelSpec) -> EvalProtocol:
        """The views asked for, or those that the model was published with."""
        return self.views or spec.protocol

    @property
    def views_at_once(self) -> int:
        """The batch size asked for, or the usual one."""
        return self.batch_size or DEFAULT_BATCH_SIZE


@dataclass(frozen=True)
class ClassificationOptions:
    """How videos are classified: of which `part` of each, None for all of it, and which labels are reported.

    Those are the best `topk` of the classes that reach `min_score`, 0 to 1, or with "auto" the threshold of their own
    that the model carries. `fps` is the rate of folders and tars of frames, None for what their name says, or else 30.
    In the folder `index` frame tables are kept; results do not depend on it.

    Raises:
        UsageError: For values out of range, and for views together with the sampling of a window.
    """

    scoring: ScoringOptions = ScoringOptions()
    part: Part | None = None
    topk: int = DEFAULT_TOPK
    min_score: ScoreLimit = DEFAULT_MIN_SCORE
    fps: float | None = None
    index: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        part = self.part
        if part is not None and part.sampling is not None and self.scoring.views is not None:
            raise UsageError(
                "views and a window's sampling exclude each other", hint="give --views or --sampling, not both"
            )
        start, end = (None, None) if part is None else (part.start_seconds, part.end_seconds)
        if start is not None and end is not None and start >= end:
            raise UsageError(f"the range from {start:g} s to {end:g} s is empty or reversed")
        if self.topk < 1:
            raise UsageError(f"top {self.topk} names no class", hint="use --topk 1 or more")
        if self.fps is not None:
            checked_rate(self.fps)
        if self.min_score != "auto" and not 0 <= self.min_score <= 1:
            raise UsageError(f"minimum score {self.min_score} is not between 0 and 1")

    def on(self, device_type: str) -> ClassificationOptions:
        """The options with nothing about the batch size left open: a window is scored as `tada detect` does it."""
        if self.scoring.batch_size is not None or self.part is None or self.part.sampling is None:
            return self
        return replace(self, scoring=replace(self.scoring, batch_size=default_batch_size(device_type)))


def scoring_options(
    *, views: str | EvalProtocol | None = None, batch_size: int | None = None, fill_batches: bool = False
) -> ScoringOptions:
    """The options that a person's words mean; `views` may be "CLIPSxCROPS". Raises `UsageError` for other words."""
    return ScoringOptions(parse_views(views) if isinstance(views, str) else views, batch_size, fill_batches)


def parse_views(text: str) -> EvalProtocol:
    """The views of "CLIPSxCROPS", for example "10x3". Raises `UsageError` for anything else."""
    clips, separator, crops = text.partition("x")
    try:
        if separator and clips.isascii() and clips.isdigit() and crops in ("1", "3"):
            return EvalProtocol(int(clips), int(crops))
    except ValueError:  # none, or too many
        pass
    raise UsageError(
        f"views {text!r} cannot be read",
        hint="give clips x crops, crops being 1 or 3, for example --views 10x3",
    )
