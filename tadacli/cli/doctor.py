"""`tada doctor`: whether this installation works, and what mends it."""

from __future__ import annotations

import dataclasses
import json
import os
from typing import TYPE_CHECKING, Annotated

import typer

from tadacli.cli.console import show
from tadacli.cli.help import OUTPUT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tadacli.doctor.findings import Finding


def doctor_command(as_json: Annotated[bool, OUTPUT.option("--json", help="Write JSON.")] = False) -> None:
    """Check this installation, and say what mends each problem.

    Looks at versions, devices, threads, decoders, the fetched weights
    and their hashes, and runs the built-in model on a clip of its own.
    Nothing is changed and no server is asked.

    Exit code 1 if something is broken, else 0; notes alone are no reason.
    """
    from tadacli.doctor.diagnosis import diagnose

    groups: set[str] = set()

    def show_finding(finding: Finding) -> None:
        """Lines below the name of the group, each as soon as it is known."""
        if finding.group not in groups:
            show(f"{chr(10) if groups else ''}{finding.group}")
            groups.add(finding.group)
        show(f"  {finding.status:8} {finding.name}: {finding.found}")
        if finding.fix:
            show(f"           fix: {finding.fix}")

    findings = diagnose(
        on_finding=(lambda _finding: None) if as_json else show_finding,
        raise_errors=os.environ.get("TADA_DEBUG") == "1",
    )
    num_problems = sum(finding.status == "problem" for finding in findings)
    if as_json:
        values = {"num_problems": num_problems, "findings": [dataclasses.asdict(finding) for finding in findings]}
        show(json.dumps(values, indent=2, ensure_ascii=False))
    else:
        show(f"\n{_summary(findings)}")
    if num_problems:
        raise typer.Exit(1)


def _summary(findings: Sequence[Finding]) -> str:
    counts = {status: sum(finding.status == status for finding in findings) for status in ("problem", "note")}
    said = [f"{count} {status}{'s' if count > 1 else ''}" for status, count in counts.items() if count]
    return f"{' and '.join(said)} in {len(findings)} checks" if said else f"all {len(findings)} checks are well"
