"""Exit codes of the command line, besides those that a `TadaError` carries."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import typer

from tadacli.cli.printable import printable_lines
from tadacli.cli.progress import end_line
from tadacli.errors import OutputError

USAGE = 2
SOME_FAILED = 3
INTERRUPTED = 130
BROKEN_PIPE = 141


def leave_closed_pipe() -> NoReturn:
    """Exit because whoever read our output has closed it: there is nobody left to tell, not even at exit."""
    _forget_stdout()
    raise typer.Exit(BROKEN_PIPE)


def write_stdout(content: bytes, *, is_styled: bool = False) -> None:
    """Writes bytes to stdout: as they are, but to a terminal without anything that would control it.

    Args:
        content: The bytes, of text in UTF-8.
        is_styled: Whether what controls a terminal in them is our own, such as colours.

    Raises:
        typer.Exit: The reader of stdout has gone away.
        OutputError: They cannot be written, as where the disk is full.
    """
    if sys.stdout.isatty():
        end_line()
    if sys.stdout.isatty() and not is_styled:
        content = printable_lines(content.decode("utf-8", errors="surrogateescape")).encode()
    left = memoryview(content)
    try:
        while left:  # an unbuffered stdout takes what a pipe takes
            left = left[sys.stdout.buffer.write(left) :]
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        leave_closed_pipe()
    except OSError as error:
        _forget_stdout()
        raise OutputError(f"stdout cannot be written: {error.strerror or error}") from error


def _forget_stdout() -> None:
    """What is still in its buffer goes nowhere, so that nothing is said of it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
