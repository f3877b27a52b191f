"""`tada doctor`: whether this installation works, and what mends it."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
from typing import TYPE_CHECKING, Annotated

import typer

from tadacli.cli.console import hanging, show
from tadacli.cli.help import OUTPUT
from tadacli.cli.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tadacli.doctor.findings import Finding


def doctor_command(as_json: Annotated[bool, OUTPUT.option("--json", help="Write JSON.")] = False) -> None:
    """Check this installation, and say what mends each problem.

    Looks at versions, devices, threads, decoders, the fetched weights
    and their hashes, and runs the built-in model on a clip of its own.
    Nothing is changed and no server is asked.

    The first line, and the last, says how it is.
    Exit code 1 if something is broken, else 0; notes alone are no reason.
    """
    from tadacli.doctor.diagnosis import diagnose

    with Progress("checking", layout="{desc}, {n_fmt} done [{elapsed}]") as progress:
        count = itertools.count(1)
        findings = diagnose(
            on_finding=lambda _finding: progress.reach(next(count), None),
            raise_errors=os.environ.get("TADA_DEBUG") == "1",
        )
        progress.close(is_kept=False)
    verdict = _verdict(findings)
    num_problems = sum(finding.status == "problem" for finding in findings)
    if as_json:
        values = {
            "verdict": verdict,
            "num_problems": num_problems,
            "findings": [dataclasses.asdict(finding) for finding in findings],
        }
        show(json.dumps(values, indent=2, ensure_ascii=False))
    else:
        show("\n".join([verdict, *_lines(findings), "", verdict]))
    if num_problems:
        raise typer.Exit(1)


def _verdict(findings: Sequence[Finding]) -> str:
    """How the installation is, in one line, and what is wrong with it by name."""
    from tadacli.results import counted  # with all results, which the help of commands does not need

    problems, notes = ([each.name for each in findings if each.status == status] for status in ("problem", "note"))
    parts = [f"{counted(len(problems), 'problems')}: {', '.join(problems)}" if problems else "all well"]
    parts += [f"{counted(len(notes), 'notes')}: {', '.join(notes)}"] if notes else []
    return f"{'; '.join(parts)} ({counted(len(findings), 'checks')})"


def _lines(findings: Sequence[Finding]) -> list[str]:
    """The findings below the names of their groups, and below each what mends it."""
    lines, group = [], None
    for finding in findings:
        if finding.group != group:
            group = finding.group
            lines += ["", group]
        lines.append(hanging(f"  {finding.status}", f"{finding.name}: {finding.found}", indent=11))
        if finding.fix:
            lines.append(f"           fix: {finding.fix}")
    return lines
