"""The video file of one excerpt: packets that are copied where they stand for themselves, or frames encoded again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av import VideoFormat

from tadacli.encoding.mp4 import CopiedMp4, EncodedMp4
from tadacli.encoding.sound import Sound, Span
from tadacli.errors import OutputError, VideoError
from tadacli.excerpts.extents import Extent
from tadacli.excerpts.marks import Mark, mark_text
from tadacli.files import new_file, not_written
from tadacli.results.excerpts import How
from tadacli.video.copying import PacketReader
from tadacli.video.reading import open_video
from tadacli.video.source import Frame, Unreadable, VideoSource

_CRF = 18  # hardly to be told from the video
_SAME_SECONDS = 1e-4  # MP4 counts in ticks of its own


class SoundFiles:
    """The sound of a video for several excerpts at once; each has it for itself while it is `borrowed`."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._free: list[Sound] = []
        self._all = ExitStack()

    def __enter__(self) -> SoundFiles:
        return self

    def __exit__(self, *_: object) -> None:
        self._all.close()

    @contextmanager
    def borrowed(self) -> Iterator[Sound]:
        """The sound of the video."""
        sound = self._free.pop() if self._free else self._all.enter_context(Sound(self._path))
        try:
            yield sound
        finally:
            self._free.append(sound)


@dataclass(frozen=True)
class ExcerptFile:
    """The video of one segment, and where it goes.

    `path` is the file, which must not be there, and `origin_id` what it says it is of; `title` is what players show.
    """

    path: Path
    extent: Extent
    source: VideoSource
    sounds: SoundFiles
    origin_id: str
    title: str

    @property
    def has_sound(self) -> bool:
        """Whether the sound of the video can be told to go with its frames."""
        return self.source.num_pieces == 1

    def copied(self, packets: PacketReader) -> Mark | None:
        """Write it of packets as they are, if these decode to its frames and nothing else.

        Args:
            packets: Those of the video.

        Returns:
            What the file says; None where it cannot be written in this way, and is not there.

        Raises:
            OutputError: It cannot be written at all, as where the disk is full.
        """
        run = self.source.packets_alone(self.extent.first, self.extent.end) if self.extent.holds_frames else None
        if run is None:
            return None
        unit = float(packets.stream.time_base or 0)
        last = min(run.end, round(self.extent.end_seconds / unit)) if unit else run.end
        try:
            with ExitStack() as files, new_file(self.path) as stream:
                mp4 = CopiedMp4(
                    stream.name,
                    self._sound(files),
                    self._span(may_copy=True),
                    template=packets.stream,
                    times=run.times[run.is_wanted],
                    end=last,
                    tags=self._tags("copied"),
                )
                with mp4:
                    for number, packet in enumerate(packets.read(run)):
                        mp4.add(number, packet)
                    mp4.finish()
                self._require_same_times(stream.name)
        except (VideoError, ValueError, av.FFmpegError):  # what MP4 does not hold, or holds in another way
            return None
        return self.mark("copied", mp4.notes)

    def mark(self, how: How, notes: Sequence[str]) -> Mark:
        """What the file says of itself, when it was written in this way."""
        kept = [*self.extent.notes, *notes]
        if not self.has_sound:
            kept.append("the times in the file begin anew: nothing tells which sound goes with it, and it has none")
        if how == "encoded" and _num_bits(self.source.info.pixel_format) > 8:
            kept.append(f"{_num_bits(self.source.info.pixel_format)} bits a colour became 8")
        return Mark(
            id=self.origin_id,
            how=how,
            shown_from=round(self.extent.start_seconds, 6),
            shown_until=round(self.extent.end_seconds, 6),
            num_frames=self.extent.num_frames,
            notes=kept,
        )

    def encoder(self, stream_name: str, files: ExitStack) -> EncodedMp4:
        """The file in the making, whose frames are encoded; closed with `files`."""
        times = self.source.times_shown[self.extent.first : self.extent.end] - self.extent.start_seconds
        mp4 = EncodedMp4(
            stream_name,
            self._sound(files),
            self._span(may_copy=False),
            info=self.source.info,
            times=np.maximum(0.0, times),  # the one frame that was on screen before
            end_seconds=self.extent.end_seconds - self.extent.start_seconds,
            crf=_CRF,
            tags=self._tags("encoded"),
        )
        return files.enter_context(mp4)

    def _sound(self, files: ExitStack) -> Sound | None:
        return files.enter_context(self.sounds.borrowed()) if self.has_sound else None

    def _span(self, *, may_copy: bool) -> Span:
        start = self.extent.start_seconds
        return Span(start, self.extent.end_seconds, zero_seconds=start, may_copy=may_copy)

    def _tags(self, how: How) -> Callable[[Sequence[str]], Mapping[str, str]]:
        return lambda notes: {"title": self.title, "comment": mark_text(self.mark(how, notes))}

    def _require_same_times(self, name: str) -> None:
        """Raises `VideoError` unless the file has as many frames as it should, at the same times."""
        wanted = self.source.times_shown[self.extent.first : self.extent.end] - self.extent.start_seconds
        with open_video(name) as copy:
            times = copy.times_shown
            if len(times) != len(wanted) or np.abs(times - wanted).max() > _SAME_SECONDS:
                raise VideoError(f"{self.path} has other frames than it should")


class Encoding:
    """The frames of an excerpt on their way into its file; what became of it is told by `done`, once.

    Args:
        file: The excerpt.
        done: Called with what the file says, or with why there is none.
    """

    is_light = False

    def __init__(self, file: ExcerptFile, done: Callable[[Mark | str], None]) -> None:
        self.first, self.end, self.is_over = file.extent.first, file.extent.end, False
        self._file, self._done = file, done
        self._open: tuple[ExitStack, EncodedMp4] | None = None

    def take(self, frame: Frame) -> None:
        """Encode the next frame. Raises `OutputError` where the file cannot be written."""
        try:
            mp4 = self._open[1] if self._open is not None else self._begin()
            mp4.add(frame.index - self.first, frame.pixels)
            if frame.index == self.end - 1:
                mp4.finish()
                self._close()
                self._done(self._file.mark("encoded", mp4.notes))
        except OSError as error:
            self.abandon()
            raise not_written(self._file.path, error) from error
        except (ValueError, av.FFmpegError) as error:
            self._stop(f"it cannot be encoded: {error}")

    def miss(self, frame: Unreadable) -> None:
        """The file is not made: a frame of it cannot be had."""
        self._stop(f"frame {frame.index} at {frame.time_seconds:.2f} s {frame.reason}")

    def abandon(self) -> None:
        """Nothing is left of what was begun."""
        self.is_over = True
        if self._open is not None:
            (files, _), self._open = self._open, None
            with suppress(_AbandonedError, OutputError, av.FFmpegError), files:
                raise _AbandonedError

    def _begin(self) -> EncodedMp4:
        with ExitStack() as files:
            stream = files.enter_context(new_file(self._file.path))
            mp4 = self._file.encoder(stream.name, files)
            self._open = files.pop_all(), mp4
        return mp4

    def _close(self) -> None:
        self.is_over = True
        if self._open is not None:
            (files, _), self._open = self._open, None
            files.close()

    def _stop(self, reason: str) -> None:
        self.abandon()
        self._done(reason)


class _AbandonedError(Exception):
    """What `new_file` is left with when its file is not to be."""


def _num_bits(pixel_format: str) -> int:
    """Bits of a colour, 8 where that is not known."""
    try:
        return max((each.bits for each in VideoFormat(pixel_format).components), default=8)
    except ValueError:
        return 8
