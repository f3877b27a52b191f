"""What the files of excerpts say of themselves, so that a run that goes on knows which are its own and whole."""

from __future__ import annotations

import hashlib
import io
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from PIL import Image, PngImagePlugin
from typing_extensions import TypedDict

from tadacli.errors import UsageError
from tadacli.excerpts.wanted import WantedSegment
from tadacli.results.excerpts import How
from tadacli.results.json_ready import Count, Number
from tadacli.strict_tables import decode_table, parse_json
from tadacli.video.container import open_stream

_LEAD = "tada clip "
# It grows when later versions cut out other frames, or encode them otherwise.
_VERSION = 1
_MOST_PICTURE_BYTES = 1 << 27


class Mark(TypedDict):
    """What an excerpt is of (`id`), and what its row says of it; a picture has no more than the id."""

    id: str
    how: How | None
    shown_from: Number | None
    shown_until: Number | None
    num_frames: Count | None
    notes: list[str]


@dataclass(frozen=True)
class Origin:
    """What the content of a file is a function of: the segment and the settings, and the video with its size."""

    video: str
    size_bytes: int | None
    start_seconds: float | None
    end_seconds: float | None
    label: str
    pad_seconds: float | None
    kind: str

    @classmethod
    def of(
        cls, video: str, size_bytes: int | None, segment: WantedSegment, *, pad_seconds: float | None, kind: str
    ) -> Origin:
        """That of a file of this kind, "mp4", "jpg" or "png"."""
        return cls(video, size_bytes, segment.start_seconds, segment.end_seconds, segment.label, pad_seconds, kind)

    @property
    def id(self) -> str:
        """A digest of it all."""
        return digest([_VERSION, *asdict(self).values()])


def digest(values: object) -> str:
    """A short digest of JSON-ready values."""
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:32]


def picture_mark(origin_id: str) -> Mark:
    """The mark of a picture."""
    return Mark(id=origin_id, how=None, shown_from=None, shown_until=None, num_frames=None, notes=[])


def mark_text(mark: Mark) -> str:
    """As it stands in the comment of a file."""
    return _LEAD + json.dumps(mark)


def read_mark(file: Path) -> Mark | None:
    """The mark of an excerpt or a picture.

    Args:
        file: A file, which may be anything.

    Returns:
        The mark; None of a file that has none, as it was not made here or is damaged.
    """
    try:
        text = _comment_of_picture(file) if file.suffix != ".mp4" else _comment_of_video(file)
        if not text.startswith(_LEAD):
            return None
        return decode_table(Mark, parse_json(text.removeprefix(_LEAD)), where=str(file), error=UsageError)
    except Exception:  # a file that is none of ours makes a reader fail in any way
        return None


def _comment_of_video(file: Path) -> str:
    with open_stream(os.path.abspath(file)) as (container, _):
        return container.metadata.get("comment", "")


def _comment_of_picture(file: Path) -> str:
    if file.stat().st_size > _MOST_PICTURE_BYTES:
        return ""
    with Image.open(file, formats=("JPEG", "PNG")) as image:
        comment = image.info.get("comment", "")
    return comment.decode() if isinstance(comment, bytes) else str(comment)


def encoded_picture(image: Image.Image, origin_id: str, *, is_png: bool, quality: int) -> bytes:
    """A PNG, or a JPEG of this quality, 1 to 95, that says what it is of."""
    data, comment = io.BytesIO(), mark_text(picture_mark(origin_id))
    if is_png:
        chunks = PngImagePlugin.PngInfo()
        chunks.add_text("comment", comment)
        image.save(data, "PNG", pnginfo=chunks)
    else:
        image.save(data, "JPEG", quality=quality, comment=comment)
    return data.getvalue()
