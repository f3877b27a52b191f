"""`tada doctor`: whether this installation works, and what mends it."""

from __future__ import annotations

import dataclasses
import json
import os
from typing import TYPE_CHECKING, Annotated

import typer

from tadacli.cli.console import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tadacli.doctor.findings import Finding


def doctor_command(as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False) -> None:
    """Check this installation, and say what mends each problem.

    Looks at versions, devices, threads, decoders, the fetched weights
    and their hashes, and runs the built-in model on a clip of its own.
    Nothing is changed and no server is asked.

    Exit code 1 if something is broken, else 0; notes alone are no reason.
    """
    from tadacli.doctor.diagnosis import diagnose

    report = _Report()
    findings = diagnose(
        on_finding=(lambda _finding: None) if as_json else report.show,
        raise_errors=os.environ.get("TADA_DEBUG") == "1",
    )
    num_problems = sum(finding.status == "problem" for finding in findings)
    if as_json:
        values = {"num_problems": num_problems, "findings": [dataclasses.asdict(finding) for finding in findings]}
        print(printable(json.dumps(values, indent=2, ensure_ascii=False)))
    else:
        print(f"\n{_summary(findings)}")
    if num_problems:
        raise typer.Exit(1)


class _Report:
    """Findings as lines below the names of their groups, each as soon as it is known."""

    def __init__(self) -> None:
        self._group = ""

    def show(self, finding: Finding) -> None:
        if finding.group != self._group:
            print(f"{chr(10) if self._group else ''}{finding.group}")
            self._group = finding.group
        print(printable(f"  {finding.status:8} {finding.name}: {finding.found}"), flush=True)
        if finding.fix:
            print(printable(f"           fix: {finding.fix}"), flush=True)


def _summary(findings: Sequence[Finding]) -> str:
    counts = {status: sum(finding.status == status for finding in findings) for status in ("problem", "note")}
    said = [f"{count} {status}{'s' if count > 1 else ''}" for status, count in counts.items() if count]
    return f"{' and '.join(said)} in {len(findings)} checks" if said else f"all {len(findings)} checks are well"
