"""The lowest version of each dependency that pyproject.toml declares, as constraints for pip: `make test-lowest`."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

_LOWEST = re.compile(r"(?P<name>[\w.-]+)(?:\[[\w,]+\])?>=(?P<version>[\w.]+)(?P<rest>.*)")


def lowest_versions(dependencies: list[str]) -> dict[str, str]:
    """The lowest version by name. Raises `ValueError` for a dependency without one."""
    found = {}
    for dependency in dependencies:
        match = _LOWEST.fullmatch(dependency.replace(" ", ""))
        if match is None:
            raise ValueError(f"{dependency} does not say its lowest version")
        found[match["name"]] = match["version"]
    return found


def declared() -> list[str]:
    """What the package needs to run."""
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    dependencies: list[str] = tomllib.loads(text)["project"]["dependencies"]
    return dependencies


if __name__ == "__main__":
    sys.stdout.write("".join(f"{name}=={version}\n" for name, version in lowest_versions(declared()).items()))
