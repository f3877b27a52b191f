"""The built site: built strictly and offline, every option of every command in it, links that lead somewhere."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from typer.main import get_command

from documentation.gathering import ELSEWHERE, with_links_of_the_site
from tadacli.cli.app import app
from tadacli.reports.schemas import schemas

COMMANDS = get_command(app).commands  # type: ignore[attr-defined]


@cache
def text_of(file: Path) -> str:
    """What a page shows, without its tags."""
    return html.unescape(re.sub(r"<[^>]+>", "", file.read_text(encoding="utf-8")))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_a_command_is_on_its_page(site: Path, name: str) -> None:
    shown = text_of(site / "commands" / f"{name}.html")
    options = [option for parameter in COMMANDS[name].params for option in (*parameter.opts, *parameter.secondary_opts)]
    assert options
    missing = [option for option in options if option.startswith("-") and option not in ("-h", "--help")]
    missing = [option for option in missing if not re.search(rf"(?<![\w-]){option}(?![\w-])", shown)]
    assert missing == []


def test_every_command_has_a_page_that_says_how_to_use_it(site: Path) -> None:
    assert {path.stem for path in (site / "commands").glob("*.html")} - {"index"} == set(COMMANDS)
    guides = {path.stem for path in (site / "howto").glob("*.html")}
    assert set(COMMANDS) - guides == {"finetune"}  # has a page since before, which messages name
    assert (site / "finetune.html").is_file()


def links_of(page: Path) -> Iterator[str]:
    for _, link in re.findall(r'\b(href|src)="([^"]*)"', page.read_text(encoding="utf-8")):
        yield html.unescape(link)


def test_links_lead_to_pages_and_headings_that_are_there(site: Path) -> None:
    lost = []
    for page in sorted(site.rglob("*.html")):
        if page.name == "404.html":  # which is for servers, and names their root
            continue
        for link in links_of(page):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or not link:
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            target = target / "index.html" if target.is_dir() else target
            is_heading = bool(parts.fragment) and target.suffix == ".html"
            if not target.is_file() or (is_heading and not _has_heading(target, parts.fragment)):
                lost.append((page.name, link))
    assert lost == []


@cache
def _headings(page: Path) -> frozenset[str]:
    return frozenset(re.findall(r'\bid="([^"]*)"', page.read_text(encoding="utf-8")))


def _has_heading(page: Path, name: str) -> bool:
    return unquote(name) in _headings(page)


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    """No fonts, no scripts, no pictures of other servers: links are for people alone."""
    loaded = re.compile(r'<(?:script|img|source|iframe)\b[^>]*\bsrc="(?:https?:)?//|<link\b[^>]*stylesheet[^>]*//')
    assert [page.name for page in site.rglob("*.html") if loaded.search(page.read_text(encoding="utf-8"))] == []
    assert [page.name for page in site.rglob("*.css") if "url(http" in page.read_text(encoding="utf-8")] == []


def test_public_functions_are_on_the_page_of_python_with_their_arguments(site: Path) -> None:
    import tadacli

    shown = text_of(site / "reference" / "python.html")
    names = [name for name in tadacli.__all__ if not name.startswith("__")]
    assert [name for name in names if not re.search(rf"\b{name}\b", shown)] == []
    assert "Example:" not in shown  # it would be shown as Markdown


def test_a_link_out_of_the_site_is_an_error() -> None:
    places = {"docs/a.md": "a.md", "docs/b/c.md": "b/c.md"} | ELSEWHERE
    turned = with_links_of_the_site("[x](../benchmarks/README.md#y) [z](b/c.md)", "docs/a.md", places)
    assert turned == "[x](benchmarks.md#y) [z](b/c.md)"
    with pytest.raises(ValueError, match="which the site has not"):
        with_links_of_the_site("[x](nowhere.md)", "docs/a.md", places)


def test_schemas_are_published_with_their_keys(site: Path) -> None:
    for name, schema in schemas().items():
        assert json.loads((site / "schemas" / f"{name}.schema.json").read_text(encoding="utf-8")) == schema
    shown = text_of(site / "schemas" / "index.html")
    assert all(key in shown for key in ("schema_version", "start_seconds", "peak_score", "weights_sha256"))
