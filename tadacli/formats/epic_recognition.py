"""The EPIC-KITCHENS-100 action recognition submission, version 0.2.

A submission has a score for each of the 97 verbs and 300 nouns in each action of the split. Scores of (verb, noun)
pairs, which some writers add, are left out: nothing public asks for them, and they follow from the others.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tadacli.errors import OutputError
from tadacli.files import write_once
from tadacli.formats.epic_detection import LEVELS, NUM_CLASSES, VERSION

CHALLENGE = "action_recognition"
MEMBER = "test.json"
_SHOWN_PROBLEMS = 20
_SHOWN_CLASSES = 3


def write_recognition_submission(
    path: Path,
    ids: Sequence[str],
    verb_scores: NDArray[Any],
    noun_scores: NDArray[Any],
    *,
    expected_ids: Collection[str],
) -> None:
    """Write the submission to a file: the zip that is uploaded if its name ends in `.zip`, else plain JSON.

    Args:
        path: The file.
        ids, verb_scores, noun_scores, expected_ids: As for `recognition_submission`.

    Raises:
        OutputError: As `recognition_submission`, and for a file that holds something else or cannot be written.
    """
    zipped = path.suffix.lower() == ".zip"
    write_once(path, recognition_submission(ids, verb_scores, noun_scores, expected_ids=expected_ids, zipped=zipped))


def recognition_submission(
    ids: Sequence[str],
    verb_scores: NDArray[Any],
    noun_scores: NDArray[Any],
    *,
    expected_ids: Collection[str],
    zipped: bool = False,
) -> bytes:
    """The submission file; the same values give the same bytes, and nothing but the file is held in memory.

    Args:
        ids: The narration ids of N actions.
        verb_scores: (N, 97) scores, written with seven significant digits, to which our own are rounded.
        noun_scores: (N, 300), alike.
        expected_ids: All actions of the split.
        zipped: Whether to give the zip of the file, or the file.

    Returns:
        JSON, or a zip of it.

    Raises:
        OutputError: An action is missing or unknown, or scores are not finite numbers of these shapes; the message
            counts the reasons and lists the first.
    """
    scores = {"verb": np.asarray(verb_scores), "noun": np.asarray(noun_scores)}
    found = [*_id_problems(ids, expected_ids), *_array_problems(ids, scores)]
    if found:
        more = [f"and {len(found) - _SHOWN_PROBLEMS} more"] if len(found) > _SHOWN_PROBLEMS else []
        raise OutputError(
            "\n  ".join([f"the submission would have {len(found)} errors:", *found[:_SHOWN_PROBLEMS], *more]),
            hint="nothing was written; every action of the split needs finite scores of 97 verbs and 300 nouns",
        )
    pieces = _pieces(ids, scores)
    buffer = io.BytesIO()
    if zipped:
        _write_zip(buffer, pieces)
    else:
        buffer.writelines(pieces)
    return buffer.getvalue()


def _id_problems(ids: Sequence[str], expected: Collection[str]) -> Iterator[str]:
    counts, known = Counter(ids), frozenset(expected)
    yield from (f"action {name}: is given {count} times" for name, count in counts.items() if count > 1)
    yield from (f"action {name}: is missing" for name in expected if name not in counts)
    yield from (f"action {name}: is not one of the split" for name in counts if name not in known)


def _array_problems(ids: Sequence[str], scores: Mapping[str, NDArray[Any]]) -> Iterator[str]:
    for head, values in scores.items():
        shape = (len(ids), NUM_CLASSES[head])
        if values.shape != shape or values.dtype.kind not in "fiu":
            yield f"{head} scores are {values.dtype} of shape {values.shape}, not numbers of shape {shape}"
            continue
        bad = ~np.isfinite(values)
        for row in np.flatnonzero(bad.any(axis=1)).tolist():
            yield f"action {ids[row]}: {head} scores of {_listed(np.flatnonzero(bad[row]))} are not finite numbers"


def _listed(classes: Iterable[object]) -> str:
    """The first classes by name, and how many there are besides."""
    names = [str(each) for each in classes]
    more = f" and {len(names) - _SHOWN_CLASSES} more" if len(names) > _SHOWN_CLASSES else ""
    return f"class {', '.join(names[:_SHOWN_CLASSES])}{more}"


def _pieces(ids: Sequence[str], scores: Mapping[str, NDArray[Any]]) -> Iterator[bytes]:
    """The JSON text, an action at a time."""
    top = {"version": VERSION, "challenge": CHALLENGE, **LEVELS}
    yield json.dumps(top).removesuffix("}").encode() + b', "results": {'
    for row, name in enumerate(ids):
        heads = ", ".join(f'"{head}": {_scores(values[row])}' for head, values in scores.items())
        lead = ",\n" if row else "\n"
        yield f"{lead}{json.dumps(str(name))}: {{{heads}}}".encode()
    yield b"\n}}\n"


def _scores(values: NDArray[Any]) -> str:
    return "{" + ", ".join(f'"{index}": {value:.7g}' for index, value in enumerate(values.tolist())) + "}"


def _write_zip(buffer: io.BytesIO, pieces: Iterable[bytes]) -> None:
    member = zipfile.ZipInfo(MEMBER, date_time=(1980, 1, 1, 0, 0, 0))
    member.compress_type = zipfile.ZIP_DEFLATED
    member.create_system = 3  # as on Unix, wherever it is written
    member.external_attr = 0o644 << 16
    with zipfile.ZipFile(buffer, "w") as archive, archive.open(member, "w") as stream:
        for piece in pieces:
            stream.write(piece)
