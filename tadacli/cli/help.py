"""The help of a command: its options in panels, examples at its end; and what was mistyped, in our words."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from tadacli.errors import UsageError

_NARROW = 66  # columns from which on options and their help stand side by side
_REST = "Other"
_CHOICES = re.compile(r" <([\w.|-]+)>$")


@dataclass(frozen=True)
class Panel:
    """Options that stand together in the help of a command.

    Attributes:
        title: What stands above them.
    """

    title: str

    def option(self, *names: str, **settings: Any) -> Any:
        """An option of this panel, as `typer.Option`."""
        return typer.Option(*names, rich_help_panel=self.title, **settings)

    def argument(self, **settings: Any) -> Any:
        """An argument of this panel, as `typer.Argument`."""
        return typer.Argument(rich_help_panel=self.title, **settings)


INPUT = Panel("Input")
SPLIT = Panel("Training and validation split")
MODEL = Panel("Model")
TRAINING = Panel("Training")
CLIPS = Panel("Clips")
DETECTION = Panel("Detection")
WINDOWS = Panel("Windows")
SEGMENTS = Panel("Segments")
SCORING = Panel("Scoring")
OUTPUT = Panel("Output")
SPEED = Panel("Speed")
ENGINE = Panel("Several workers")
# In the order in which a command shows those it has.
PANELS = (INPUT, SPLIT, MODEL, TRAINING, CLIPS, DETECTION, WINDOWS, SEGMENTS, SCORING, OUTPUT, SPEED, ENGINE)


class Command(TyperCommand):
    """A command whose help is read in panels, and which takes mistakes for known errors."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The arguments. Raises `UsageError` for those that the command does not take."""
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except typer.TyperException as error:
            raise _mistake(error, ctx, given) from error

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments and options panel by panel."""
        panels: dict[str, list[tuple[str, str]]] = {panel.title: [] for panel in PANELS}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None:
                continue
            name, text = record
            if parameter.param_type_name == "argument":  # of which the type says nothing
                name = parameter.metavar or parameter.name or name
            panels.setdefault(getattr(parameter, "rich_help_panel", None) or _REST, []).append((name, text))
        _write_panels(formatter, panels)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - as typer calls it
        """Write the examples, line by line."""
        _write_examples(formatter, self.epilog)


class Group(TyperGroup):
    """The commands in panels; one that is mistyped is a known error."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The arguments. Raises `UsageError` for options before the command that there are not."""
        if not args:
            return super().parse_args(ctx, args)
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except typer.TyperException as error:
            raise _mistake(error, ctx, given) from error

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that is meant. Raises `UsageError` where there is none of this name."""
        name = args[0]
        if self.get_command(ctx, name) is None:
            near = get_close_matches(name, self.commands, n=1)
            hint = (
                f"did you mean {ctx.command_path} {near[0]}?"
                if near
                else f"{ctx.command_path} --help lists the commands"
            )
            raise UsageError(f"there is no command {name}", hint=hint)
        return super().resolve_command(ctx, args)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the commands panel by panel, then the options."""
        panels: dict[str, list[tuple[str, str]]] = {}
        for name, command in self.commands.items():
            title = getattr(command, "rich_help_panel", None) or _REST
            panels.setdefault(title, []).append((name, command.get_short_help_str(1000)))
        records = [parameter.get_help_record(ctx) for parameter in self.get_params(ctx)]
        _write_panels(formatter, {**panels, "Options": [record for record in records if record is not None]})

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - as typer calls it
        """Write the examples, line by line."""
        _write_examples(formatter, self.epilog)


def _write_panels(formatter: Any, panels: Mapping[str, Sequence[tuple[str, str]]]) -> None:
    """Those that have rows, with all their texts in one column."""
    widest = 20 if formatter.width < _NARROW else 28
    told = {title: [_with_choices_told(*row, widest) for row in rows] for title, rows in panels.items() if rows}
    column = max(len(name) for rows in told.values() for name, _ in rows if len(name) <= widest)
    for title, rows in told.items():
        with formatter.section(title):
            formatter.write_dl([(f"{name:{column}}", text) for name, text in rows], col_max=column)


def _with_choices_told(name: str, text: str, widest: int) -> tuple[str, str]:
    """An option and its help; choices that are too long to stand beside its name stand in the help."""
    choices = _CHOICES.search(name)
    if choices is None or len(name) <= widest:
        return name, text
    names = choices[1].split("|")
    listed = "" if all(each in text for each in names) else f"{', '.join(names)}. "
    return f"{name[: choices.start()]} NAME", f"{listed}{text}"


def _write_examples(formatter: Any, text: str | None) -> None:
    if text:
        with formatter.section("Examples"):
            for line in text.splitlines():
                formatter.write(f"{_broken(line, formatter.width - 4)}\n")


def _broken(line: str, width: int) -> str:
    """The line, indented; of a command that is too long, each option in a line of its own, as shells take it."""
    if len(line) > width and line.startswith(" "):
        line = line.replace(" -", " \\\n      -")
    return f"  {line}"


def _mistake(error: typer.TyperException, ctx: Any, given: Sequence[str]) -> UsageError:
    """What was mistyped in the arguments that were given, in our words."""
    parameter = getattr(error, "param", None)
    if parameter is not None and hasattr(error, "param_type"):
        epilog = ctx.command.epilog
        hint = f"for example {epilog.splitlines()[1].strip()}" if epilog else _see_help(ctx)
        return UsageError(f"{_name(parameter)} is needed", hint=hint)
    if parameter is not None:
        return UsageError(f"{_name(parameter)}: {_reason(error)}", hint=_see_help(ctx))
    if hasattr(error, "possibilities"):
        return _unknown_option(str(getattr(error, "option_name", "")), ctx, given)
    return UsageError(_reason(error), hint=_see_help(ctx))


def _unknown_option(name: str, ctx: Any, given: Sequence[str]) -> UsageError:
    from tadacli.video.inputs import is_video_name

    end = given.index("--") if "--" in given else len(given)
    for argument in given[:end]:
        if len(argument) > 1 and argument.startswith("-") and (os.path.lexists(argument) or is_video_name(argument)):
            return UsageError(
                f"{argument} is read as an option", hint=f"for the file {argument} write {os.path.join('.', argument)}"
            )
    known = [each for parameter in ctx.command.get_params(ctx) for each in (*parameter.opts, *parameter.secondary_opts)]
    begun = [each for each in known if name.startswith("--") and each.startswith(name)]
    near = begun[:1] or get_close_matches(name, [each for each in known if each.startswith("--")], n=1, cutoff=0.7)
    return UsageError(
        f"{ctx.command_path} has no option {name}", hint=f"did you mean {near[0]}?" if near else _see_help(ctx)
    )


def _name(parameter: Any) -> str:
    """As it is written on the command line: the long name of an option, the word that stands for an argument."""
    if parameter.param_type_name == "option":
        return str(max(parameter.opts, key=len))
    return str(parameter.metavar or parameter.name)


def _reason(error: typer.TyperException) -> str:
    """The library's own sentence as ours begin and end."""
    text = " ".join(error.message.removeprefix("Value error, ").split()).rstrip(".")
    return text[:1].lower() + text[1:]


def _see_help(ctx: Any) -> str:
    return f"{ctx.command_path} --help lists its options"
