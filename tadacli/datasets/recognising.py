"""Whether a file holds labels, or what `tada detect` wrote; for the latter nothing heavy is loaded."""

from __future__ import annotations

from pathlib import Path

from tadacli.formats.results import is_detect_results

_BEGINNING = 4096  # bytes


def are_labels(path: Path) -> bool:
    """Whether a path holds labels of a person or of another program.

    Args:
        path: A file or folder.

    Returns:
        False for what `tada detect` wrote, and for what is neither, of which a reader says what is wrong.
    """
    try:
        with path.open("rb") as file:
            if is_detect_results(file.read(_BEGINNING)):
                return False
    except OSError:  # a folder, or a file of which the reader says what is wrong
        pass
    from tadacli.datasets.label_table import holds_labels

    return holds_labels(path)
