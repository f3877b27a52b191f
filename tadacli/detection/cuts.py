"""Where one shot ends and the next begins: found in the frames, or read from a file."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path

import numpy as np

from tadacli.errors import UsageError
from tadacli.profiling import Stage, steps
from tadacli.results import Note, NoteKind, VideoInfo
from tadacli.sampling.settings import Cuts, parse_time
from tadacli.strict_tables import in_one_line
from tadacli.video.source import Unreadable, VideoSource

# Shots are found in pictures of this longer side; a shot lasts at least this long, or a flash would be two cuts.
_LONGER_SIDE, _SHORTEST_SECONDS = 128, 0.25
_MOST_BYTES = 1 << 24


def parse_cuts(text: str) -> Cuts:
    """The cuts that a person names: "auto", "none", or a file of times.

    Args:
        text: The word, or the name of a text or CSV file with one cut a line: the time in seconds, or as a clock such
            as 1:02.5, in the first column. Blank lines, those that begin with #, and a first line that begins with a
            letter, of titles, are passed over.

    Returns:
        "auto", or times in seconds in order; none are no cuts.

    Raises:
        UsageError: The extra that "auto" needs is not installed, or the file is missing, is no text, or has a line
            without a time.
    """
    if text == "none":
        return ()
    if text == "auto":
        _need_finder()
        return "auto"
    return _read_cuts(text)


def _need_finder() -> None:
    if any(importlib.util.find_spec(package) is None for package in ("scenedetect", "cv2")):
        raise UsageError(
            "to find cuts needs a package that is not installed",
            hint="python -m pip install 'tadacli[cuts]'; or give a file of times, or --cuts none",
        )


def _read_cuts(name: str) -> tuple[float, ...]:
    try:
        with Path(name).open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise UsageError(
            f"the cuts {name} cannot be read: {error.strerror or error}", hint="give auto, none, or a file of times"
        ) from error
    if len(content) > _MOST_BYTES:
        raise UsageError(f"{name} is larger than a list of times is", hint="give one time in seconds a line")
    times = []
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UsageError(f"{name} is no text in UTF-8", hint="give one time in seconds a line") from error
    for number, line in enumerate(lines, start=1):
        cell = line.split(",")[0].strip().strip('"')
        if not cell or cell.startswith("#"):
            continue
        try:
            times.append(parse_time(cell))
        except UsageError as error:
            # A title is passed over, a time with a slip in it is not: a cut would be missing without a word.
            if number > 1 or not cell[0].isalpha() or cell.lower() in ("nan", "inf", "infinity"):
                shown = in_one_line(cell, most=60)
                raise UsageError(f"{name}, line {number}: {shown} is no time", hint=error.hint) from error
    return tuple(sorted(set(times)))


def find_cuts(source: VideoSource, *, start_seconds: float, end_seconds: float) -> tuple[float, ...]:
    """When shots of a part of a video begin, but for the first, in presentation seconds.

    Each frame is decoded once, and one is kept at a time. What cannot be read is passed over.

    Args:
        source: The opened video.
        start_seconds: Start of the part.
        end_seconds: Its end.

    Raises:
        UsageError: The extra that this needs is not installed.
    """
    _need_finder()
    import cv2
    from scenedetect.common import FrameTimecode
    from scenedetect.detectors import AdaptiveDetector

    times, fps = source.times_shown, float(source.info.fps)
    detector = AdaptiveDetector(min_scene_len=max(1, round(_SHORTEST_SECONDS * fps)))
    found = []
    numbers = np.flatnonzero((times >= start_seconds) & (times < end_seconds))
    for frame in steps(Stage.DECODE, source.iter_frames(numbers, skip_unreadable=True)):
        if isinstance(frame, Unreadable):
            continue
        height, width = frame.pixels.shape[:2]
        scale = min(1.0, _LONGER_SIDE / max(height, width))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        small = cv2.cvtColor(cv2.resize(frame.pixels, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2BGR)
        found += detector.process_frame(FrameTimecode(frame.index, fps=fps), small)
    return tuple(float(times[each.frame_num]) for each in found)


def cuts_outside(named: Cuts, info: VideoInfo) -> tuple[Note, ...]:
    """A note where cuts that were named lie outside of the video: they may be those of another one.

    Args:
        named: The cuts that were asked for.
        info: The video.

    Returns:
        The note, if there is something to say.
    """
    end = info.start_seconds + info.duration_seconds
    outside = [] if named == "auto" else [cut for cut in named if not info.start_seconds <= cut <= end]
    if not outside:
        return ()
    text = (
        f"{len(outside)} of {len(named)} cuts lie outside of the video, {outside[0]:g} s first: it lasts from "
        f"{info.start_seconds:.2f} s to {end:.2f} s"
    )
    return (Note(NoteKind.CUTS, text),)


def finder_versions() -> dict[str, str]:
    """The version of what finds cuts, by package: results depend on it."""
    packages = ("scenedetect-headless", "scenedetect", "opencv-python-headless", "opencv-python")
    return {name: version for name in packages for version in [_version(name)] if version}


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""
