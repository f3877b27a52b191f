"""Seeking the needed packets of an open file, instead of reading all that lies before them.

In a long video, reading what nobody needs takes longer than decoding a few frames, most of all from a slow disk. Only
the index of an MP4 file says surely where each packet is; a file of another kind is read from its start.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import TypeAlias

import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from tadacli.video.bitstream import MP4
from tadacli.video.container import VideoPacket, read_packets
from tadacli.video.decode_plan import Flags, PacketOrder
from tadacli.video.frame_table import FrameTable

_BEFORE_ALL_SECONDS = 10  # the first packet is to be decoded earlier than its frame is shown, though not by so much
WORTH_SEEKING = 64  # packets: reading as many takes longer than seeking, also where the file is in memory

# Packets with their positions, without a gap; None stands for packets that could not be read.
Numbered: TypeAlias = "Iterator[tuple[int, VideoPacket | None]]"


def read_packets_again(stream: VideoStream, table: FrameTable) -> Iterator[VideoPacket | None]:
    """All packets of a stream that was read before. Raises what PyAV raises where there is no way back."""
    return packets_from(stream, int(table.pts[0]) - round(_BEFORE_ALL_SECONDS / table.time_base))


def read_needed(
    stream: VideoStream, all_packets: Iterable[VideoPacket | None], table: FrameTable, needed: Flags
) -> Iterator[Numbered]:
    """The needed packets, with those that lie between two: in runs, between which others are left out.

    `all_packets` are those of the stream, none of them taken yet. When the next run is asked for, what the one
    before decodes to must be out of the decoder: seeking empties it. Raises what PyAV raises where seeking fails.
    """
    assert table.packets is not None
    has_whole_index = stream.container.format.name == MP4 and len(stream.index_entries) == len(table.packets.frames)
    runs = _runs(needed, table.packets, may_seek=has_whole_index)
    next_position = 0
    for first, last in runs:
        packets = enumerate(all_packets) if first == 0 else _seek(stream, table, first)
        if packets is None:
            yield islice(enumerate(read_packets_again(stream, table)), next_position, runs[-1][1] + 1)
            return
        yield islice(packets, last - first + 1)
        next_position = last + 1


def _runs(needed: Flags, packets: PacketOrder, *, may_seek: bool) -> list[tuple[int, int]]:
    """(first, last) positions of the runs; each begins a group, more than `WORTH_SEEKING` packets after the last."""
    positions = np.flatnonzero(needed)
    if len(positions) == 0:
        return []
    is_far = np.diff(positions, prepend=-1) > WORTH_SEEKING
    starts = np.flatnonzero(is_far & np.isin(positions, packets.restarts)) if may_seek else np.empty(0, dtype=np.int64)
    firsts, ends = positions[starts], [*starts.tolist(), len(positions)]
    if len(starts) == 0 or starts[0] > 0:
        firsts, ends = np.append(0, firsts), [0, *ends]
    return list(zip(firsts.tolist(), positions[np.array(ends[1:]) - 1].tolist(), strict=True))


def _seek(stream: VideoStream, table: FrameTable, position: int) -> Numbered | None:
    """The packets from the first one of a group on; None if seeking comes out elsewhere."""
    packets = packets_from(stream, int(table.pts[position]))
    first = next(packets, None)
    if first is None or first.pts != table.pts[position]:
        return None
    return enumerate(chain([first], packets), position)


def packets_from(stream: VideoStream, time: int) -> Iterator[VideoPacket | None]:
    """The packets from the last key frame on that is shown at that time, or before it."""
    container = stream.container
    assert isinstance(container, InputContainer)
    container.seek(time, stream=stream)
    return read_packets(container, stream)
