"""The README is short, its pictures are small, and its figures are those of the models."""

from __future__ import annotations

import re

from PIL import Image
from typer.main import get_command

from benchmarks.published_table import CARD, measured_here
from tadacli.cli.app import app
from tadacli.zoo.manifest import manifest
from tests.docs.conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
NUM_WORDS, NUM_BYTES = 900, 300_000


def test_it_has_few_words_outside_of_its_tables() -> None:
    assert len([word for line in README.splitlines() if not line.startswith("|") for word in line.split()]) <= NUM_WORDS


def test_its_first_pictures_are_there_and_small() -> None:
    pictures = re.findall(r"!\[[^]]{20,}\]\(([^)]+)\)", README)
    assert len(pictures) == README.count("![") == 2, "each has words for who cannot see it"
    for picture in pictures:
        assert (ROOT / picture).stat().st_size < NUM_BYTES
        with Image.open(ROOT / picture) as opened:
            assert opened.width >= 700


def test_its_links_lead_to_files_that_are_there() -> None:
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert len(links) > 20
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_its_models_have_the_figures_of_the_manifest() -> None:
    rows = re.findall(r"^\| .+? \| `([\w.]+)` \| ([\d.]+) %(.*?) \| (.+?) \|$", README, re.MULTILINE)
    assert len(rows) == 4
    for name, accuracy, measured, size in rows:
        spec = manifest()[name]
        if measured:
            assert measured_here(spec, CARD.read_text(encoding="utf-8")).startswith(f"{accuracy} top-1")
            assert size == "built in"
        else:
            assert float(accuracy) == spec.published["top1"]


def test_options_that_pages_name_are_those_of_commands() -> None:
    parameters = [each for command in get_command(app).commands.values() for each in command.params]  # type: ignore[attr-defined]
    options = {option for each in parameters for option in (*each.opts, *each.secondary_opts)}
    options |= {"--version", "--help", "--install-completion"}
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        text = re.sub(r"```(?!sh).*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        tada = re.findall(r"tada \w+[^\n`]*|`(?:\S+ )?--[^`]+`", re.sub(r"\\\n\s*", "", text))
        named = {
            option for line in tada for option in re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", line.partition(" #")[0])
        }
        assert named <= options | {"--directory"}, page
