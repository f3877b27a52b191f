"""Decoding the wanted frames of a video file, and telling which of them are damaged.

A decoder conceals what it cannot read, and goes on predicting from it. So a frame is given only if nothing
was damaged among what it may be made from. What a codec leaves unwritten without a word is at least the same
whatever else is asked for: each group is decoded from the same state of the decoder, as far as it is decoded.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import chain, groupby

import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from tadacli.video.container import VideoPacket, decode_packet, new_decoder, open_stream, read_packets
from tadacli.video.damage import Damage, DamageWatch, Decoded, Picture, Wanted, with_wholeness
from tadacli.video.decode_plan import Flags, needed_packets
from tadacli.video.ffmpeg_log import Listening
from tadacli.video.frame_table import FrameTable, proof_of
from tadacli.video.opening import open_for_frames
from tadacli.video.seeking import read_needed
from tadacli.video.source import Indices
from tadacli.video.watched_decoding import decode_watched

# These leave blocks of a damaged frame as the memory was before, and say nothing. A new decoder for each group gives
# them the same memory whatever was decoded before it. All that they need to know is in the packets and the extradata.
_RENEWED = ("hevc", "vp8")
# What these keep of a damaged frame can show in the key frame after it, also after they were flushed.
_RENEWED_AFTER_DAMAGE = (*_RENEWED, "h264")
# These believe at first that padding is written wrongly, and say nothing of damage that looks so, until they have
# decoded some that is right. The first reading has decoded the first packet, so all others do.
_PRIMED = ("mpeg4",)


class TableError(Exception):
    """The frames that decode are not those of the table."""


@dataclass(frozen=True)
class ReadFile:
    """A file that is still open, all of its packets, and a decoder that has seen none but the first of them.

    With `has_first` it can go on with the second one.
    """

    stream: VideoStream
    packets: Iterable[VideoPacket | None]
    has_first: bool
    files: ExitStack


class Decoder:
    """Decodes frames of one file; `num_decoded` counts all frames that came out of its decoders so far.

    The first reading, its own or that of one made by `again`, uses `read_file` instead of opening the file again, and
    closes it; so does `close`. With `is_kept` the table is from an earlier time, and what it says of packets is
    proven again as they are read.
    """

    def __init__(
        self, path: str, table: FrameTable, read_file: ReadFile | None = None, *, is_kept: bool = False
    ) -> None:
        self.path, self.table, self.is_kept = path, table, is_kept
        self.num_decoded = 0
        self._read_files = [] if read_file is None else [read_file]

    def again(self) -> Decoder:
        """Another decoder of the file, for another thread."""
        other = Decoder(self.path, self.table, is_kept=self.is_kept)
        other._read_files = self._read_files
        return other

    def close(self) -> None:
        """Closes what no reading has used."""
        while self._read_files:
            self._read_files.pop().files.close()

    def frames(
        self, wanted: Indices, convert: Callable[[VideoFrame], Picture]
    ) -> Iterator[tuple[int, Picture | Damage]]:
        """(index, what `convert` makes of it, or what is wrong with it) of the wanted frames, which ascend.

        A frame that the planned packets do not bring is sought once more among all packets of its
        group, so at most every packet is decoded twice, however many frames are damaged. Raises `TableError`,
        and what PyAV raises when the file cannot be opened.
        """
        sure, packets = wanted[wanted < self.table.num_readable], self.table.packets
        needed = None if packets is None else needed_packets(packets, sure)
        pictures = Wanted(sure, convert)
        with closing(self._decoded(pictures, needed)) as decoded, ExitStack() as files:
            planned, groups = _Ascending(decoded), _WholeGroups(self, pictures, files)
            for index in map(int, sure):
                found = planned.take(index)
                if isinstance(found, Damage) and needed is not None and groups.hold_more(index, needed):
                    found = groups.take(index)
                yield index, found
        for index in map(int, wanted[len(sure) :]):
            yield index, Damage.CUT_OFF

    def count_clean(self) -> int:
        """How many frames of the whole file can be had; decodes all of it."""
        packets = self.table.packets
        nothing = Wanted(np.empty(0, dtype=np.int64), _no_picture, tells_others=True)
        needed = None if packets is None else np.ones(len(packets.frames), dtype=np.bool_)
        return sum(index >= 0 and not is_damaged for index, _, is_damaged in self._decoded(nothing, needed))

    def _decoded(self, wanted: Wanted, needed: Flags | None) -> Generator[Decoded, None, None]:
        """What the needed packets decode to; None: all packets."""
        may_go_on = needed is not None and bool(needed[0]) and not wanted.has(0)
        with self._reading(may_go_on=may_go_on) as (stream, packets, has_first):
            if needed is None:
                yield from self.decode(stream.codec_context, _with_losses(packets, self.table), wanted)
                return
            if has_first:
                needed = np.append(False, needed[1:])
                self.num_decoded += 1
            for run in self._runs(stream, packets, needed):
                for decoder, group in _by_decoder(stream, run, self.table):
                    yield from self.decode(decoder, group, wanted)

    def _runs(
        self, stream: VideoStream, packets: Iterable[VideoPacket | None], needed: Flags
    ) -> Iterator[Iterator[tuple[int, VideoPacket]]]:
        """The needed packets with their positions, in runs; each is decoded by itself."""
        if isinstance(packets, list):  # those of which the table was made
            yield ((position, packets[position]) for position in np.flatnonzero(needed).tolist())
            return
        is_needed = needed.data  # whose items are read faster
        for run in read_needed(stream, packets, self.table, needed):
            yield (item for item in self.checked(run, stream, needed) if is_needed[item[0]])

    def checked(
        self, packets: Iterable[tuple[int, VideoPacket | None]], stream: VideoStream, needed: Flags
    ) -> Iterator[tuple[int, VideoPacket]]:
        """Packets with their positions, as far as the file can be read; `TableError` if the table has others there."""
        table = self.table
        assert table.packets is not None
        frames, pts = table.packets.frames.data, table.pts.data  # whose items are read faster
        is_as_kept = proof_of(stream, table.packets, needed) if self.is_kept else None
        for position, packet in packets:
            if packet is None:
                return
            if position >= len(frames):
                raise TableError
            index = frames[position]
            if index < table.num_readable and pts[index] != packet.pts:
                raise TableError
            if is_as_kept is not None and not is_as_kept(position, packet):
                raise TableError
            yield position, packet

    @contextmanager
    def _reading(self, *, may_go_on: bool) -> Iterator[tuple[VideoStream, Iterable[VideoPacket | None], bool]]:
        """The stream, all packets, and whether its decoder has decoded the first one; else it is as good as new."""
        read_file = None
        with suppress(IndexError):
            read_file = self._read_files.pop()  # never two readings by one decoder, whatever threads there are
        if read_file is not None:
            with read_file.files:
                has_first = may_go_on and read_file.has_first
                if not has_first:
                    read_file.stream.codec_context.flush_buffers()
                yield read_file.stream, read_file.packets, has_first
            return
        with _opened_again(self.path, self.table) as opened:
            yield *opened, False

    def decode(
        self, decoder: VideoCodecContext, packets: Iterable[VideoPacket | None], wanted: Wanted
    ) -> Iterator[Decoded]:
        """What packets decode to, in order, until the decoder is empty; None stands for packets that were lost."""
        order = _Order(self.table)
        reorders, are_believed = decoder.reorder_depth > 0, self.table.packets is not None
        watch, listening = DamageWatch(wanted, reorders=reorders, are_believed=are_believed), Listening()
        # A table that counts frames was made without.
        may_renew = self.table.by_pts and decoder.codec.canonical_name in _RENEWED_AFTER_DAMAGE

        def receive(frames: list[VideoFrame] | None) -> None:
            for frame in frames or ():
                self.num_decoded += 1
                watch.receive(frame, order.index_of)

        def empty() -> None:
            frames, had_error = decode_watched(decoder, None, listening)
            if had_error:
                watch.doubt_all()
            receive(frames)

        try:
            for packet, is_whole in with_wholeness(packets, are_believed=are_believed):
                # Only now, so that the decoder is emptied before the last frame is given: `num_decoded` is whole then.
                for found in watch.released():
                    if found[1] is not None:
                        listening.end()
                    yield found
                if packet is None:
                    watch.miss()
                    continue
                if packet.is_keyframe and watch.is_spoiled and may_renew:
                    empty()
                    decoder = new_decoder(packet.stream)
                watch.send(packet, is_whole=is_whole)
                frames, had_error = decode_watched(decoder, packet, listening)
                if frames is None:
                    watch.refuse()
                elif had_error:
                    watch.doubt()
                receive(frames)
                del frames
            empty()
        finally:
            listening.end()
        yield from watch.released(everything=True)


@contextmanager
def _opened_again(path: str, table: FrameTable) -> Iterator[tuple[VideoStream, Iterator[VideoPacket | None]]]:
    """The stream of a file, opened as for its table, with a decoder that is as good as the first one, and packets."""
    with (open_stream if table.packets is None else open_for_frames)(path) as (container, stream):
        assert stream is not None
        packets = read_packets(container, stream)
        if stream.codec_context.codec.canonical_name in _PRIMED:
            first = next(packets, None)
            if first is not None:
                decode_packet(stream, first)
                decode_packet(stream, None)
            stream.codec_context.flush_buffers()
            packets = chain([first], packets)
        yield stream, packets


def _no_picture(frame: VideoFrame) -> Picture:
    """For readers that only count."""
    return f"of {frame.width}x{frame.height} pixels is not wanted"


def _by_decoder(
    stream: VideoStream, packets: Iterator[tuple[int, VideoPacket]], table: FrameTable
) -> Iterator[tuple[VideoCodecContext, Iterator[VideoPacket]]]:
    """The packets as they go to one decoder each: all to that of the stream, or each group to a new one."""
    assert table.packets is not None
    restarts = table.packets.restarts.data
    if not _is_renewed(stream):
        yield stream.codec_context, (packet for _, packet in packets)
        return
    for _, group in groupby(packets, lambda item: bisect_right(restarts, item[0])):
        yield new_decoder(stream), (packet for _, packet in group)


def _is_renewed(stream: VideoStream) -> bool:
    return stream.codec_context.codec.canonical_name in _RENEWED


def _with_losses(packets: Iterable[VideoPacket | None], table: FrameTable) -> Iterator[VideoPacket | None]:
    """All packets, with None where some are missing, from which later ones may be made."""
    losses = [] if table.losses is None else table.losses[::-1].tolist()
    for packet in packets:
        if packet is not None and packet.pts is not None:
            while losses and packet.pts >= losses[-1]:
                losses.pop()
                yield None
        yield packet


def _between(packets: Iterable[tuple[int, VideoPacket]], start: int, end: int) -> Iterator[VideoPacket]:
    """The packets of [start, end), of all that are left; takes none of the later ones."""
    for position, packet in packets:
        if position >= start:
            yield packet
        if position >= end - 1:
            return


class _Ascending:
    """Takes frames from those that come in order; those that are passed over are gone."""

    def __init__(self, decoded: Iterator[Decoded]) -> None:
        self._decoded = decoded
        self._ahead: tuple[float, Picture | None] = (-1, None)
        self._damaged: set[int] = set()

    def take(self, index: int) -> Picture | Damage:
        """The picture of a frame, or what is wrong with the frame."""
        while self._ahead[0] < index:
            found, picture, is_damaged = next(self._decoded, (float("inf"), None, False))
            if not is_damaged:
                self._ahead = found, picture
            elif picture is not None:  # one that will be asked for; it may come out of order
                self._damaged.add(int(found))
        found, picture = self._ahead
        if found == index and picture is not None:
            return picture
        return Damage.DAMAGED if index in self._damaged else Damage.LOST


class _WholeGroups:
    """Frames from groups that are decoded in full; reads the file once, from the first such group on.

    It is opened into `files`, and closed with them.
    """

    def __init__(self, decoder: Decoder, wanted: Wanted, files: ExitStack) -> None:
        self._decoder, self._wanted, self._files = decoder, wanted, files
        self._stream: VideoStream | None = None
        self._packets: Iterator[tuple[int, VideoPacket]] = iter(())
        self._end = 0
        self._group = _Ascending(iter(()))

    def hold_more(self, index: int, needed: Flags) -> bool:
        """Whether there are packets before that of a frame, in its group, which were not needed."""
        packets = self._decoder.table.packets
        assert packets is not None
        start, end = packets.group_of(index)
        place = int(np.argmax(packets.frames[start:end] == index))
        return not needed[start : start + place].all()

    def take(self, index: int) -> Picture | Damage:
        """The picture of a frame, or what is wrong with the frame; indices must ascend."""
        if index >= self._end:
            self._group = _Ascending(self._decode_group(index))
        return self._group.take(index)

    def _decode_group(self, index: int) -> Iterator[Decoded]:
        table = self._decoder.table
        assert table.packets is not None
        start, self._end = table.packets.group_of(index)
        if self._stream is None:
            self._stream, packets = self._files.enter_context(_opened_again(self._decoder.path, table))
            everything = np.ones(len(table.packets.frames), dtype=np.bool_)
            self._packets = self._decoder.checked(enumerate(packets), self._stream, everything)
        decoder = self._stream.codec_context
        if decoder.codec.canonical_name in _RENEWED_AFTER_DAMAGE:
            decoder = new_decoder(self._stream)
        else:
            decoder.flush_buffers()
        return self._decoder.decode(decoder, _between(self._packets, start, self._end), self._wanted)


class _Order:
    """Gives decoded frames their index, by time or by count."""

    def __init__(self, table: FrameTable) -> None:
        self._table, self._pts = table, table.pts.data
        self._last = self._count = -1

    def index_of(self, frame: VideoFrame, is_damaged: bool) -> int:
        """The index, or -1 after the cut of a file, and for a frame that comes late because of damage."""
        table, sure = self._table, self._table.num_readable
        if not table.by_pts:
            self._count += 1
            index = self._count if table.rows is None else self._row_of(self._count)
        elif frame.pts is None:
            raise TableError
        else:
            index = bisect_left(self._pts, frame.pts, 0, sure)
        if index >= sure:
            if not table.truncated:
                raise TableError
            return -1
        if table.by_pts and self._pts[index] != frame.pts:
            raise TableError
        if index <= self._last:
            if table.by_pts and table.packets is not None and not is_damaged:
                raise TableError
            return -1
        if not (table.by_pts and is_damaged):  # a damaged frame may have come too early
            self._last = index
        return index

    def _row_of(self, count: int) -> int:
        rows = self._table.rows
        assert rows is not None
        return int(rows[count]) if count < len(rows) else self._table.num_readable
