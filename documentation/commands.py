"""The reference of the command line: one page a command, from what Typer knows of it, in the panels of its help."""

from __future__ import annotations

import re
from typing import Any

import typer
from typer.main import get_command

from tadacli.cli.app import app
from tadacli.cli.help import PANELS

_REST = "Other"


def command_pages() -> dict[str, str]:
    """The pages by their place in the site: `commands/index.md`, and `commands/NAME.md` for each command."""
    program: Any = get_command(app)
    context = typer.Context(program, info_name="tada")
    pages = {f"commands/{name}.md": _page(command, context) for name, command in program.commands.items()}
    listed = [
        f"| [`tada {name}`]({name}.md) | {_prose(command.get_short_help_str(1000))} |"
        for name, command in program.commands.items()
    ]
    parts = ["# Commands", _prose(program.help), "| command | what it does |\n| --- | --- |\n" + "\n".join(listed)]
    parts += ["## Options", _options(program, context)[_REST], "## Examples", _examples(program.epilog)]
    return {"commands/index.md": "\n\n".join(parts) + "\n"} | pages


def _page(command: Any, parent: typer.Context) -> str:
    context = typer.Context(command, parent=parent, info_name=command.name)
    usage = f"```sh\ntada {command.name} {' '.join(command.collect_usage_pieces(context))}\n```"
    parts = [f"# tada {command.name}", _prose(command.help), usage]
    for panel, table in _options(command, context).items():
        parts += [f"## {panel}", table]
    return "\n\n".join([*parts, "## Examples", _examples(command.epilog)]) + "\n"


def _options(command: Any, context: typer.Context) -> dict[str, str]:
    """A table of arguments and options for each panel that has some, in the order of the help."""
    rows: dict[str, list[str]] = {panel.title: [] for panel in PANELS}
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is None:
            continue
        name, text = record
        if parameter.param_type_name == "argument":  # of which the type says nothing
            name = parameter.metavar or parameter.name
        panel = getattr(parameter, "rich_help_panel", None) or _REST
        rows.setdefault(panel, []).append(f"| `{_cell(name)}` | {_prose(_cell(text))} |")
    return {panel: "| option | meaning |\n| --- | --- |\n" + "\n".join(lines) for panel, lines in rows.items() if lines}


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _prose(text: str | None) -> str:
    """Help as Markdown: what looks like a tag is kept, and options are code."""
    kept = (text or "").replace("<", "&lt;").replace("*", "\\*")
    return re.sub(r"(?<![\w`-])(--[a-z][\w-]*)", r"`\1`", kept)


def _examples(text: str | None) -> str:
    """The examples of a help, each with what it does above its line."""
    lines = [line if line.startswith(" ") else f"# {line.rstrip(':')}" for line in (text or "").splitlines()]
    return "```sh\n" + "\n".join(line.strip() for line in lines) + "\n```"
