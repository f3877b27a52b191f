"""Which of the frames that come out of a decoder are damaged."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain, repeat
from typing import TypeAlias

from av.video.frame import VideoFrame

from tadacli.video.container import VideoPacket
from tadacli.video.source import Indices, Pixels
from tadacli.video.timeline import JUMP_SECONDS

_JOINT_REACH = 2  # packets: how long before a joint the reader's doubts come


class Damage(StrEnum):
    """Why a frame of a damaged file cannot be had."""

    LOST = "does not decode"
    DAMAGED = "is damaged, or made from a damaged one"
    CUT_OFF = "lies behind the point where the file was cut off"


# The pixels of a frame, or why it has none.
Picture: TypeAlias = Pixels | str
# (index, picture if it is wanted, whether it is damaged) of a frame that is told of, see `Wanted`; the index is -1
# where no place in the table is sure.
Decoded: TypeAlias = tuple[int, Picture | None, bool]


class Wanted:
    """The frames that are wanted, ascending, and what makes pictures of them.

    With `tells_others` the other frames are told of as well, without a picture.
    """

    def __init__(
        self, indices: Indices, convert: Callable[[VideoFrame], Picture], *, tells_others: bool = False
    ) -> None:
        self.indices, self._sorted, self._convert, self.tells_others = indices, indices.data, convert, tells_others

    def has(self, index: int) -> bool:
        """Whether a frame is told of."""
        return self.tells_others or self._wants(index)

    def picture(self, index: int, frame: VideoFrame) -> Picture | None:
        """The picture of a frame if it is wanted."""
        return self._convert(frame) if self._wants(index) else None

    def _wants(self, index: int) -> bool:
        at = bisect_left(self._sorted, index)
        return at < len(self._sorted) and self._sorted[at] == index


class DamageWatch:
    """Tells the frames that are damaged: flagged by the decoder, in doubt, or decoded after such a one.

    A decoder flags a frame that it could not read, or logs an error with its packet, and goes on predicting from it
    until the next key frame. Frames decoded later may be shown earlier, so each is held until all that were decoded
    before it have come out. `are_believed`: the first packet can be decoded, and each is told from the others by its
    time; without that, what fails before the first frame has done no damage, and packets are marked.

    Pictures are made at once, and no frame outlives the call that brings it. So the memory that a decoder uses again
    is the same whatever is wanted, and what it leaves unwritten in a damaged frame does not depend on that.
    """

    _MAX_INSIDE = 20  # a decoder holds back 16 frames at most

    def __init__(self, wanted: Wanted, *, reorders: bool, are_believed: bool) -> None:
        self._wanted, self._reorders = wanted, reorders
        self._places: dict[int | None, int] | None = {} if are_believed else None  # by time, in decode order
        self._inside: dict[int, None] = {}  # the packets in the decoder, by their places in decode order; ascending
        self._doubtful: set[int] = set()  # those of them that the decoder had an error with
        self._held: deque[_Held] = deque()
        self._num_sent = 0
        self._bad_from: int | None = None  # frames are damaged from this place in decode order on
        self._can_spoil = are_believed

    @property
    def is_spoiled(self) -> bool:
        """Whether frames are damaged until the next key frame."""
        return self._bad_from is not None

    def send(self, packet: VideoPacket, *, is_whole: bool) -> None:
        """Takes note of a packet that goes to the decoder next, which gives its frame the packet's time, or mark."""
        self._num_sent += 1
        if self._places is None:
            packet.opaque = _Place(self._num_sent)
        else:  # a mark takes longer than a small packet
            self._places[packet.pts] = self._num_sent
            if len(self._places) > 2 * self._MAX_INSIDE:
                del self._places[next(iter(self._places))]
        self._inside[self._num_sent] = None
        oldest = next(iter(self._inside))
        if oldest <= self._num_sent - self._MAX_INSIDE:
            del self._inside[oldest]  # nothing came of it
            self._doubtful.discard(oldest)
        if not is_whole:
            self.doubt()

    def doubt(self) -> None:
        """The decoder had an error with the packet that was sent last, or that packet is not whole."""
        self._doubtful.add(self._num_sent)
        if self._can_spoil:
            self._spoil(self._num_sent)

    def doubt_all(self) -> None:
        """The decoder had an error with one of the packets inside, when it was emptied."""
        self._doubtful.update(self._inside)
        if self._inside:
            self._spoil(next(iter(self._inside)))

    def refuse(self) -> None:
        """Nothing came of the packet that was sent last."""
        self._inside.pop(self._num_sent, None)
        if self._can_spoil:
            self._spoil(self._num_sent)

    def miss(self) -> None:
        """Packets could not be read."""
        if self._can_spoil:
            self._spoil(self._num_sent + 1)

    def receive(self, frame: VideoFrame, index_of: Callable[[VideoFrame, bool], int]) -> None:
        """Takes note of a frame that comes out of the decoder.

        `index_of` gives its index, and is told whether the frame is damaged, or may be.
        """
        order, is_corrupt = self._order_of(frame), frame.is_corrupt
        is_doubtful = is_corrupt or order in self._doubtful
        index = index_of(frame, is_doubtful or self._bad_from is not None)
        self._can_spoil = True
        self._inside.pop(order, None)
        if is_doubtful:
            self._doubtful.discard(order)
            self._spoil(order)
        elif self._bad_from is not None and frame.key_frame and not 0 <= order < self._bad_from:
            self._bad_from = None
        picture = self._wanted.picture(index, frame)
        if picture is not None or self._wanted.tells_others:
            is_bad = self._bad_from is not None and not 0 <= order < self._bad_from
            self._held.append(_Held(index, picture, order, is_bad))

    def _order_of(self, frame: VideoFrame) -> int:
        """The place in decode order of the packet that a frame was made from; -1 if the decoder does not say."""
        if self._places is not None:
            return self._places.get(frame.pts, -1)
        place = frame.opaque
        return place.order if isinstance(place, _Place) else -1

    def _spoil(self, order: int) -> None:
        self._bad_from = order if self._bad_from is None else min(order, self._bad_from)
        for held in self._held:
            held.is_damaged = held.is_damaged or held.order < 0 or held.order >= order

    def released(self, *, everything: bool = False) -> list[Decoded]:
        """The frames of which it is now sure whether they are damaged; they are given once."""
        found: list[Decoded] = []
        if not self._held:
            return found
        oldest = next(iter(self._inside), self._num_sent) if self._reorders else self._num_sent
        while self._held and (everything or self._held[0].order <= oldest):
            held = self._held.popleft()
            found.append((held.index, held.picture, held.is_damaged))
        return found


def with_wholeness(
    packets: Iterable[VideoPacket | None], *, are_believed: bool
) -> Iterator[tuple[VideoPacket | None, bool]]:
    """Each packet in order, and whether it is whole as far as the reader of the container knows.

    Packets that are believed were all read, and say themselves whether they are whole.

    Where a frame is only known to end when the next one begins, as in a transport stream, the reader learns of a loss
    while it gives out the frame before. So the packet after a doubtful one is doubtful, too.

    Where two recordings were joined, the reader doubts the last packets of the first one because the next one does not
    go on from there. They may well be whole, and the decoder has the say.
    """
    if are_believed:
        for packet in packets:
            yield packet, packet is not None and not packet.is_corrupt
        return
    ahead: deque[VideoPacket | None] = deque()
    is_doubtful = False
    for packet in chain(packets, repeat(None, _JOINT_REACH)):
        ahead.append(packet)
        if len(ahead) > _JOINT_REACH:
            first = ahead.popleft()
            if first is None:
                yield None, True
                continue
            was_doubtful = is_doubtful
            is_doubtful = first.is_corrupt and not any(_begins_anew(later, first) for later in ahead)
            yield first, not (was_doubtful or is_doubtful)


def _begins_anew(packet: VideoPacket | None, after: VideoPacket) -> bool:
    """Whether another recording begins with a packet."""
    if packet is None or not packet.is_keyframe or packet.dts is None or after.dts is None:
        return False
    step = (packet.dts - after.dts) * (packet.time_base or 0)
    return not 0 < step <= JUMP_SECONDS


@dataclass(slots=True)
class _Place:
    """A place in decode order, as packets carry it: an object of its own, since PyAV finds it again by its address.

    Small numbers share theirs, and would be lost for the frames of one video when a packet of another is freed.
    """

    order: int


@dataclass(slots=True)
class _Held:
    """A frame that waits; `order` is its place in decode order, -1 if not known."""

    index: int
    picture: Picture | None
    order: int
    is_damaged: bool
