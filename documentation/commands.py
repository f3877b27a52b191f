"""The reference of the command line: one page a command, as Typer's own generator describes it."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from typer.cli import app as typer_program


def command_pages() -> dict[str, str]:
    """The pages by their place in the site: `commands/index.md`, and `commands/NAME.md` for each command."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "commands.md")
        arguments = ["tadacli.cli.app", "utils", "docs", "--name", "tada", "--output", str(file)]
        typer_program(arguments, standalone_mode=False)
        text = file.read_text(encoding="utf-8")
    first, *others = re.split(r"^## `tada (\S+)`$", text, flags=re.MULTILINE)
    names, bodies = others[::2], others[1::2]
    index = re.sub(
        r"^\* `(\w+)`: .*$", r"* [`tada \1`](\1.md)", first.partition("**Commands**:")[2], flags=re.MULTILINE
    )
    pages = {"commands/index.md": f"# Commands\n{first.partition('# `tada`')[2].partition('**Commands**')[0]}{index}"}
    for name, body in zip(names, bodies, strict=True):
        pages[f"commands/{name}.md"] = f"# tada {name}\n{_safe(body)}"
    return pages


def _safe(text: str) -> str:
    """The text with what looks like tags in its sentences kept as it is."""
    return "\n".join(line if line.startswith(("* ", "$")) else line.replace("<", "&lt;") for line in text.splitlines())
