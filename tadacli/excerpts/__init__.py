"""Segments of videos as files of their own: which frames they have, what they are called, copied or encoded.

Here: results and labels as what is to be cut out, names, the pass over a video that writes its excerpts, pictures of
their middles and the contact sheet. Not here: how a file is encoded (`encoding`), and how videos are read (`video`).
"""

from typing import Literal, TypeAlias

ImageFormat: TypeAlias = Literal["jpg", "png"]
