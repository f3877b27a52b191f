"""Exit codes of the command line, besides those that a `TadaError` carries."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import typer

SOME_FAILED = 3
INTERRUPTED = 130
BROKEN_PIPE = 141


def leave_closed_pipe() -> NoReturn:
    """Exit because whoever read our output has closed it: there is nobody left to tell, not even at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise typer.Exit(BROKEN_PIPE)


def write_stdout(content: bytes) -> None:
    """Bytes to stdout, as they are; ends the command if its reader has gone away."""
    left = memoryview(content)
    try:
        while left:  # an unbuffered stdout takes what a pipe takes
            left = left[sys.stdout.buffer.write(left) :]
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        leave_closed_pipe()
