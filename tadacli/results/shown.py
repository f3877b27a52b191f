"""What the results have in common: how they are shown in a line, and what is asked of them is checked."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence

from tadacli.errors import UsageError
from tadacli.strict_tables import in_one_line

_LONGEST_PATH, _MOST_SHOWN = 60, 3


def shortened(path: str) -> str:
    """A path in quotes on one line, the end of it where it is long."""
    line = in_one_line(path, most=len(path))
    return repr(line if len(line) <= _LONGEST_PATH else "..." + line[-_LONGEST_PATH:])


def list_repr(name: str, results: Sequence[object]) -> str:
    """A list of results in one line, of which the first are shown."""
    shown = [repr(each) for each in results[:_MOST_SHOWN]]
    more = [f"and {len(results) - _MOST_SHOWN} more"] if len(results) > _MOST_SHOWN else []
    return f"{name}([{', '.join([*shown, *more])}])"


def wanted_labels(label: str | Collection[str] | None) -> frozenset[str] | None:
    """The labels that are wanted, None for all."""
    if label is None:
        return None
    return frozenset([label]) if isinstance(label, str) else frozenset(label)


def check_score(score: float | None) -> None:
    """Raises `UsageError` for a score that is not between 0 and 1."""
    if score is not None and not 0 <= score <= 1:
        raise UsageError(f"the score {score} is not between 0 and 1", hint="give a fraction such as 0.4")


def checked_span(span: Iterable[float | None]) -> tuple[float, float]:
    """A start and an end in seconds, None for no limit. Raises `UsageError` unless the start comes first."""
    ends = tuple(span)
    if len(ends) != 2:
        raise UsageError(f"{len(ends)} times are no span", hint="give a start and an end, in seconds")
    start = -math.inf if ends[0] is None else float(ends[0])
    end = math.inf if ends[1] is None else float(ends[1])
    if not start < end:
        raise UsageError(f"the span from {start:g} s to {end:g} s is empty or reversed")
    return start, end
