"""Packets of a video file for who copies them, undecoded, into another file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from tadacli.errors import VideoError
from tadacli.video.container import VideoPacket, open_stream, read_packets
from tadacli.video.decode_plan import PacketRun
from tadacli.video.seeking import packets_from
from tadacli.video.source import shown


class PacketReader:
    """A video file for its packets, opened when they are first asked for; closed on leaving the context."""

    def __init__(self, path: str) -> None:
        self._path, self._files = path, ExitStack()
        self._opened: tuple[InputContainer, VideoStream] | None = None

    def __enter__(self) -> PacketReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    @property
    def stream(self) -> VideoStream:
        """The stream that the packets are of. Raises `av.FFmpegError` where the file cannot be opened any more."""
        return self._open()[1]

    def read(self, run: PacketRun) -> Iterator[VideoPacket]:
        """The packets of a run, in the order of decoding.

        Args:
            run: What `VideoSource.packets_alone` gave for this file.

        Returns:
            An iterator over those that are wanted.

        Raises:
            VideoError: The file has other packets there, or cannot be read.
        """
        try:
            yield from self._wanted(run)
        except av.FFmpegError as error:
            raise VideoError(f"{shown(self._path)} cannot be read any more: {error.strerror}") from error

    def _open(self, *, anew: bool = False) -> tuple[InputContainer, VideoStream]:
        if self._opened is None or anew:
            self._files.close()
            container, stream = self._files.enter_context(open_stream(self._path))
            assert stream is not None
            self._opened = container, stream
        return self._opened

    def _wanted(self, run: PacketRun) -> Iterator[VideoPacket]:
        first = int(run.times[0])
        packets = _from(packets_from(self._open()[1], first), first)
        found = next(packets, None)
        if found is None:  # seeking came out behind it
            packets = _from(read_packets(*self._open(anew=True)), first)
            found = next(packets, None)
        for time, is_wanted in zip(run.times.tolist(), run.is_wanted.tolist(), strict=True):
            if found is None or found.pts != time:
                raise VideoError(f"the packets of {shown(self._path)} are not those that they were")
            if is_wanted:
                yield found
            found = next(packets, None)


def _from(packets: Iterable[VideoPacket | None], time: int) -> Iterator[VideoPacket]:
    """The packets from the one that is shown at `time` on; none if a later one comes first, or reading fails."""
    has_begun = False
    for packet in packets:
        if packet is None or packet.pts is None:
            return
        has_begun = has_begun or packet.pts == time
        if has_begun:
            yield packet
        elif packet.pts > time:
            return
