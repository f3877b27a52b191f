"""Several labels at a time: which spans of annotations have them, and samples that carry them.

Labels hold together where spans of one video have the same times or overlap. A slip of a hand overlaps, too: only where
one span in twenty or more has several labels, and three at least, are data taken for multi-label, unless a person says
what they are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tadacli.datasets.samples import HeldLabel, Sample, UnusedKind
from tadacli.datasets.spans import LabelledSpan
from tadacli.datasets.tables import SampleRows
from tadacli.errors import UsageError
from tadacli.results import out_of

# So many of the spans need several labels; fewer look like slips.
_SHARE, _FEWEST = 1 / 20, 3
# Pairs of overlapping spans that are kept at most: more than any annotations of people have.
_MOST_PAIRS = 5_000_000

# A video of a split, and a span of it in seconds, of which None is the video's own end.
_Video = tuple[str, Path | str]
_Times = tuple[float, float | None]


@dataclass(frozen=True)
class Together:
    """How many of `num_spans` spans have several labels: `num_same` by rows with the same times, `num_overlapping`
    more since spans with other labels cover half of them or more.
    """

    num_spans: int
    num_same: int
    num_overlapping: int

    @property
    def is_multi_label(self) -> bool:
        """Whether the data are taken for multi-label where nobody says what they are."""
        found = self.num_same + self.num_overlapping
        return found >= max(_FEWEST, _SHARE * self.num_spans)

    def __str__(self) -> str:
        several = out_of(self.num_same + self.num_overlapping, self.num_spans, "spans", "have several labels")
        return f"{several} ({self.num_same} at the same times, {self.num_overlapping} by overlaps)"


def labels_together(spans: Iterable[LabelledSpan]) -> Together:
    """Which of the spans have several labels.

    Args:
        spans: Those that can be used and others, which are passed over.

    Returns:
        The counts, of different spans.

    Raises:
        UsageError: Far too many overlap.
    """
    usable = [span for span in spans if not span.reason]
    names = {label: index for index, label in enumerate(sorted({span.label for span in usable}))}
    others = held_labels(usable, names)
    num_same = num_overlapping = 0
    for key, (own, held) in others.items():
        (_, (start, end)) = key
        sample = Sample("", None, {"": own}, start, end, others=held)
        several_own = len(sample.own_classes) > 1
        num_same += several_own
        num_overlapping += not several_own and len(sample.classes) > 1
    return Together(len(others), num_same, num_overlapping)


def held_labels(
    spans: Sequence[LabelledSpan], index_of: Mapping[str, int]
) -> dict[tuple[_Video, _Times], tuple[int, tuple[HeldLabel, ...]]]:
    """What else holds during each span.

    Args:
        spans: Spans that can be used.
        index_of: The index of each label.

    Returns:
        By video and times the lowest of the span's own classes, and all other labels that hold during a part of it.

    Raises:
        UsageError: Far too many overlap.
    """
    by_video: dict[_Video, dict[HeldLabel, None]] = {}
    for span in spans:
        label = HeldLabel(index_of[span.label], span.start_seconds, span.end_seconds)
        by_video.setdefault(video_of(span), {})[label] = None
    found: dict[tuple[_Video, _Times], tuple[int, tuple[HeldLabel, ...]]] = {}
    for video, labels in by_video.items():
        for label, overlapping in _overlaps(list(labels)):
            key = video, (label.start_seconds or 0.0, label.end_seconds)
            if key not in found or label.index < found[key][0]:
                found[key] = label.index, tuple(overlapping)
    return found


def video_of(span: LabelledSpan) -> _Video:
    """What tells the video of a span from others, within its split."""
    return span.split, span.path or span.video


class MultiLabelSamples:
    """Takes rows in their order, and makes one sample of those that give several labels to the same span.

    Args:
        spans: All rows that can be used.
        index_of: The index of each label.
    """

    def __init__(self, spans: Sequence[LabelledSpan], index_of: Mapping[str, int]) -> None:
        self._held = held_labels(spans, index_of)
        self._seen: set[tuple[_Video, _Times, str]] = set()
        self._taken: set[tuple[_Video, _Times]] = set()

    def take(self, span: LabelledSpan, sample: Sample, rows: SampleRows) -> None:
        """Put the sample of a row, with all labels that hold during it, among those of its split."""
        key = video_of(span), (span.start_seconds or 0.0, span.end_seconds)
        if (*key, span.label) in self._seen:
            rows.refuse(span.place, span.id, UnusedKind.REPEATED, "repeats an earlier row")
        elif key not in self._taken:
            own, others = self._held[key]
            rows.add(span.place, replace(sample, labels={"": own}, others=others))
        self._seen.add((*key, span.label))
        self._taken.add(key)


def _overlaps(labels: Sequence[HeldLabel]) -> Iterator[tuple[HeldLabel, list[HeldLabel]]]:
    """Each label of a video, and those of other classes that share time with it or have its times."""
    ordered = sorted(labels, key=_order)
    found: dict[HeldLabel, list[HeldLabel]] = {label: [] for label in ordered}
    reached: list[HeldLabel] = []
    num_pairs = 0
    for label in ordered:
        start, end = _times(label)
        reached = [each for each in reached if _times(each)[1] > start or _times(each) == (start, end)]
        num_pairs += len(reached)
        if num_pairs > _MOST_PAIRS:
            raise UsageError(
                f"more than {_MOST_PAIRS} pairs of spans of one video overlap",
                hint="check the times, or learn one label a span: --no-multi-label",
            )
        for each in reached:
            if each.index != label.index:
                found[label].append(each)
                found[each].append(label)
        reached.append(label)
    yield from ((label, sorted(found[label], key=_order)) for label in labels)


def _times(label: HeldLabel) -> tuple[float, float]:
    return label.start_seconds or 0.0, math.inf if label.end_seconds is None else label.end_seconds


def _order(label: HeldLabel) -> tuple[float, float, int]:
    return (*_times(label), label.index)
