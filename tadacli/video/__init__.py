"""Frames out of files: which frames a video has, when each is shown, and exactly the ones asked for.

Here: opening videos, folders and tars of pictures, frame tables, timelines, what packets and the bytes of a container
prove, which packets need decoding, seeking, damage, and what the inputs of a command mean. Not here: which frames a
model looks at (`sampling`), and how pixels become a tensor (`transforms`).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tadacli.video.array_frames import Times, VideoLike
    from tadacli.video.reading import iter_frames, open_video, probe, read_frames
    from tadacli.video.source import Frame, Picked, Unreadable, VideoSource

__all__ = [
    "Frame",
    "Picked",
    "Times",
    "Unreadable",
    "VideoLike",
    "VideoSource",
    "iter_frames",
    "open_video",
    "probe",
    "read_frames",
]
_HOME = {"Times": "array_frames", "VideoLike": "array_frames"} | dict.fromkeys(
    ("iter_frames", "open_video", "probe", "read_frames"), "reading"
)


if not TYPE_CHECKING:  # to a type checker a name that is not there is an error

    def __getattr__(name: str) -> object:
        if name in __all__:  # PyAV is loaded when it is first needed
            return getattr(import_module(f"tadacli.video.{_HOME.get(name, 'source')}"), name)
        raise AttributeError(f"module 'tadacli.video' has no attribute {name!r}")
