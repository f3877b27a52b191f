"""Which classes change places when a clip is mirrored, told by the words of their names."""

from __future__ import annotations

import re
from collections.abc import Sequence

_OPPOSITES = {
    "left": "right",
    "leftwards": "rightwards",
    "leftward": "rightward",
    "clockwise": "counter-clockwise",
}
_SWAPPED = {**_OPPOSITES, **{right: left for left, right in _OPPOSITES.items()}}
# Other spellings of one word, which a list of classes uses throughout.
_SPELLINGS = {
    "counterclockwise": "counter-clockwise",
    "anticlockwise": "counter-clockwise",
    "anti-clockwise": "counter-clockwise",
}
_WORD = re.compile(r"[A-Za-z]+(?:-clockwise)?")


def mirrored_pairs(labels: Sequence[str]) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
    """(pairs, unpaired): labels that name a side and whose opposite is a class, too, and those that stand alone.

    "Pushing from left to right" and "Pushing from right to left" are a pair. A label without such words is the same
    in a mirror and in neither.
    """
    spoken = {_plain(label): label for label in labels}
    pairs, unpaired = [], []
    for plain, label in spoken.items():
        opposite = _WORD.sub(lambda word: _SWAPPED.get(word[0], word[0]), plain)
        if opposite == plain:
            continue
        if opposite not in spoken:
            unpaired.append(label)
        elif labels.index(label) < labels.index(spoken[opposite]):
            pairs.append((label, spoken[opposite]))
    return tuple(pairs), tuple(unpaired)


def _plain(label: str) -> str:
    lower = label.replace("_", " ").lower()
    return _WORD.sub(lambda word: _SPELLINGS.get(word[0], word[0]), lower)
