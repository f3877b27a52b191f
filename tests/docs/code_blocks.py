"""Code blocks of Markdown pages: how they are found, and how they run.

A block of `sh` or `python` runs, in the order of the page, in one folder. A block with a `title` is a file, which is
written there first. Any other block is what the last one printed. `<!-- not run: REASON -->` on the line before a block
says why it cannot run, `<!-- exits with CODE -->` that a command of it ends so.
"""

from __future__ import annotations

import contextlib
import glob
import io
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_BLOCK = re.compile(
    r"(?:^[ ]*<!-- (?P<mark>.+?) -->\n+)?^(?P<indent>[ ]*)```(?P<info>[^`\n]*)\n(?P<code>.*?)^(?P=indent)```[ ]*$",
    re.MULTILINE | re.DOTALL,
)
_MARKS = re.compile(r"not run: (?P<reason>.{10,})|exits with (?P<code>\d+)")


@dataclass(frozen=True)
class Block:
    """A block by the line it begins at; `reason` says why it is not run, `exit_code` what a command of it ends with."""

    line: int
    language: str
    title: str
    code: str
    reason: str = ""
    exit_code: int = 0


def blocks_of(text: str) -> list[Block]:
    """The code blocks of a page, in their order."""
    return [_block(found, 1 + text[: found.start()].count("\n")) for found in _BLOCK.finditer(text)]


def _block(found: re.Match[str], line: int) -> Block:
    language, _, rest = found["info"].strip().partition(" ")
    title = re.search(r'title="([^"]+)"', rest)
    mark = _MARKS.fullmatch(found["mark"] or "")
    code = re.sub(rf"^{found['indent']}", "", found["code"], flags=re.MULTILINE)
    reason, exit_code = (mark["reason"] or "", int(mark["code"] or 0)) if mark else ("", 0)
    return Block(line, language, title[1] if title else "", code, reason, exit_code)


@dataclass
class PageRun:
    """Runs the blocks of one page in the current folder; `call` runs `tada` in this process."""

    call: Callable[..., tuple[int, bytes, str]]
    environment: dict[str, str]
    names: dict[str, Any] = field(default_factory=lambda: {"__name__": "__main__"})
    printed: str = ""

    def run(self, block: Block) -> None:
        """Run one block, or compare it with what was printed. Raises `AssertionError` where it does not do as told."""
        if block.title:
            Path(block.title).parent.mkdir(parents=True, exist_ok=True)
            Path(block.title).write_text(block.code, encoding="utf-8")
        elif block.language == "python":
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                exec(compile(block.code, f"block at line {block.line}", "exec"), self.names)
            self.printed = out.getvalue()
        elif block.language == "sh":
            self.printed = "".join(self._command(line, block.exit_code) for line in command_lines(block.code))
        else:
            missing = lines_missing(block.code, self.printed)
            assert not missing, f"not printed: {missing}\nbut:\n{self.printed}"

    def _command(self, line: str, exit_code: int) -> str:
        words = shlex.split(line, comments=True)
        if words[0] != "tada" or re.search(r"[|;<>$]", re.sub(r"'[^']*'|\"[^\"]*\"", "", line.split(" #")[0])):
            done = subprocess.run(line, shell=True, capture_output=True, text=True, check=False, env=self.environment)
            code, said = done.returncode, done.stdout + done.stderr
        else:
            found = [match for word in words[1:] for match in (sorted(glob.glob(word)) or [word])]
            code, out, err = self.call(*found)
            said = out.decode(errors="replace") + err
        assert code == exit_code, f"{line}\nended with {code}:\n{said}"
        return said


def command_lines(code: str) -> list[str]:
    """The commands of a block of `sh`, those over several lines joined, without comments that stand alone."""
    lines = re.sub(r"\\\n\s*", "", code).splitlines()
    return [line for line in map(str.strip, lines) if line and not line.startswith("#")]


def lines_missing(expected: str, printed: str) -> list[str]:
    """The lines of `expected` that are not in `printed`, in this order; `...` in a line stands for anything."""
    shown, at, missing = [" ".join(line.split()) for line in printed.splitlines()], 0, []
    for line in filter(None, (" ".join(line.split()) for line in expected.splitlines())):
        pattern = re.compile(r"\s*.*\s*".join(re.escape(part.strip()) for part in line.split("...")))
        place = next((i for i in range(at, len(shown)) if pattern.fullmatch(shown[i])), None)
        if place is None:
            missing.append(line)
        else:
            at = place + 1
    return missing


def python_of_this() -> str:
    """The folder of the programs beside this Python, for PATH."""
    return str(Path(sys.executable).parent)
