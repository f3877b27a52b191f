"""Every code block of the README and the documentation runs, or says why it cannot."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Tada
from tests.docs.code_blocks import PageRun, blocks_of, command_lines, lines_missing
from tests.docs.conftest import PUBLISHED, ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_of_a_page_runs(
    page: Path,
    tada: Tada,
    material: Path,
    environment: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = page.read_text(encoding="utf-8")
    blocks = [block for block in blocks_of(text) if not block.reason]
    assert text.count("```") == 2 * len(blocks_of(text))
    if not blocks:
        return
    shutil.copytree(material, tmp_path / "page")
    monkeypatch.chdir(tmp_path / "page")
    for name in ("PATH", "PYTHONPATH", "TADA_HOME", "TADA_MIRROR", "COLUMNS"):
        monkeypatch.setenv(name, environment[name])
    if any(PUBLISHED in block.code and "tada fetch" not in block.code for block in blocks):
        assert tada("fetch", PUBLISHED, "-q")[0] == 0
    run = PageRun(tada, environment)
    for block in blocks:
        try:
            run.run(block)
        except (Exception, SystemExit) as error:
            raise AssertionError(f"{page.relative_to(ROOT)}:{block.line}: {error}") from error


def test_blocks_are_found_with_what_is_said_of_them() -> None:
    text = '<!-- not run: it needs a server -->\n```sh\ntada a\n```\n\n- item\n\n  ```csv title="a.csv"\n  x,y\n  ```\n'
    first, second = blocks_of(text)
    assert (first.language, first.reason, first.line) == ("sh", "it needs a server", 1)
    assert (second.title, second.code) == ("a.csv", "x,y\n")


def test_commands_over_several_lines_are_one() -> None:
    assert command_lines("# first\ntada a \\\n    --b\n\ntada c  # said\n") == ["tada a --b", "tada c  # said"]


def test_what_was_not_printed_is_noticed() -> None:
    assert lines_missing("one  two\nthree ... five\n", "one two\nthree four five\n") == []
    assert lines_missing("second\nfirst\n", "first\nsecond\n") == ["first"]


def test_a_block_that_does_not_do_as_told_fails(tada: Tada, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for text in ("```sh\ntada classify none.mp4\n```\n", "```python\nassert 1 == 2\n```\n", "```text\nnever\n```\n"):
        (block,) = blocks_of(text)
        with pytest.raises(AssertionError):
            PageRun(tada, {}).run(block)
