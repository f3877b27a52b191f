"""The frame table: which frames a video file holds, and when each of them is shown.

Reading the packets is about fifty times cheaper than decoding them, but a packet is not always a
frame: packets can be trimmed away, hold one field of a picture, hold a picture that is never shown,
or start with pictures that cannot be decoded. So the packets are believed only where their own headers
prove that each of them is one frame that will be shown (`scan_table`); every other file is decoded
once (`decode_table`). What grows with the video is kept in arrays: 8 bytes for each frame, and 5 more where
packets are believed.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction

import av
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.video.stream import VideoStream

from tadacli.results import Note, NoteKind
from tadacli.video.bitstream import MATROSKA, MP4, VP9_FORMAT, Verdict, packet_rule, vp9_size
from tadacli.video.container import (
    AVI,
    UPRIGHT,
    VideoPacket,
    decode_packet,
    frame_step,
    num_indexed,
    open_stream,
    read_packets,
    stream_time_base,
)
from tadacli.video.container_bytes import has_destroyed_parts, shows_as_stored
from tadacli.video.decode_plan import Flags, PacketOrder, reordering
from tadacli.video.ffmpeg_log import Listening
from tadacli.video.full_decode import FirstFrame, FullDecode, decode_all
from tadacli.video.h264 import h264_size
from tadacli.video.source import Indices, Timestamps
from tadacli.video.timeline import (
    JUMP_SECONDS,
    LOSS_SECONDS,
    NO_TIME,
    common_step,
    in_line,
    jump_note,
    missing_times,
    timeline_of,
)
from tadacli.video.truncation import Truncation, find_truncation
from tadacli.video.watched_decoding import decode_watched

# Their decoders give each frame with its packet, and see the same in the next one whether they were emptied or not.
_GO_ON = ("vp9",)
MAX_KEPT_BYTES = 8 << 20  # a short clip; of a longer video, reading the packets again costs nothing beside decoding


@dataclass
class ReadSoFar:
    """What is left of an open file when its table is made: `packets`, all of them in decode order, or none.

    With `has_first` its decoder has given the first frame, and was not emptied: it can go on with the second packet.
    """

    packets: list[VideoPacket] = field(default_factory=list)
    has_first: bool = False


@dataclass(frozen=True)
class FrameTable:
    """Presentation times of the frames, in units of `time_base`, one row per frame in index order.

    `by_pts`: the times are distinct and ascending, so a decoded frame is recognised by its time;
    otherwise by counting. Frames from `num_readable` on were promised by the index of a file that was
    cut short, and their times are estimates; `length_known` is false for a cut file whose index does not
    say how many frames it had. `packets` says which packet holds which frame, and what can be left out
    when it is decoded; it is None where packets alone were not believed, and `distrust` says why. Where frames are
    counted and some are missing, `rows` has the index of each one that decodes, in order. `losses` are the
    times of the frames before which some are missing. `notes` say what else to know of the times, and of the end.
    Where times begin anew, `num_pieces` are shown one after the other.
    """

    pts: Timestamps
    end_pts: int
    time_base: Fraction
    by_pts: bool
    num_readable: int
    truncated: bool = False
    length_known: bool = True
    packets: PacketOrder | None = None
    distrust: str = ""
    rows: Indices | None = None
    losses: Timestamps | None = None
    notes: tuple[Note, ...] = ()
    num_pieces: int = 1

    def seconds(self, pts: int) -> float:
        """A time of this table in seconds."""
        return float(pts) * self.time_base.numerator / self.time_base.denominator

    def all_seconds(self) -> npt.NDArray[np.float64]:
        """The times of all frames in seconds, float64 (num_frames,), each as `seconds` gives it."""
        return self.pts.astype(np.float64) * self.time_base.numerator / self.time_base.denominator


def build_table(
    path: str, container: InputContainer, stream: VideoStream, *, so_far: ReadSoFar | None = None
) -> tuple[FrameTable, FirstFrame] | None:
    """The frame table and the first frame of a video just opened; None when not one frame decodes.

    Where the packets are believed, `so_far` is filled.
    """
    so_far = ReadSoFar() if so_far is None else so_far
    found = scan_table(path, container, stream, so_far=so_far)
    if isinstance(found, str):
        so_far.packets.clear()
        return decode_table(path, distrust=found)
    if _has_holes(found[0].pts, stream) and has_destroyed_parts(path, container.format.name):
        so_far.packets.clear()
        return decode_table(path, distrust="parts of the file are destroyed")
    return _with_lost_frames(found[0], find_truncation(path, container, stream, num_whole=len(found[0].pts))), found[1]


def decode_table(path: str, *, distrust: str) -> tuple[FrameTable, FirstFrame] | None:
    """The frame table by decoding the whole file once, and its first frame; None without any frame.

    A packet that does not decode keeps its row where times tell frames apart, and so do frames that are missing in a
    constant step where the file is damaged: what comes after them must not move up, and a damaged video must not pass
    for a shorter one. Where each packet is a frame, so do those that nothing came out of, back to the key frame before
    it and on to the next one.
    """
    with open_stream(path) as (container, stream):
        assert stream is not None
        # These have one packet for each frame.
        is_frame = container.format.name in (MP4, MATROSKA)
        is_frame = is_frame and stream.codec_context.codec.canonical_name in ("h264", "hevc")
        decoding = FullDecode(is_frame=is_frame)
        for packet, decoded in decode_all(container, stream):
            decoding.add(packet, decoded)
        if decoding.first is None:
            return None
        has_holes = _has_holes(np.sort(decoding.pts()), stream)
        is_destroyed = has_holes and (
            decoding.lacks_indexed(stream) or has_destroyed_parts(path, container.format.name)
        )
        may_break = bool(av.format.Flags(container.format.flags) & av.format.Flags.ts_discont)
        table = _table_of(decoding, stream, is_destroyed=is_destroyed, may_break=may_break)
        cut = find_truncation(path, container, stream, packets_end=decoding.packets_end)
    return _with_lost_frames(replace(table, distrust=distrust), cut), decoding.first


def _table_of(decoding: FullDecode, stream: VideoStream, *, is_destroyed: bool, may_break: bool) -> FrameTable:
    """The frame table of a decoded file. `may_break`: files of this kind are joined with no care for their times."""
    time_base, step = stream_time_base(stream), frame_step(stream)
    jump = round(JUMP_SECONDS / time_base)
    in_order = in_line(decoding.pts(), decoding.is_near_loss())
    timeline = timeline_of(decoding.pts()[in_order], decoding.dts()[in_order], step=step, jump=jump)
    times, is_plain = timeline.times, timeline.is_plain
    if not is_plain:
        step = common_step(times, default=step)
    is_near = decoding.is_near_loss()[in_order]
    may_lack = decoding.may_lack(times, is_near, longest=round(LOSS_SECONDS / time_base)) | is_destroyed
    missing = missing_times(times, may_lack, step=step, jump=jump)
    losses = np.unique(times[np.searchsorted(times, missing)]) if timeline.is_own else missing[:0]
    if is_plain:
        missing = np.union1d(missing, decoding.lost.pts(int(times[0]), int(times[-1])))
    pts = np.union1d(times, missing) if len(missing) else times
    end = int(times[-1]) + (decoding.last_duration if timeline.is_own and decoding.last_duration else step)
    if pts[-1] > times[-1]:
        end = max(end, int(pts[-1]) + step)
    text = timeline.note or (jump_note(times, time_base, jump=jump) if may_break else "")
    notes = [Note(NoteKind.TIMELINE, text)] if text else []
    num_refused = decoding.num_refused(pts if is_plain else pts[:0])
    if num_refused:
        packets = "1 packet does" if num_refused == 1 else f"{num_refused} packets do"
        notes.append(Note(NoteKind.DAMAGE, f"{packets} not decode, with no place among the frames that do"))
    return FrameTable(
        pts,
        end,
        time_base,
        is_plain,
        len(pts),
        truncated=decoding.ends_damaged(stream.codec_context.reorder_depth),
        rows=None if is_plain or not len(missing) else np.searchsorted(pts, times),
        losses=losses,
        notes=tuple(notes),
        num_pieces=timeline.num_pieces,
    )


# --- the scan: packets that prove to be frames ------------------------------------------------------


def scan_table(
    path: str, container: InputContainer, stream: VideoStream, *, so_far: ReadSoFar
) -> tuple[FrameTable, FirstFrame] | str:
    """The frame table from packets alone, or the reason why packets cannot be believed here.

    `so_far` is filled; it has no packets when all together are too large to be kept.
    """
    rule = packet_rule(container, stream)
    if isinstance(rule, str):
        return rule
    times, referenced, restarts, end, num_bytes = array("q"), bytearray(), array("q"), (0, 0), 0
    first_packet: VideoPacket | None = None
    latest, kept = -(1 << 63), so_far.packets
    for packet in read_packets(container, stream):
        if packet is None:
            return "reading fails in the middle"
        verdict, pts = rule(memoryview(packet)), packet.pts
        if pts is None or not verdict or packet.is_discard or packet.is_corrupt or _has_settings(packet):
            reason = _why_not(packet, verdict)
            if reason or pts is None:
                return reason
        if verdict == "restart" and pts <= latest:
            return "a clean start is shown before what was decoded before it"
        if pts > latest:
            latest, end = pts, (pts, packet.duration or 0)
            if verdict == "restart":
                restarts.append(len(times))
        times.append(pts)
        while restarts and pts < times[restarts[-1]]:
            restarts.pop()
        referenced.append(verdict != "unreferenced")
        if len(times) == 1:
            if not (packet.is_keyframe and verdict == "restart"):
                return "the first packet is no clean start"
            first_packet = packet
        num_bytes += packet.size
        if num_bytes <= MAX_KEPT_BYTES:
            kept.append(packet)
        elif kept:
            kept.clear()
    if container.format.name == AVI and num_indexed(stream) != len(times):
        return "the index has other packets"
    first = None
    if first_packet is not None:
        is_one_of_several = len(restarts) > 1
        first = _first(path, stream, first_packet) if is_one_of_several else _alone(stream, first_packet, so_far)
    decode_order = np.array(times, dtype=np.int64)
    pts_of = np.sort(decode_order)
    reason = _why_not_together(decode_order, pts_of, first, stream.codec_context.reorder_depth)
    if reason or first is None:
        return reason
    end_pts = end[0] + (end[1] or frame_step(stream))
    packets = PacketOrder(
        frames=np.searchsorted(pts_of, decode_order).astype(np.int32),
        referenced=np.frombuffer(referenced, dtype=np.bool_),
        restarts=np.array(restarts, dtype=np.int64),
    )
    return FrameTable(pts_of, end_pts, stream_time_base(stream), True, len(pts_of), packets=packets), first


def proof_of(stream: VideoStream, packets: PacketOrder, needed: Flags) -> Callable[[int, VideoPacket], bool]:
    """What says of a packet at a position whether its headers still prove what they did when a table was made.

    Those of every packet that is passed over on the way to a needed one are looked at as well, so that it is left out
    because of what the file says now. Of groups in which nothing is needed it says nothing.
    """
    rule = packet_rule(stream.container, stream)  # type: ignore[arg-type]
    is_restart = np.zeros(len(packets.frames), dtype=np.bool_)
    is_restart[packets.restarts] = True
    is_in_group = np.logical_or.reduceat(needed, packets.restarts)[np.cumsum(is_restart) - 1]
    watched, restarts, referenced = is_in_group.data, is_restart.data, packets.referenced.data

    def holds(position: int, packet: VideoPacket) -> bool:
        if not watched[position]:
            return True
        verdict = "" if isinstance(rule, str) else rule(memoryview(packet))
        if _why_not(packet, verdict) or referenced[position] != (verdict != "unreferenced"):
            return False
        return verdict == "restart" or not restarts[position]

    return holds


def _first(path: str, stream: VideoStream, packet: VideoPacket) -> FirstFrame | None:
    """The first frame of several groups, by headers where they say all of it, else by decoding it; None without one.

    A decoder takes long for it, and again when it is read. Should the packet not decode, there still are frames.
    """
    decoder, size, pixel_format = stream.codec_context, None, stream.codec_context.pix_fmt
    codec = decoder.codec.canonical_name
    if codec == "h264":
        size = h264_size(decoder.extradata or b"", memoryview(packet))
    elif codec == "vp9":
        size, pixel_format = vp9_size(memoryview(packet)), VP9_FORMAT
    is_agreed = size is not None and (size.height, size.width) == (decoder.height, decoder.width)
    if is_agreed and pixel_format is not None and shows_as_stored(path, stream.container.format.name):
        return FirstFrame(packet.pts, decoder.height, decoder.width, pixel_format, 0, UPRIGHT)
    return _alone(stream, packet)


def _alone(stream: VideoStream, packet: VideoPacket, so_far: ReadSoFar | None = None) -> FirstFrame | None:
    """What comes out of a fresh decoder after one packet and nothing else.

    With `so_far` the decoder is left as it is where it can go on as if nothing had been asked of it.
    """
    listening = Listening()
    try:
        frames, had_error = decode_watched(stream.codec_context, packet, listening)
    finally:
        listening.end()
    if so_far is not None and frames and stream.codec_context.codec.canonical_name in _GO_ON:
        so_far.has_first = len(frames) == 1 and not had_error and not frames[0].is_corrupt
    if so_far is None or not so_far.has_first:
        frames = (frames or []) + (decode_packet(stream, None) or [])
    return FirstFrame.of(frames[0]) if frames else None


def _why_not(packet: VideoPacket, verdict: Verdict) -> str:
    if packet.pts is None:
        return "a packet has no time"
    if packet.is_discard:
        return "an edit list trims packets away"
    if packet.is_corrupt:
        return "a packet is incomplete"
    if _has_settings(packet):
        return "the stream changes its settings"
    if not verdict:
        return "a packet is not plainly one frame"
    return ""


def _has_settings(packet: VideoPacket) -> bool:
    if next(packet.iter_sidedata(), None) is None:  # as nearly always; asking by name takes longer than all else here
        return False
    # Asked by name: a packet may carry data of a type that PyAV has no name for.
    return packet.has_sidedata("new_extradata") or packet.has_sidedata("encryption_info")


def _why_not_together(decode_order: Timestamps, pts: Timestamps, first: FirstFrame | None, reorder_depth: int) -> str:
    """`pts`: the times of all packets, ascending."""
    if len(pts) == 0 or first is None:
        return "nothing decodes at the start"
    if np.any(pts[1:] == pts[:-1]):
        return "packets share a time"
    if decode_order[0] != pts[0] or first.pts != decode_order[0]:
        return "the first packet is not the first frame"
    if reorder_depth and np.all(decode_order == pts):
        return "the times may be those of decoding"
    if reordering(decode_order) > reorder_depth:
        # A decoder that expects less reordering than there is throws the late frames away.
        return "frames are reordered further than the decoder expects"
    return ""


def _has_holes(times: Timestamps, stream: VideoStream) -> bool:
    """Whether a step that is constant otherwise has longer ones in it, by ascending times."""
    times = times[times != NO_TIME]
    steps = np.diff(times)
    if len(steps) == 0 or 2 * int(steps.max()) < 3 * int(steps.min()):  # of any times that a file may claim
        return False  # no step is much longer than any other; seen at once for most files
    jump = round(JUMP_SECONDS / stream_time_base(stream))
    return bool(len(missing_times(times, None, step=1, jump=jump)))


# --- files that were cut short ----------------------------------------------------------------------


def _with_lost_frames(table: FrameTable, cut: Truncation) -> FrameTable:
    """The table with the frames that the index promises after the cut.

    A frame is never shown before it is decoded, so only frames shown before the first lost decoding
    time have a sure place: a lost frame may belong between any two later ones.
    """
    if len(cut.index_times) == 0:
        truncated = table.truncated or cut.is_truncated
        is_known = not truncated or cut.index_is_whole or not cut.has_index
        notes = table.notes
        if truncated and not cut.has_index:
            text = "the file is cut short, and is of a kind that does not say how many frames it had"
            notes += (Note(NoteKind.CUT_SHORT, text),)
        return replace(table, truncated=truncated, length_known=is_known, notes=notes)
    too_late = np.flatnonzero(table.pts >= cut.lost_from)
    sure = int(too_late[0]) if len(too_late) else len(table.pts)
    shift = int(table.pts[0] - cut.index_times[0])
    estimates = cut.index_times[sure:] + shift
    if sure:
        estimates = np.maximum(estimates, table.pts[sure - 1] + 1 + np.arange(len(estimates)))
    pts = np.concatenate([table.pts[:sure], estimates])
    step = int(pts[-1] - pts[-2]) if len(pts) > 1 else 1
    end_pts = int(pts[-1]) + step
    return replace(table, pts=pts, end_pts=end_pts, num_readable=sure, truncated=True, length_known=cut.index_is_whole)
