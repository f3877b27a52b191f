"""The EPIC-KITCHENS-100 action recognition submission, version 0.2, and what is wrong with one.

A submission has a score for each of the 97 verbs and 300 nouns in each action of the split. There is no public
validator of it; the rules here are those of the challenge's description, taken strictly. Scores of (verb, noun)
pairs, which some writers add, are left out: nothing public asks for them, and they follow from the others.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tadacli.errors import OutputError
from tadacli.files import refuse_existing, write_new
from tadacli.formats.epic_detection import LEVELS, NUM_CLASSES, VERSION

CHALLENGE = "action_recognition"
MEMBER = "test.json"
_KEYS = ("version", "challenge", *LEVELS, "results")
_CLASS_KEYS = {head: frozenset(map(str, range(size))) for head, size in NUM_CLASSES.items()}
_SHOWN_PROBLEMS = 20
_SHOWN_CLASSES = 3

Levels = tuple[int, int, int]
_DEFAULT_LEVELS: Levels = (2, 3, 3)


def write_recognition_submission(
    path: Path,
    ids: Sequence[str],
    verb_scores: NDArray[Any],
    noun_scores: NDArray[Any],
    *,
    expected_ids: Collection[str],
    sls: Levels = _DEFAULT_LEVELS,
) -> None:
    """Write the submission to a new file: the zip that is uploaded if its name ends in `.zip`, else plain JSON.

    Raises what `recognition_submission` raises, and `OutputError` for a file that exists or cannot be written.
    """
    refuse_existing([path])
    zipped = path.suffix.lower() == ".zip"
    write_new(
        path,
        recognition_submission(ids, verb_scores, noun_scores, expected_ids=expected_ids, sls=sls, zipped=zipped),
    )


def recognition_submission(
    ids: Sequence[str],
    verb_scores: NDArray[Any],
    noun_scores: NDArray[Any],
    *,
    expected_ids: Collection[str],
    sls: Levels = _DEFAULT_LEVELS,
    zipped: bool = False,
) -> bytes:
    """The submission file of N actions in the order of their narration `ids`, as JSON or as the zip of it.

    `verb_scores` (N, 97) and `noun_scores` (N, 300) are written with seven significant digits, to which our own
    scores are rounded. `sls` are the supervision levels from 0 to 5: of the pretraining, the training labels and the
    training data. `expected_ids` are all actions of the split. The same values give the same bytes, and nothing but
    the file is held in memory.

    Raises `OutputError` if an action is missing or unknown, or for scores or levels that the challenge cannot take;
    its message counts the reasons and lists the first.
    """
    scores = {"verb": np.asarray(verb_scores), "noun": np.asarray(noun_scores)}
    found = [
        *_level_problems(dict(zip(LEVELS, sls, strict=True))),
        *_id_problems(ids, expected_ids),
        *_array_problems(ids, scores),
    ]
    if found:
        more = [f"and {len(found) - _SHOWN_PROBLEMS} more"] if len(found) > _SHOWN_PROBLEMS else []
        raise OutputError(
            "\n  ".join([f"the submission would have {len(found)} errors:", *found[:_SHOWN_PROBLEMS], *more]),
            hint="nothing was written; every action of the split needs finite scores of 97 verbs and 300 nouns",
        )
    pieces = _pieces(ids, scores, sls)
    buffer = io.BytesIO()
    if zipped:
        _write_zip(buffer, pieces)
    else:
        buffer.writelines(pieces)
    return buffer.getvalue()


def problems(submission: object, expected_ids: Collection[str]) -> list[str]:
    """Everything that is wrong with a submission, given as its JSON value, for a split with these actions."""
    if not isinstance(submission, dict):
        return ["the submission is not a JSON object"]
    found = [f"'{key}' is missing" for key in _KEYS if key not in submission]
    for key, right in (("version", VERSION), ("challenge", CHALLENGE)):
        if submission.get(key, right) != right:
            found.append(f"{key} {submission[key]!r} is not the text {right!r}")
    found += _level_problems({key: submission[key] for key in LEVELS if key in submission})
    results = submission.get("results", {})
    if not isinstance(results, dict):
        return [*found, "'results' is not an object of actions"]
    if "results" in submission:
        found += _id_problems(list(results), expected_ids)
    for name, entry in results.items():
        found += (f"action {name}: {text}" for text in _entry_problems(entry))
    return found


def _level_problems(levels: Mapping[str, object]) -> Iterator[str]:
    for key, level in levels.items():
        if isinstance(level, bool) or not isinstance(level, int) or not 0 <= level <= 5:
            yield f"{key} {level!r} is not a whole number from 0 to 5"


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


def _entry_problems(entry: object) -> Iterator[str]:
    if not isinstance(entry, dict):
        yield "not an object"
        return
    for head, keys in _CLASS_KEYS.items():
        scores = entry.get(head)
        if not isinstance(scores, dict):
            yield f"'{head}' is missing" if head not in entry else f"'{head}' is not an object of scores"
            continue
        if missing := sorted(keys - scores.keys(), key=int):
            yield f"{head} scores lack {_listed(missing)}"
        if unknown := [repr(key) for key in scores if key not in keys]:
            yield f"{head} scores have {_listed(unknown)}, which is not known"
        if bad := [key for key, value in scores.items() if key in keys and not _is_finite(value)]:
            yield f"{head} scores of {_listed(bad)} are not finite numbers"


def _is_finite(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond what a float holds
        return False


def _listed(classes: Iterable[object]) -> str:
    """The first classes by name, and how many there are besides."""
    names = [str(each) for each in classes]
    more = f" and {len(names) - _SHOWN_CLASSES} more" if len(names) > _SHOWN_CLASSES else ""
    return f"class {', '.join(names[:_SHOWN_CLASSES])}{more}"


def _pieces(ids: Sequence[str], scores: Mapping[str, NDArray[Any]], sls: Levels) -> Iterator[bytes]:
    """The JSON text, an action at a time."""
    top = {"version": VERSION, "challenge": CHALLENGE, **dict(zip(LEVELS, map(int, sls), strict=True))}
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
