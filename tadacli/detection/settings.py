"""How scores become segments, as a person asks for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, TypeAlias, cast, get_args

from tadacli.detection import DEFAULT_NMS, DEFAULT_NMS_IOU, DEFAULT_THRESHOLD, Nms
from tadacli.errors import UsageError

if TYPE_CHECKING:
    from tadacli.results import SegmentSummary
    from tadacli.specs import ModelSpec, ScoreLimit

# Labels by head name; a model with one head usually names it "".
Heads: TypeAlias = Mapping[str, Sequence[str]]
# So many pairs of a verb and a noun become detections in the published EPIC-KITCHENS-100 pipeline.
DETECTED_PAIRS = 5


@dataclass(frozen=True)
class SegmentSettings:
    """How scores become segments.

    A segment reaches `threshold` somewhere, after smoothing over `smooth_seconds`, holds half of that throughout, and
    ends where its score crosses half of its highest. With a `low_threshold` it holds that instead, and ends with the
    windows that do. With the threshold "auto" each class has one of its own, which the model carries, with the share of
    it that a segment holds. Gaps of at most
    `merge_gap_seconds` between segments of a class are bridged, then segments shorter than `min_duration_seconds`
    dropped. `nms` decides between segments of one class that overlap, as different window lengths give them: "hard"
    drops those with an IoU above `nms_iou`, "soft" lowers their scores as published, "none" keeps them; a segment that
    is lowered below the low threshold is dropped.

    `topk_per_class` and `topk` keep the best segments of each class and of the video. `labels`, if any, are
    the only ones reported, `background` ones never are; an action goes by its own name and by those of its
    verb and its noun. `max_pairs` is how many pairs of verb and noun each window may put forward.

    With `exclusive` one label holds at a time: the most likely sequence of labels (see `exclusive`), of which those
    segments stay whose best window reaches the threshold. None leaves that to the model (see `for_model`). With
    `contrast` a segment is what stands out from its surroundings by score (see `contrast`), as far as the score reaches
    the threshold in it. Nothing is left then to be smoothed, merged or suppressed.

    Raises:
        UsageError: For values out of range, and for settings that contradict each other.
    """

    threshold: ScoreLimit = DEFAULT_THRESHOLD
    low_threshold: float | None = None
    smooth_seconds: float = 0.0
    merge_gap_seconds: float = 0.0
    min_duration_seconds: float = 0.0
    nms: Nms = DEFAULT_NMS
    nms_iou: float = DEFAULT_NMS_IOU
    topk: int | None = None
    topk_per_class: int | None = None
    labels: tuple[str, ...] = ()
    background: tuple[str, ...] = ()
    max_pairs: int = DETECTED_PAIRS
    exclusive: bool | None = None
    contrast: bool = False

    def __post_init__(self) -> None:
        fractions = {"IoU of NMS": self.nms_iou}
        if self.levels is not None:
            fractions = {"threshold": self.levels[0], "low threshold": self.levels[1], **fractions}
        for name, value in fractions.items():
            if not 0 <= value <= 1:
                raise UsageError(f"the {name} {value} is not between 0 and 1", hint="give a fraction such as 0.4")
        if self.levels is None and self.low_threshold is not None:
            raise UsageError(
                f'the low threshold {self.low_threshold} does not go with the threshold "auto"',
                hint="leave it out: that of each class is half of its threshold; or give a number as the threshold",
            )
        if self.levels is not None and self.levels[1] > self.levels[0]:
            raise UsageError(
                f"the low threshold {self.levels[1]} is above the threshold {self.levels[0]}",
                hint="a segment holds the low threshold throughout and reaches the other one somewhere",
            )
        for name, seconds in (
            ("smoothing", self.smooth_seconds),
            ("gap to merge across", self.merge_gap_seconds),
            ("shortest segment", self.min_duration_seconds),
        ):
            if not 0 <= seconds < float("inf"):
                raise UsageError(f"the {name} of {seconds} seconds is no length of time", hint="give 0 or more seconds")
        if self.nms not in get_args(Nms):
            raise UsageError(f"unknown suppression {self.nms!r}", hint="use hard, soft or none")
        for name, count in (("top", self.topk), ("top per class", self.topk_per_class), ("pairs", self.max_pairs)):
            if count is not None and count < 1:
                raise UsageError(f"{name} {count} leaves nothing", hint="use 1 or more")
        if both := [label for label in self.labels if label in self.background]:
            raise UsageError(f"{both[0]!r} is both wanted and background", hint="name it as one of the two")
        if self.exclusive and self.contrast:
            raise UsageError("--exclusive and --contrast are two ways to find segments", hint="leave one of them out")
        if (self.exclusive or self.contrast) and (given := self._between_labels()):
            where = "one label holds at a time" if self.exclusive else "segments are what stands out"
            hint = "leave it out, or give --no-exclusive" if self.exclusive else "leave it out"
            raise UsageError(f"where {where} there is no use for {' and '.join(given)}", hint=hint)

    def to_dict(self) -> SegmentSummary:
        """The settings as JSON-ready values; `exclusive`, `contrast` and `ends` only where results depend on them."""
        values = asdict(self)
        if self.low_threshold is None and not self.exclusive and not self.contrast:
            values["ends"] = "half height"
        for name in ("exclusive", "contrast"):
            if not values[name]:
                del values[name]
        return cast("SegmentSummary", values)

    def _between_labels(self) -> list[str]:
        """The settings that are not the usual ones and say what becomes of labels that hold at the same time."""
        usual = {
            "a low threshold": self.low_threshold is None,
            "smoothing": self.smooth_seconds == 0,
            "a gap to merge across": self.merge_gap_seconds == 0,
            f"{self.nms} suppression": self.nms == DEFAULT_NMS,
            "an IoU of suppression": self.nms_iou == DEFAULT_NMS_IOU,
        }
        return [name for name, is_usual in usual.items() if not is_usual]

    @property
    def levels(self) -> tuple[float, float] | None:
        """The scores that a segment reaches somewhere and holds throughout; None if each class has its own."""
        if self.threshold == "auto":
            return None
        return self.threshold, self.threshold / 2 if self.low_threshold is None else self.low_threshold

    def for_model(self, spec: ModelSpec, *, num_lengths: int = 1) -> SegmentSettings:
        """The settings with what the model says where nobody else does.

        Args:
            spec: Of the model. Its class that stands for nothing is background, unless it is asked for. Where its
                labels exclude each other, one holds at a time, unless the settings ask for something that has no use
                then (see `note_for`).
            num_lengths: How many lengths the windows have; one label at a time is that of windows of one length.

        Returns:
            The settings, in which `exclusive` is not left open.
        """
        background, exclusive = self.background, self.exclusive
        if spec.background and spec.background not in (*self.labels, *self.background):
            background = (*background, spec.background)
        if exclusive is None:
            exclusive = _excludes(spec) and not self.contrast and not self._by_itself(num_lengths)
        return replace(self, background=background, exclusive=exclusive)

    def note_for(self, spec: ModelSpec, *, num_lengths: int) -> str:
        """What a person should know of how segments are found with a model whose labels exclude each other.

        Args:
            spec: Of the model.
            num_lengths: How many lengths the windows have.

        Returns:
            A sentence; "" where it was said how, and for labels of which that is not known.
        """
        if not _excludes(spec) or self.exclusive is not None or self.contrast:
            return ""
        if others := self._by_itself(num_lengths):
            return (
                f"the labels of {spec.name} exclude each other, but each was looked for by itself: one at a time has "
                f"no use for {' and '.join(others)}"
            )
        return (
            f"one label at a time, as the labels of {spec.name} exclude each other; --no-exclusive looks for each by "
            "itself"
        )

    def _by_itself(self, num_lengths: int) -> list[str]:
        """What is asked for that has no use where one label holds at a time."""
        return [*self._between_labels(), *(["windows of several lengths"] if num_lengths > 1 else [])]

    def check_model(self, spec: ModelSpec) -> None:
        """Raise `UsageError` unless segments can be made of this model's scores; for asking before they are made."""
        self.check_labels(spec.heads)
        if self.levels is None:
            spec.require_segment_thresholds()

    def check_labels(self, heads: Heads) -> None:
        """Raise `UsageError` unless segments can be made of these heads and the labels asked for are theirs.

        `find_segments` does this, too; on its own it is for asking before a video is scored.
        """
        check_segment_heads(heads)
        if (self.exclusive or self.contrast) and len(heads) > 1:
            option = "--exclusive" if self.exclusive else "--contrast"
            raise UsageError(
                "a verb and a noun hold at the same time, so they do not exclude each other"
                if self.exclusive
                else "contrast is that of one kind of label, and these are verbs and nouns",
                hint=f"leave out {option}",
            )
        names = list(dict.fromkeys(label for labels in heads.values() for label in labels))
        known = dict.fromkeys(names)
        if len(heads) == 2:
            known.update(dict.fromkeys(f"{verb} {noun}" for verb in heads["verb"] for noun in heads["noun"]))
        for label in (*self.labels, *self.background):
            if label not in known:
                import difflib

                close = difflib.get_close_matches(label, known, n=3)
                some = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
                hint = f"did you mean {' or '.join(map(repr, close))}?" if close else f"its labels are {some}"
                raise UsageError(f"the model has no label {label!r}", hint=hint)

    def wants(self, names: tuple[str, ...]) -> bool:
        """Whether a class that goes by these names may be reported."""
        wanted = not self.labels or any(name in self.labels for name in names)
        return wanted and not any(name in self.background for name in names)


def _excludes(spec: ModelSpec) -> bool:
    """Whether one label of a model holds at a time; a verb and a noun do together."""
    return spec.exclusive_labels and len(spec.heads) == 1


def check_segment_heads(heads: Heads) -> None:
    """Raise `UsageError` unless segments can be made of these heads: one of any name, or a verb and a noun."""
    if len(heads) != 1 and set(heads) != {"verb", "noun"}:
        raise UsageError(
            f"no segments can be made of the heads {', '.join(heads) or '(none)'}",
            hint="a model needs one head, or one named verb and one named noun",
        )
