"""Files that end before their container does: whether one does, and what its index says was there."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from tadacli.video.bitstream import MP4
from tadacli.video.container_bytes import STREAMS, avi_frames_are_whole, ends_beyond
from tadacli.video.source import Timestamps


@dataclass(frozen=True)
class Truncation:
    """Whether the file ends before its container does, and what its index says was there.

    `index_times` are the decoding times of all frames, ascending; they are empty when the index lies
    inside the file. No lost frame is shown before `lost_from`. `index_is_whole`: the index was written before
    the frames, with all of them in it, or nothing but the index is missing. `has_index`: the container is of a kind
    that says how many frames there are to be.
    """

    is_truncated: bool
    index_is_whole: bool
    index_times: Timestamps
    lost_from: int = 0
    has_index: bool = True


def find_truncation(
    path: str, container: InputContainer, stream: VideoStream, *, num_whole: int = -1, packets_end: int = -1
) -> Truncation:
    """What is missing of an opened file.

    `num_whole`: how many packets could be read whole; `packets_end`: where the last one ends in the file; -1 where that
    is not known.
    """
    file_size = Path(path).stat().st_size
    format_name = container.format.name
    is_truncated = ends_beyond(path, format_name)
    if format_name == "yuv4mpegpipe":  # of raw pictures, FFmpeg passes over the last one if it is not whole
        is_truncated = 0 <= packets_end < file_size
    if format_name in STREAMS:
        return Truncation(is_truncated, False, np.empty(0, dtype=np.int64), has_index=False)
    if format_name == "avi":
        return Truncation(is_truncated, avi_frames_are_whole(path), np.empty(0, dtype=np.int64))
    kept, lost = array("q"), array("q")
    if format_name == MP4:
        if len(stream.index_entries) == num_whole:  # each could be read, so none is lost
            return Truncation(is_truncated, 0 < num_whole <= stream.frames, np.empty(0, dtype=np.int64))
        for entry in stream.index_entries:
            if not entry.is_discard:
                (lost if entry.pos + entry.size > file_size else kept).append(entry.timestamp)
    is_whole = 0 < len(kept) + len(lost) <= stream.frames
    if not lost:
        return Truncation(is_truncated, is_whole, np.empty(0, dtype=np.int64))
    return Truncation(True, is_whole, np.sort(np.array(kept + lost, dtype=np.int64)), min(lost))
