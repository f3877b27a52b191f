"""Which of the frames that come out of a decoder are damaged."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from av.video.frame import VideoFrame

from tadacli.video.source import Indices


class Damage(StrEnum):
    """Why a frame of a damaged file cannot be had."""

    LOST = "does not decode"
    DAMAGED = "is damaged, or made from a damaged one"
    CUT_OFF = "lies behind the point where the file was cut off"


# (index, frame if it is wanted, whether it is damaged); the index is -1 where no place in the table is sure.
Decoded: TypeAlias = tuple[int, VideoFrame | None, bool]


class DamageWatch:
    """Tells the frames that are damaged: flagged by the decoder, or decoded after such a one.

    A decoder flags a frame that it could not read, and goes on predicting from it until the next key
    frame. Frames decoded later may be shown earlier, so each is held until all that were decoded before
    it have come out. `starts_whole`: the first packet can be decoded; without that, what fails before the
    first frame has done no damage.
    """

    _MAX_INSIDE = 20  # a decoder holds back 16 frames at most

    def __init__(self, wanted: Indices, *, reorders: bool, starts_whole: bool) -> None:
        self._wanted, self._reorders = wanted.data, reorders
        self._inside: dict[int, int] = {}  # pts of the packets in the decoder -> their order; ascending
        self._held: deque[_Held] = deque()
        self._num_sent = 0
        self._bad_from: int | None = None  # frames are damaged from this place in decode order on
        self._can_spoil = starts_whole

    @property
    def is_spoiled(self) -> bool:
        """Whether frames that come now may be damaged."""
        return self._bad_from is not None

    def sent(self, pts: int | None) -> None:
        """A packet goes to the decoder."""
        self._num_sent += 1
        if pts is not None:
            self._inside.pop(pts, None)
            self._inside[pts] = self._num_sent
        oldest = next(iter(self._inside), None)
        if oldest is not None and self._inside[oldest] <= self._num_sent - self._MAX_INSIDE:
            del self._inside[oldest]  # nothing came of it

    def failed(self, pts: int | None) -> None:
        """A packet (None: some packets) could not be read or decoded."""
        order = self._num_sent + 1 if pts is None else self._inside.pop(pts, self._num_sent)
        if self._can_spoil:
            self._spoil(order)

    def received(self, index: int, frame: VideoFrame) -> None:
        """A frame comes out of the decoder."""
        self._can_spoil = True
        order = -1 if frame.pts is None else self._inside.pop(frame.pts, -1)
        if frame.is_corrupt:
            self._spoil(order)
        elif frame.key_frame and self._bad_from is not None and not 0 <= order < self._bad_from:
            self._bad_from = None
        is_bad = self._bad_from is not None and not 0 <= order < self._bad_from
        at = bisect_left(self._wanted, index)
        is_wanted = at < len(self._wanted) and self._wanted[at] == index
        self._held.append(_Held(index, frame if is_wanted else None, order, is_bad))

    def _spoil(self, order: int) -> None:
        self._bad_from = order if self._bad_from is None else min(order, self._bad_from)
        for held in self._held:
            held.is_damaged = held.is_damaged or held.order < 0 or held.order >= order

    def released(self, *, everything: bool = False) -> Iterator[Decoded]:
        """The frames of which it is now sure whether they are damaged."""
        oldest = min(self._inside.values(), default=self._num_sent) if self._reorders else self._num_sent
        while self._held and (everything or self._held[0].order <= oldest):
            held = self._held.popleft()
            yield held.index, held.frame, held.is_damaged


@dataclass
class _Held:
    """A frame that waits; `order` is its place in decode order, -1 if not known."""

    index: int
    frame: VideoFrame | None
    order: int
    is_damaged: bool
