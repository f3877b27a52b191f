"""Whether data to train on were named, and are there at all: asked before anything heavy is loaded."""

from __future__ import annotations

import os
from pathlib import Path

from tadacli.errors import UsageError


def require_data(data: str | os.PathLike[str] | None, dataset: str | None) -> None:
    """See that there is either a path with data, or the name of a data set.

    Args:
        data: A folder or a file.
        dataset: The name of a known data set.

    Raises:
        UsageError: Neither was given, or both; or there is nothing at the path.
    """
    if (data is None) == (dataset is None):
        raise UsageError("give either a path with the data, or the name of a data set", hint="--data or --dataset")
    if data is not None and not Path(data).exists():
        raise UsageError(
            f"there is no {os.fspath(data)}", hint="give a folder with a folder for each class, or annotations"
        )
