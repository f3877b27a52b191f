"""Text from anywhere made safe to be shown: names of files, labels and servers' answers may hold anything."""

from __future__ import annotations

import re

# Controls, what ends a line for some programs, and what turns the direction in which text is read.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_UNSAFE_IN_LINES = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """Text in one line that does nothing to a terminal but stand there.

    Args:
        text: Any text.

    Returns:
        The text, in which control characters show as `\\\\u001b`, and bytes of a file name that are not UTF-8 as a
        replacement mark.
    """
    return _UNSAFE.sub(_escape, _unicode(text))


def printable_lines(text: str) -> str:
    """As `printable`, of a text of several lines, which may have tabs."""
    return _UNSAFE_IN_LINES.sub(_escape, _unicode(text))


def _unicode(text: str) -> str:
    return text.encode("utf-8", errors="surrogateescape").decode("utf-8", errors="replace")


def _escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"
