"""Gathers the pages of the site into one folder: `docs/`, pages of other folders, and what is generated.

    python -m documentation.gathering [FOLDER]

`mkdocs.yml` reads the result, `build/docs`. Relative links count from where a page lies in the repository, so that they
work there, too; here they are turned to where the page lies in the site, and one that leads nowhere is an error.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
from pathlib import Path, PurePosixPath

from documentation.commands import command_pages
from documentation.examples import example_pages
from documentation.schemas import schema_files

ROOT = Path(__file__).resolve().parents[1]
# Pages that have their place elsewhere in the repository, by their place in the site.
ELSEWHERE = {
    "benchmarks/README.md": "benchmarks.md",
    "weights/README.md": "built_in_model.md",
    "tadacli/zoo/labels/SOURCES.md": "label_sources.md",
    "tadacli/training/recipes.toml": "recipes.toml",
    "examples/README.md": "examples/index.md",
    "CHANGELOG.md": "changelog.md",
    "CODE_OF_CONDUCT.md": "code_of_conduct.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "LICENSE": "LICENSE.txt",
}
ANSWERS = ("docs/faq.md", "docs/models.md")  # which the search of the site puts before other pages
GENERATED = ("commands", "schemas")  # folders of the site whose pages are written here

_FENCE = re.compile(r"^( *)(```+|~~~+).*?^\1\2[ ]*$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<=\]\()([^)\s#]+)(?=[#)])")


def gather(folder: Path) -> None:
    """Write all pages of the site into a new folder.

    Args:
        folder: Made anew; what is in it is removed first.

    Raises:
        ValueError: A relative link of a page leads to nothing that the site has.
    """
    shutil.rmtree(folder, ignore_errors=True)
    sources = {f"docs/{path.relative_to(ROOT / 'docs').as_posix()}": path for path in _files(ROOT / "docs")}
    examples = example_pages()
    places = {source: source.removeprefix("docs/") for source in sources} | ELSEWHERE
    targets = places | {source: place for source, (place, _) in examples.items()}
    for source, place in places.items():
        target = folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.suffix == ".md":
            text = with_links_of_the_site((ROOT / source).read_text(encoding="utf-8"), source, targets)
            boost = "---\nsearch:\n  boost: 4\n---\n" if source in ANSWERS else ""
            target.write_text(boost + text, encoding="utf-8")
        else:
            shutil.copyfile(ROOT / source, target)
    for place, text in {**command_pages(), **schema_files(), **dict(examples.values())}.items():
        target = folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


def with_links_of_the_site(text: str, source: str, places: dict[str, str]) -> str:
    """The text of a page with its relative links turned from the repository to the site.

    Args:
        text: Of the page, in Markdown.
        source: Where it lies in the repository.
        places: Where each page that the site has lies in it, by its place in the repository.
    """
    base = os.path.dirname(places[source])

    def turned(link: re.Match[str]) -> str:
        target = link[1]
        if "://" in target or target.startswith("mailto:"):
            return target
        path = os.path.normpath(PurePosixPath(source).parent / target)
        generated = any(path.startswith(f"docs/{name}/") for name in GENERATED)
        if path not in places and not generated:
            raise ValueError(f"{source} links to {target}, which the site has not")
        return os.path.relpath(places.get(path, path.removeprefix("docs/")), base or ".")

    parts, at = [], 0
    for block in _FENCE.finditer(text):
        parts += [_LINK.sub(turned, text[at : block.start()]), block[0]]
        at = block.end()
    return "".join([*parts, _LINK.sub(turned, text[at:])])


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=ROOT / "build" / "docs")
    gather(parser.parse_args().folder)


if __name__ == "__main__":
    main()
