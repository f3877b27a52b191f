"""Under which conditions a table was measured, and how the rounds of a measurement are summed up."""

from __future__ import annotations

import importlib.metadata
import platform
import statistics
from collections.abc import Sequence
from datetime import UTC, datetime


def conditions(*packages: str) -> str:
    """Date, machine, Python, and the versions of these packages."""
    today, system = datetime.now(UTC).date().isoformat(), f"{platform.machine()} {platform.system()}"
    versions = [f"{package} {_version(package)}" for package in packages]
    return ", ".join([today, system, f"Python {platform.python_version()}", *versions])


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def median_and_range(values: Sequence[float]) -> str:
    """The median, and in brackets the least and the most."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"
