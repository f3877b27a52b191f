"""Damages small videos of every kind at random and reads them: `make fuzz`, two minutes, or `make fuzz N=20000` files.

Every result must be frames equal to a decode-through of the same file, a gap that is told, or a named error. What is
not is kept in `--keep`, and named with the numbers that make it again.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.fuzz.judging import FAULTS
from tests.fuzz.running import fuzz, table


def main() -> int:
    """Fuzz as the command line says; 1 if there was a fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--num-files", type=int, help="by default as many as two minutes allow")
    parser.add_argument("--only", default="", metavar="TEXT", help="kinds with this in their names, such as 'h264 mp4'")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where files that show a fault are kept")
    options = parser.parse_args()
    counts = fuzz(seed=options.seed, num_files=options.num_files, only=options.only, keep=options.keep)
    print(table(counts))
    return int(any(counts[name] for name in counts if name.rpartition(": ")[2] in FAULTS))


if __name__ == "__main__":
    sys.exit(main())
