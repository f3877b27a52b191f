"""What the files of other programs come down to: labels of a video, in seconds or in frames, before it is found."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from tadacli.datasets.tables import AnyPath
from tadacli.errors import UsageError
from tadacli.strict_tables import decode_table

T = TypeVar("T")


@dataclass(frozen=True)
class Mark:
    """A label as another program wrote it: from `start` to `end` in seconds, or in numbers of frames with `in_frames`.

    `place` is where it stands, `video` the video as it is named there, `also` are further names of its file. `layer` is
    the tier, attribute or control that it was made on, `reason` says why it cannot be used. `score` is 0..1 where a
    model made it. Times are exact to `about_seconds`. `fps` is the rate that the file says it counts frames at,
    `num_frames` how many its video has.
    """

    place: str
    video: str
    label: str
    start: float | None
    end: float | None
    in_frames: bool = False
    also: tuple[str, ...] = ()
    split: str = ""
    participant: str = ""
    layer: str = ""
    reason: str = ""
    score: float | None = None
    about_seconds: float = 0.0
    fps: float | None = None
    num_frames: int | None = None


@dataclass(frozen=True)
class Marks:
    """The labels of a file in its order; `remarks` say what of it was read in which way, or not at all."""

    marks: tuple[Mark, ...]
    remarks: tuple[str, ...] = ()


def score_of(text: str) -> float | None:
    """The score that a text is, None if it is none: something that a person wrote instead."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def decoded(kind: type[T], value: Mapping[str, Any] | Sequence[Any], file: AnyPath, program: str) -> T:
    """A JSON value as a type that declares what is needed of it; other keys may be there.

    Args:
        kind: The type, a dataclass or a container of them.
        value: The value.
        file: The file, for errors.
        program: Whose file it is.

    Returns:
        The value, every declared key of its declared type.

    Raises:
        UsageError: A key is missing, or a value is of another type.
    """

    def error(message: str) -> UsageError:
        return UsageError(message, hint=f"export it again from {program}")

    return decode_table(kind, value, where=f"{file}, read as a file of {program}", error=error, others="ignore")
