"""A small JPEG of a frame."""

from __future__ import annotations

import io

from PIL import Image

from tadacli.results import VideoInfo
from tadacli.video.source import Pixels


def thumbnail(pixels: Pixels, info: VideoInfo, *, width: int, height: int | None = None, quality: int) -> bytes:
    """A small picture of a frame, in the shape that the video is shown in.

    Args:
        pixels: uint8 (H, W, 3), RGB.
        info: The video.
        width: How wide it is, in pixels.
        height: How high it is at most; it is narrower where it would be higher.
        quality: That of JPEG, 1 to 95.

    Returns:
        A JPEG file.
    """
    shape = info.height / float(info.width * info.sample_aspect_ratio)
    if height is not None and width * shape > height:
        width = max(1, round(height / shape))
    data = io.BytesIO()
    # LANCZOS antialiases: a thumbnail of a large frame must not flicker with its fine texture.
    small = Image.fromarray(pixels).resize((width, max(1, round(width * shape))), Image.Resampling.LANCZOS)
    small.save(data, "JPEG", quality=quality)
    return data.getvalue()
