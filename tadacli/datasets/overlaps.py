"""Which samples are the same as others: duplicates within a split, and what two splits share."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass

# Start and end in seconds; None is the video's own.
Span = tuple[float | None, float | None]
_WHOLE: Span = (None, None)


@dataclass(frozen=True)
class Item:
    """A sample by what it is compared by: its span of a file (device and inode), of bytes, or of a video.

    `digest` is empty if no other file can have the same bytes, `video` if nothing names the video for sure.
    """

    id: str
    span: Span
    labels: Mapping[str, int]
    file: tuple[int, int] | None
    digest: str
    video: str

    @property
    def start(self) -> float:
        """Where its span starts, in seconds."""
        return -math.inf if self.span[0] is None else self.span[0]

    @property
    def end(self) -> float:
        """Where its span ends, in seconds."""
        return math.inf if self.span[1] is None else self.span[1]


@dataclass(frozen=True)
class Leak:
    """What an item shares with an earlier split: `same_frames`, or only a video by its name, or at other times."""

    reason: str
    same_frames: bool


def duplicate_reasons(items: Sequence[Item]) -> list[str]:
    """For each item of a split what earlier one it repeats: the same span of the same file or bytes; "" if none."""
    first: dict[Hashable, Item] = {}
    reasons = []
    for item in items:
        reason = ""
        for key, same in _contents(item):
            earlier = first.setdefault((key, item.span), item)
            if earlier is not item and not reason:
                labels = "" if earlier.labels == item.labels else ", with another label"
                reason = f"{same} as {earlier.id}{labels}"
        reasons.append(reason)
    return reasons


def find_leaks(splits: Mapping[str, Sequence[Item]]) -> dict[str, list[list[Leak]]]:
    """For each item of each split what it shares with the splits before it, at most one leak for each of these."""
    leaks: dict[str, list[list[Leak]]] = {}
    earlier: dict[str, dict[Hashable, _Spans]] = {}
    for split, items in splits.items():
        leaks[split] = [
            [leak for other, spans in earlier.items() if (leak := _shared(item, other, spans))] for item in items
        ]
        grouped: dict[Hashable, list[Item]] = defaultdict(list)
        for item in items:
            for key, _ in _keys(item):
                grouped[key].append(item)
        earlier[split] = {key: _Spans(group) for key, group in grouped.items()}
    return leaks


def _contents(item: Item) -> Iterator[tuple[tuple[str, Hashable], str]]:
    """What tells the content of an item's file, and how to say that another has the same."""
    if item.file is not None:
        yield ("file", item.file), "the same file"
    if item.digest:
        yield ("bytes", item.digest), "the same bytes"


def _keys(item: Item) -> Iterator[tuple[tuple[str, Hashable], str]]:
    yield from _contents(item)
    if item.video:
        yield ("video", item.video), f"the same video ({item.video})"


def _shared(item: Item, split: str, earlier: Mapping[Hashable, _Spans]) -> Leak | None:
    """What an item shares with an earlier split: something that overlaps if there is, else the same video."""
    apart = None
    for key, same in _keys(item):
        if key not in earlier:
            continue
        other, overlaps = earlier[key].find(item)
        reason = f"{same} as {other.id} in {split}"
        by_name = key[0] == "video"
        if item.span == other.span == _WHOLE:
            return Leak(reason, same_frames=not by_name)
        if overlaps:
            return Leak(f"{reason}, and their spans overlap", same_frames=not by_name)
        apart = apart or Leak(f"{reason}, at other times", same_frames=False)
    return apart


class _Spans:
    """The items of one split that share a key, to be searched by time."""

    def __init__(self, items: Sequence[Item]) -> None:
        self._first = items[0]
        by_start = sorted(items, key=lambda item: item.start)
        self._starts = [item.start for item in by_start]
        self._last_to_end: list[Item] = []
        for item in by_start:
            last = self._last_to_end[-1] if self._last_to_end else item
            self._last_to_end.append(item if item.end > last.end else last)

    def find(self, item: Item) -> tuple[Item, bool]:
        """An item that overlaps this one, and True; else the first of all, and False."""
        num_before = bisect_left(self._starts, item.end)
        if num_before and self._last_to_end[num_before - 1].end > item.start:
            return self._last_to_end[num_before - 1], True
        return self._first, False
