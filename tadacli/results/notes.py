"""Notes on results, and counts in words, as they say them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

_OF_ONE = {
    "are": "is",
    "have": "has",
    "do": "does",
    "lie": "lies",
    "look": "looks",
    "last": "lasts",
    "reach": "reaches",
}


class NoteKind(StrEnum):
    """What a note is about; decisions hang on it, never on the words of the note."""

    MODEL = "model"  # holds for every result of the model
    LONG_VIDEO = "long video"
    CUT_SHORT = "cut short"
    READING = "reading"  # how a file was read that could have been read in another way
    UNUSED_ROWS = "unused rows"
    NO_VIDEO = "no video"  # of so many samples no file was found
    NO_LABEL = "no label"
    SHORT = "short"  # of so many items frames are repeated
    REPEATED = "repeated"  # a clip of a video that is not short shows a frame more than once
    ASSUMED_RATE = "assumed rate"  # of a folder of frames that nothing says the frame rate of
    TIME_GAPS = "time gaps"  # spans of a video's time have no frame
    PREDICTIONS = "predictions"  # what of a file of predictions is not used, or not sure
    MEASURE = "measure"  # where metrics are not those that are published
    TIMELINE = "timeline"  # when frames are shown, where the file does not say it plainly
    CUTS = "cuts"  # which of those that are named are none of the video's
    UNSEEN = "unseen"  # time that no snippet looks at
    INTERPOLATED = "interpolated"  # windows whose scores lie between those of others
    DAMAGE = "damage"  # what of a file does not decode, and has no place among its frames


@dataclass(frozen=True)
class Note:
    """Something to know about a result that is no error: the text is for people, and goes into files."""

    kind: NoteKind
    text: str

    def __str__(self) -> str:
        return self.text


def counted(number: int, unit: str) -> str:
    """So many, in words: "1 video", "2 videos"; the unit is in the plural, which ends in s."""
    return f"{number} {unit.removesuffix('s') if number == 1 else unit}"


def out_of(count: int, total: int, unit: str, what: str) -> str:
    """So many of all, in words: "1 of 1 video is done", "2 of 3 videos are done".

    Args:
        count: How many.
        total: Of how many.
        unit: What they are, in the plural, which ends in s.
        what: What is said of them, in the plural.
    """
    if total == 1:
        many, _, more = what.partition(" ")
        what = f"{_OF_ONE.get(many, many)} {more}".rstrip()
    return f"{count} of {counted(total, unit)} {what}"
