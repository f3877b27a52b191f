"""The score from which on something is reported, as an option: a number, or the model's own thresholds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tadacli.errors import UsageError

if TYPE_CHECKING:
    from tadacli.specs import ScoreLimit


def score_limit(option: str, text: str) -> ScoreLimit:
    """The number, or "auto". Raises `UsageError` for anything else; whether it is in range is asked elsewhere."""
    if text == "auto":
        return "auto"
    try:
        return float(text)
    except ValueError:
        raise UsageError(
            f"{option} {text} is no score", hint=f"give a number from 0 to 1, or {option} auto for the model's own"
        ) from None
