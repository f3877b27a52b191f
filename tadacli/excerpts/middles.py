"""Pictures of segments: the frame on screen at the middle of each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PIL import Image

from tadacli.encoding.thumbnail import thumbnail
from tadacli.excerpts.contact_sheet import THUMBNAIL_SIZE
from tadacli.excerpts.marks import encoded_picture
from tadacli.files import write_new
from tadacli.results import VideoInfo
from tadacli.video.source import Frame, Unreadable

_QUALITY, _SMALL_QUALITY = 95, 80  # of JPEG


class Middle:
    """The frame at the middle of a segment on its way into a picture, and into a small one.

    Args:
        index: Number of the frame.
        image: The file of the picture, JPEG or PNG by its suffix, and what it says it is of; None for none.
        small: Called with a JPEG of the frame for a contact sheet, in the shape that the video is shown in; None for
            none.
        info: The video.
        done: Called with why there is no picture, "" where there is one, once.
    """

    is_light = True

    def __init__(
        self,
        index: int,
        *,
        image: tuple[Path, str] | None,
        small: Callable[[bytes], None] | None,
        info: VideoInfo,
        done: Callable[[str], None],
    ) -> None:
        self.first, self.end, self.is_over = index, index + 1, False
        self._image, self._small, self._info, self._done = image, small, info, done

    def take(self, frame: Frame) -> None:
        """Write the picture. Raises `OutputError` where it cannot be written."""
        if self._image is not None:
            file, origin_id = self._image
            picture = Image.fromarray(frame.pixels)
            write_new(file, encoded_picture(picture, origin_id, is_png=file.suffix == ".png", quality=_QUALITY))
        if self._small is not None:
            width, height = THUMBNAIL_SIZE
            self._small(thumbnail(frame.pixels, self._info, width=width, height=height, quality=_SMALL_QUALITY))
        self.is_over = True
        self._done("")

    def miss(self, frame: Unreadable) -> None:
        """There is no picture."""
        self.is_over = True
        self._done(f"frame {frame.index} at {frame.time_seconds:.2f} s {frame.reason}")

    def abandon(self) -> None:
        """A picture is written whole or not at all."""
        self.is_over = True
