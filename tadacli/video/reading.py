"""Frames of a video by number: video files through FFmpeg (PyAV), and folders or tars of pictures.

Frame i is the i-th frame that a full decode shows, and a frame that was asked for is either that very
frame or a `VideoError`: nothing is put in its place. Times are presentation times, never i / fps.
"""

from __future__ import annotations

import copy
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from fractions import Fraction
from functools import partial

import av
import numpy as np
from av.video.frame import VideoFrame

from tadacli.errors import VideoError
from tadacli.results import VideoInfo
from tadacli.video.array_frames import ArraySource
from tadacli.video.damage import Damage
from tadacli.video.decode_plan import PacketRun
from tadacli.video.decoder import Decoder, TableError
from tadacli.video.frame_names import NAMES
from tadacli.video.inputs import ARCHIVE_SUFFIXES, FrameArray, is_frames_folder
from tadacli.video.inspection import Inspection, inspect_file, is_turned
from tadacli.video.kept_tables import KeptTable
from tadacli.video.picture_frames import PictureSource
from tadacli.video.rgb import picked_rgb, rgb_of
from tadacli.video.source import (
    DAMAGED_HINT,
    NOT_A_VIDEO_HINT,
    Frame,
    Indices,
    Picked,
    Pixels,
    Unreadable,
    VideoPath,
    VideoSource,
    as_indices,
    shown,
)


@contextmanager
def open_video(
    path: VideoPath, *, fps: float | Fraction | None = None, index: VideoPath | None = None
) -> Iterator[VideoSource]:
    """A video file, or a folder or tar of numbered pictures, ready to be read; closed on leaving.

    Args:
        path: Path of the file or folder.
        fps: Frames a second of pictures, which cannot say it themselves; by default what their name says, or 30.
            Video files ignore it.
        index: A folder in which the frame tables of video files are kept, so that a file opens at once when it is
            opened again; one that has changed is noticed. By default nothing is kept.

    Raises:
        VideoError: Not one frame can be had, as far as opening tells; it names the reason. Where headers promise frames
            of which none decodes, each is refused when it is asked for.
    """
    if isinstance(path, FrameArray):
        yield ArraySource(path)
        return
    name = os.fsdecode(path)
    _check_is_there(name)
    if os.path.isdir(name) or name.lower().endswith(ARCHIVE_SUFFIXES):
        yield PictureSource(name, fps)
    else:
        with closing(_FileSource(name, None if index is None else os.fsdecode(index))) as source:
            yield source


def probe(path: VideoPath, *, fps: float | Fraction | None = None, index: VideoPath | None = None) -> VideoInfo:
    """What is known about a video: its frames, duration, size, rotation and codec, and whether it is cut short.

    Args:
        path: Path of a video file, or of a folder or tar of numbered pictures.
        fps: Frames a second of pictures; by default what their name says, or 30. Video files ignore it.
        index: A folder of frame tables, as for `open_video`.

    Returns:
        The facts, with times in seconds and the size in pixels as the frames are shown, (height, width).

    Raises:
        VideoError: Not one frame can be had, as far as opening tells; it names the reason. Where headers promise frames
            of which none decodes, each is refused when it is asked for.

    Example:
        >>> import tempfile, tadacli.video
        >>> from tadacli.camera_motion.virtual_camera import render_sample
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = render_sample(f"{folder}/video.mp4", seconds=1, height=96, width=160)
        ...     info = tadacli.video.probe(f"{folder}/video.mp4")
        >>> info.num_frames, info.duration_seconds, info.height, info.width
        (30, 1.0, 96, 160)
    """
    with open_video(path, fps=fps, index=index) as source:
        return source.info


def read_frames(
    path: VideoPath, indices: Iterable[int], *, fps: float | Fraction | None = None, index: VideoPath | None = None
) -> Pixels:
    """The frames with these numbers, in their order, in one array.

    Args:
        path: Path of a video file, or of a folder or tar of numbered pictures.
        indices: Frame numbers from 0 on, in any order, duplicates allowed.
        fps: Frames a second of pictures; by default what their name says, or 30. Video files ignore it.
        index: A folder of frame tables, as for `open_video`.

    Returns:
        uint8 (N, H, W, 3), RGB: row i is frame indices[i].

    Raises:
        VideoError: The video, or a frame of it that was asked for, cannot be had. No other frame takes its place.

    Example:
        >>> import tempfile, tadacli.video
        >>> from tadacli.camera_motion.virtual_camera import render_sample
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = render_sample(f"{folder}/video.mp4", seconds=1, height=96, width=160)
        ...     frames = tadacli.video.read_frames(f"{folder}/video.mp4", [0, 10, 5])
        >>> frames.shape
        (3, 96, 160, 3)
    """
    wanted = as_indices(indices)
    with open_video(path, fps=fps, index=index) as source:
        rows = np.empty((len(wanted), source.info.height, source.info.width, 3), dtype=np.uint8)
        for frame in source.require_frames(wanted):
            for row in np.flatnonzero(wanted == frame.index):  # a mask would copy pixel by pixel
                rows[row] = frame.pixels
    return rows


def iter_frames(
    path: VideoPath,
    indices: Iterable[int],
    *,
    fps: float | Fraction | None = None,
    index: VideoPath | None = None,
    skip_unreadable: bool = False,
) -> Iterator[Frame | Unreadable]:
    """The frame of each distinct index, ascending, one at a time.

    Args:
        path: Path of a video file, or of a folder or tar of numbered pictures.
        indices: Frame numbers from 0 on, in any order.
        fps: Frames a second of pictures; by default what their name says, or 30. Video files ignore it.
        index: A folder of frame tables, as for `open_video`.
        skip_unreadable: Give an `Unreadable` for a frame that cannot be had, and go on.

    Yields:
        A `Frame` with its number, time and duration in seconds, and pixels, uint8 (H, W, 3), RGB; or an `Unreadable`
        with the reason.

    Raises:
        VideoError: The video cannot be had, or lacks one of the indices; or, without `skip_unreadable`, one of the
            frames cannot be had.

    Example:
        >>> import tempfile, tadacli.video
        >>> from tadacli.camera_motion.virtual_camera import render_sample
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = render_sample(f"{folder}/video.mp4", seconds=1, height=96, width=160)
        ...     frames = list(tadacli.video.iter_frames(f"{folder}/video.mp4", [15, 0]))
        >>> [(frame.index, frame.time_seconds) for frame in frames]
        [(0, 0.0), (15, 0.5)]
    """
    with open_video(path, fps=fps, index=index) as source:
        yield from source.iter_frames(indices, skip_unreadable=skip_unreadable)


def _check_is_there(path: str) -> None:
    """Raises `VideoError` for a path that cannot be read, or where reading would wait forever."""
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            os.scandir(path).close()
        elif stat.S_ISREG(status.st_mode):
            os.close(os.open(path, os.O_RDONLY))
    except FileNotFoundError as error:
        raise VideoError(f"there is no file {shown(path)}", hint="check the path") from error
    except PermissionError as error:
        raise VideoError(f"no permission to read {shown(path)}", hint="check who may read it") from error
    except (OSError, ValueError) as error:
        raise VideoError(f"cannot open {shown(path)}: {error}") from error
    if stat.S_ISDIR(status.st_mode):
        if not is_frames_folder(path):
            raise VideoError(
                f"{shown(path)} is a folder that holds no numbered frames",
                hint=f"frames are named {NAMES}; --recursive looks for videos below a folder",
            )
    elif not stat.S_ISREG(status.st_mode):
        raise VideoError(f"{shown(path)} is not a regular file", hint=NOT_A_VIDEO_HINT)
    elif status.st_size == 0:
        raise VideoError(f"{shown(path)} is an empty file (0 bytes)", hint="fetch or record it again")


# --- video files ------------------------------------------------------------------------------------


class _FileSource(VideoSource):
    """A video file: its frame table, and what decodes by it. The first reading may use the file as it is open.

    A table that was kept in an earlier time is believed as far as what is read agrees with it.
    """

    def __init__(self, path: str, index: str | None = None) -> None:
        self._path = path
        self._kept = None if index is None else KeptTable(index, path)
        found = None if self._kept is None else self._kept.read()
        self._is_kept, read_file = found is not None, None
        if found is None:
            found, read_file = inspect_file(path)
            if self._kept is not None:
                self._kept.write(found)
        self._adopt(found)
        self._decoder = Decoder(path, self._table, read_file, is_kept=self._is_kept)

    def _adopt(self, found: Inspection) -> None:
        self._table, self._first = found.table, found.first
        self._set_timeline(found.info(self._path), found.table.all_seconds())

    def close(self) -> None:
        """Closes what the first reading would have used."""
        self._decoder.close()

    @property
    def num_decoded(self) -> int:
        return self._decoder.num_decoded

    @property
    def restarts(self) -> Indices:
        packets = self._table.packets
        return super().restarts if packets is None else packets.restarts

    @property
    def num_pieces(self) -> int:
        return self._table.num_pieces

    def packets_alone(self, first: int, end: int) -> PacketRun | None:
        packets, pts = self._table.packets, self._table.pts
        found = None if packets is None or end > self._table.num_readable else packets.alone(first, end)
        if packets is None or found is None:
            return None
        position, is_wanted = found
        times = pts[packets.frames[position : position + len(is_wanted)]]
        return PacketRun(times, is_wanted, int(pts[end]) if end < len(pts) else self._table.end_pts)

    def reopened(self) -> VideoSource:
        other = copy.copy(self)
        other._decoder = self._decoder.again()
        return other

    def _decode(self, wanted: Indices, *, skip: bool) -> Iterator[tuple[int, Pixels | str]]:
        return self._converted(wanted, self._to_rgb, skip=skip)

    def _pick(self, wanted: Indices, picked: Picked, *, skip: bool) -> Iterator[tuple[int, Pixels | str]]:
        return self._converted(wanted, partial(self._to_rgb, picked=picked), skip=skip)

    def _converted(
        self, wanted: Indices, convert: Callable[[VideoFrame], Pixels | str], *, skip: bool
    ) -> Iterator[tuple[int, Pixels | str]]:
        """As `_decode`, starting again if the table is wrong."""
        done, why = 0, ""
        for is_last in [False] * (1 + self._is_kept) + [True]:
            try:
                for found in self._decoder.frames(wanted, convert):
                    yield found
                    done += 1
                return
            except TableError as error:
                if self._is_kept:
                    self._inspect_again(was_read=done > 0)
                    continue
                if is_last:
                    raise VideoError(f"{shown(self._path)} decodes differently each time") from error
                if done and skip:
                    why = "cannot be told from others: what decodes is not what the packets promise"
                    break
                # The packets looked like frames, but decoding shows others: decoding is right.
                self._rebuild(was_read=done > 0)
            except av.error.FFmpegError as error:
                if not skip:
                    raise VideoError(f"{shown(self._path)} cannot be opened again: {error}") from error
                why = f"cannot be read any more: {error.strerror}"
                break
        for index in map(int, wanted[done:]):
            yield index, why

    def _inspect_again(self, *, was_read: bool) -> None:
        """In place of the table that was kept. Raises `VideoError` if frames were promised, or given, by that one."""
        assert self._kept is not None
        self._kept.drop()
        info, times = self.info, self.times
        found, read_file = inspect_file(self._path)
        if read_file is not None:
            read_file.files.close()
        self._is_kept = False
        self._adopt(found)
        self._decoder.table, self._decoder.is_kept = found.table, False
        if was_read or self.info != info or not np.array_equal(self.times, times):
            raise VideoError(
                f"{shown(self._path)} has other frames than were kept of it, though its size and its time are the same",
                hint="run the command again: what was kept is removed",
            )

    def _rebuild(self, *, was_read: bool) -> None:
        promised = self.info.num_frames
        self._adopt(inspect_file(self._path, by_decoding=True)[0])
        self._decoder.table = self._table
        if was_read or self.info.num_frames != promised:
            raise VideoError(
                f"the packets of {shown(self._path)} promise {promised} frames, but others decode",
                hint="re-encode the file, for example with ffmpeg -i IN OUT.mp4",
            )

    def _to_rgb(self, frame: VideoFrame, picked: Picked | None = None) -> Pixels | str:
        first = self._first
        if (frame.height, frame.width) != (first.height, first.width):
            return f"is {frame.width}x{frame.height} pixels, the first one {first.width}x{first.height}"
        try:
            if picked is not None and _is_upright(first.matrix):
                return picked_rgb(frame, picked)
            pixels = upright(rgb_of(frame), first.matrix)
        except (av.error.FFmpegError, ValueError) as error:
            return f"has no RGB form: {error}"
        return pixels if picked is None else picked.of(pixels)

    def _error(self, frame: Unreadable) -> VideoError:
        """The error for a frame that cannot be had; where the file is damaged, it says how many frames can."""
        message = f"frame {frame.index} at {frame.time_seconds:.2f} s of {shown(self._path)} {frame.reason}"
        if not isinstance(frame.reason, Damage):
            return VideoError(message, hint="a video must keep its frame size and format: cut it where they change")
        try:
            num_clean = self._decoder.count_clean()
        except (TableError, av.error.FFmpegError):
            num_clean = self._table.num_readable
        return VideoError(f"{message}; {num_clean} of {self.info.num_frames} frames decode", hint=DAMAGED_HINT)


def _is_upright(matrix: tuple[int, int, int, int]) -> bool:
    return not is_turned(matrix) and matrix[0] >= 0 and matrix[3] >= 0


def upright(pixels: Pixels, matrix: tuple[int, int, int, int]) -> Pixels:
    """The frame (H, W, 3) as it is meant to be seen, by the nearest quarter turn; mirrors it if need be."""
    a, b, c, d = matrix
    across, down = (c, b) if is_turned(matrix) else (a, d)
    if is_turned(matrix):
        pixels = pixels.transpose(1, 0, 2)
    if across < 0:
        pixels = pixels[:, ::-1]
    if down < 0:
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
