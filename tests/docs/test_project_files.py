"""Files about the project agree with the package: citation, changelog, release workflow, image."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest
import yaml

from tadacli.version import __version__
from tests.docs.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def load(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def test_the_citation_is_of_this_version() -> None:
    citation = load("CITATION.cff")
    assert (citation["version"], citation["license"]) == (__version__, PROJECT["license"])
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()


def test_the_changelog_has_a_section_for_this_version_and_one_for_what_comes() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    first, *versions = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert first == "Unreleased"
    assert versions[0].startswith(f"{__version__} (")
    released = text.partition(f"## {__version__}")[2]
    assert max(map(len, released.splitlines())) <= 180


def test_a_release_tests_the_wheel_where_it_is_said_to_run() -> None:
    jobs = load(".github/workflows/release.yml")["jobs"]
    matrix = jobs["test"]["strategy"]["matrix"]
    assert {name.partition("-")[0] for name in matrix["os"]} == {"ubuntu", "macos", "windows"}
    assert PROJECT["requires-python"] == f">={matrix['python'][0]}"
    assert matrix["python"] == ["3.11", "3.12", "3.13", "3.14"]
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert set(jobs["publish"]["needs"]) == {"test", "image"}


@pytest.mark.parametrize("line", ["COPY . .", 'ENTRYPOINT ["tada"]', "USER tada"])
def test_the_image_is_built_of_the_checkout_and_runs_the_command_as_nobody_special(line: str) -> None:
    assert line in (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
