"""Builds the site: gathers its pages, then lets MkDocs build them; any warning is an error.

    python -m documentation.building [FOLDER]

FOLDER is `build/site` by default. No server is asked.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from mkdocs.commands.build import build
from mkdocs.config import load_config

from documentation.gathering import ROOT, gather


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=ROOT / "build" / "site")
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    with TemporaryDirectory() as pages:
        gather(Path(pages, "docs"))
        build(
            load_config(
                str(ROOT / "mkdocs.yml"),
                docs_dir=str(Path(pages, "docs")),
                site_dir=str(parser.parse_args().folder),
                strict=True,
            )
        )


if __name__ == "__main__":
    sys.exit(main())
