"""One picture with a thumbnail of each segment, its label, its time and its score."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from PIL import Image, ImageDraw, ImageFont

from tadacli.excerpts.marks import encoded_picture
from tadacli.formats.captions import one_line
from tadacli.formats.video_names import file_name
from tadacli.results import counted

Font: TypeAlias = ImageFont.ImageFont | ImageFont.FreeTypeFont

THUMBNAIL_SIZE = 240, 150  # (width, height) in pixels
# As many as a picture has room for that can still be looked at.
MOST_ON_SHEET = 200
_COLUMNS, _GAP, _PAD, _TEXT = 5, 12, 8, 15
_PAPER, _CELL, _INK, _FAINT = (246, 246, 248), (255, 255, 255), (24, 26, 32), (98, 102, 112)
_EMPTY = (224, 225, 230)
_QUALITY = 90


@dataclass(frozen=True)
class SheetCell:
    """One segment on the sheet: what is written below its thumbnail, a JPEG, None where there is none.

    Times are in seconds, None for the video's own start or end.
    """

    video: str
    label: str
    start_seconds: float | None
    end_seconds: float | None
    score: float | None
    thumbnail: bytes | None


def contact_sheet(cells: Sequence[SheetCell], *, num_segments: int, origin_id: str, is_png: bool) -> bytes:
    """A contact sheet.

    Args:
        cells: The segments that are on it, at most `MOST_ON_SHEET`.
        num_segments: How many there are in all; the sheet says so where it does not have them all.
        origin_id: What the file says it is of.
        is_png: Whether it is a PNG, or else a JPEG.

    Returns:
        The file. The font has Latin letters; other ones show as boxes.
    """
    font, bold = ImageFont.load_default(_TEXT), ImageFont.load_default(_TEXT + 2)
    has_videos = len({cell.video for cell in cells}) > 1
    columns = max(1, min(_COLUMNS, len(cells)))
    wide, high = THUMBNAIL_SIZE
    line = round(1.4 * _TEXT)
    cell_height = high + _PAD + (3 if has_videos else 2) * line + _PAD
    top = _GAP + 2 * line
    rows = -(-len(cells) // columns)
    size = max(columns * (wide + _GAP) + _GAP, 480), top + rows * (cell_height + _GAP)
    sheet = Image.new("RGB", size, _PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((_GAP, _GAP), _fitted(_title(cells, num_segments), bold, size[0] - 2 * _GAP), font=bold, fill=_INK)
    for number, cell in enumerate(cells):
        row, column = divmod(number, columns)
        left, upper = _GAP + column * (wide + _GAP), top + row * (cell_height + _GAP)
        pen.rectangle((left, upper, left + wide - 1, upper + cell_height - 1), fill=_CELL)
        _paste(sheet, pen, cell.thumbnail, (left, upper), font)
        texts = [(cell.label, _INK), (_times(cell), _FAINT), (file_name(cell.video), _FAINT)]
        for place, (text, colour) in enumerate(texts if has_videos else texts[:2]):
            at = left + _PAD, upper + high + _PAD + place * line
            pen.text(at, _fitted(text, font, wide - 2 * _PAD), font=font, fill=colour)
        if cell.score is not None:
            at = left + wide - _PAD, upper + high + _PAD + line
            pen.text(at, f"{cell.score:.2f}", font=font, fill=_FAINT, anchor="ra")
    return encoded_picture(sheet, origin_id, is_png=is_png, quality=_QUALITY)


def _title(cells: Sequence[SheetCell], num_segments: int) -> str:
    videos = {cell.video: None for cell in cells}
    of = file_name(next(iter(videos))) if len(videos) == 1 else counted(len(videos), "videos")
    if len(cells) < num_segments:
        return f"The {len(cells)} segments with the highest scores, of {num_segments} segments of {of}"
    return f"{counted(num_segments, 'segments')} of {of}"


def _times(cell: SheetCell) -> str:
    return " - ".join(
        other if each is None else _clock(each)
        for each, other in ((cell.start_seconds, "start"), (cell.end_seconds, "end"))
    )


def _clock(seconds: float) -> str:
    """A time as h:mm:ss.mmm."""
    minutes, milliseconds = divmod(abs(round(seconds * 1000)), 60_000)
    return f"{'-' if seconds < 0 else ''}{minutes // 60}:{minutes % 60:02}:{milliseconds / 1000:06.3f}"


def _paste(
    sheet: Image.Image,
    pen: ImageDraw.ImageDraw,
    thumbnail: bytes | None,
    at: tuple[int, int],
    font: Font,
) -> None:
    (left, upper), (wide, high) = at, THUMBNAIL_SIZE
    pen.rectangle((left, upper, left + wide - 1, upper + high - 1), fill=_EMPTY)
    if thumbnail is None:
        pen.text((left + wide // 2, upper + high // 2), "no picture", font=font, fill=_FAINT, anchor="mm")
        return
    with Image.open(io.BytesIO(thumbnail), formats=("JPEG",)) as picture:
        sheet.paste(picture, (left + (wide - picture.width) // 2, upper + (high - picture.height) // 2))


def _fitted(text: str, font: Font, room: float) -> str:
    """A text on one line, shortened until it is at most `room` pixels wide."""
    shown = " ".join(one_line(text).split())[:400]
    if font.getlength(shown) <= room:
        return shown
    while shown and font.getlength(shown + "...") > room:
        shown = shown[:-1]
    return shown.rstrip() + "..."
