"""One PNG picture: from the content of a file to pixels, or to what is wrong with it."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, UnidentifiedImageError

from tadacli.video.source import Pixels, too_large

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_ERRORS = (OSError, ValueError, SyntaxError, KeyError, EOFError, Image.DecompressionBombError)


def open_png(data: bytes) -> Image.Image | str:
    """The picture in a file's content, its pixels not read yet, or what is wrong with it."""
    try:
        image = Image.open(io.BytesIO(data), formats=("PNG",))
    except UnidentifiedImageError:  # its text is a place in memory
        return "is not a whole PNG picture"
    except _ERRORS as error:
        return f"is not a whole PNG picture: {error}"
    if getattr(image, "n_frames", 1) > 1:
        return "is an animation, not one picture"
    return too_large(*image.size) or image


def decode_png(data: bytes) -> Pixels | str:
    """The pixels in a file's content, or what is wrong with it; what is transparent has the colour that is stored.

    Every part of the file has a checksum, and Pillow compares them only where it is asked to.

    Args:
        data: The whole content of a PNG file.

    Returns:
        uint8 (H, W, 3), RGB; or text that goes after the name of a file, such as "is not a whole PNG picture: ...".
    """
    image = open_png(data)
    if isinstance(image, str):
        return image
    try:
        Image.open(io.BytesIO(data), formats=("PNG",)).verify()
        if image.mode.startswith("I"):  # grey levels of 16 bits, which Pillow would cut off at 255
            grey = (np.asarray(image) >> 8).astype(np.uint8)
            return np.repeat(grey[..., None], 3, axis=2)
        return np.array(image.convert("RGB"))
    except _ERRORS as error:
        return f"is not a whole PNG picture: {error}"
