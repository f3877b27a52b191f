"""What a check of this installation says, in the same form for all of them."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from typing import Literal

from tadacli.errors import TadaError

Status = Literal["ok", "note", "problem"]


@dataclass(frozen=True)
class Finding:
    """What one check found, and the command that mends it.

    A "problem" breaks something that a person needs; a "note" is worth knowing, such as what makes things slow, or a
    check that could not be made.
    """

    group: str
    name: str
    status: Status
    found: str
    fix: str = ""


def message(error: Exception) -> str:
    """What an error says, in one line."""
    if isinstance(error, TadaError):
        return error.message
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def pip_install(*wanted: str) -> str:
    """The command that installs these for the Python that runs this."""
    return shlex.join([sys.executable, "-m", "pip", "install", "--force-reinstall", *wanted])
