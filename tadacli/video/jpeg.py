"""One JPEG picture: from the content of a file to pixels, or to what is wrong with it."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import simplejpeg
from PIL import Image, UnidentifiedImageError

from tadacli.video.source import Pixels, too_large


def open_jpeg(data: bytes) -> Image.Image | str:
    """The picture in a file's content, its pixels not read yet, or what is wrong with it."""
    with contextlib.suppress(
        ValueError, KeyError
    ):  # Pillow says what is wrong with it; it only warns of a picture too large
        height, width = simplejpeg.decode_jpeg_header(data, strict=False)[:2]
        if problem := too_large(width, height):
            return problem
    try:
        image = Image.open(io.BytesIO(data), formats=("JPEG",))
    except UnidentifiedImageError:  # its text is a place in memory
        return "is not a whole JPEG picture"
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return f"is not a whole JPEG picture: {error}"
    return too_large(*image.size) or image


def decode_jpeg(data: bytes) -> Pixels | str:
    """The pixels in a file's content, or what is wrong with it; EXIF orientation is not applied.

    libjpeg fills in what it cannot read and only warns of it. simplejpeg refuses such a picture; Pillow, which builds
    on the same library and gives the same pixels, does not say. So simplejpeg has the say, also where only Pillow knows
    the way from the colours of a picture to RGB.

    Args:
        data: The whole content of a JPEG file.

    Returns:
        uint8 (H, W, 3), RGB; or text that goes after the name of a file, such as "is not a whole JPEG picture: ...".
    """
    image = open_jpeg(data)
    if isinstance(image, str):
        return image
    is_printed = image.mode == "CMYK"
    try:
        pixels: Pixels = simplejpeg.decode_jpeg(data, "CMYK" if is_printed else "RGB")
        if is_printed:
            pixels = np.array(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, KeyError) as error:
        return f"is not a whole JPEG picture: {error}"
    if pixels.shape != (image.height, image.width, 3):
        return f"is not a whole JPEG picture: its headers disagree about its size, {image.width}x{image.height} pixels"
    return pixels
