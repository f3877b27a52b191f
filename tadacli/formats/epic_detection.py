"""The EPIC-KITCHENS-100 action detection submission, version 0.2, and what its validator thinks of one.

The rules are those of the challenge's evaluate_detection_json_ek100.py (epic-kitchens/C2-Action-Detection),
which stops at the first thing it refuses; here all of them are named at once.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence

from tadacli.errors import OutputError, UsageError
from tadacli.formats.captions import player_segments
from tadacli.formats.records import encode_json
from tadacli.formats.rows import DetectionRow
from tadacli.formats.video_names import video_ids
from tadacli.results.json_ready import SegmentRow

VERSION = "0.2"
CHALLENGE = "action_detection"
NUM_CLASSES = {"verb": 97, "noun": 300}
# What the model was made with, from 0 to 5: its pretraining, its training labels, its training data.
LEVELS = {"sls_pt": 2, "sls_tl": 3, "sls_td": 3}


def epic_detection(rows: Sequence[DetectionRow]) -> bytes:
    """The submission file of these videos.

    Args:
        rows: The videos, of a model with verb and noun heads.

    Returns:
        The file, whose times count from the first frame of each video.

    Raises:
        UsageError: The model has no verb and noun heads.
        OutputError: Two videos have the same id, or the challenge would refuse the submission; then the message
            lists every reason.
    """
    for row in rows:
        require_action_heads(row["spec"].get("heads", ()))
    ids = video_ids([row["path"] for row in rows])
    results = {ids[row["path"]]: [_entry(each) for each in player_segments(row)] for row in rows}
    submission = {"version": VERSION, "challenge": CHALLENGE, **LEVELS, "results": results}
    found = problems(submission) + unloadable(submission)
    if found:
        raise OutputError(
            "\n  ".join(["EPIC-KITCHENS would refuse this submission:", *found]),
            hint="nothing was written; the classes must be the 97 verbs and 300 nouns of EPIC-KITCHENS-100",
        )
    return encode_json(submission) + b"\n"


def require_action_heads(heads: Collection[str]) -> None:
    """Check that a model with these heads finds actions, which are pairs of a verb and a noun.

    Args:
        heads: The names of its heads.

    Raises:
        UsageError: It does not.
    """
    if not {"verb", "noun"} <= set(heads):
        raise _no_actions()


def problems(submission: object) -> list[str]:
    """Everything for which the challenge's validator refuses a submission, or fails on it.

    As there, any part of the challenge's name passes for it, scores are not held to a range, and segments may
    be reversed or lie outside of the video.

    Args:
        submission: The value of its JSON.

    Returns:
        The reasons with their places; none if the validator accepts it.
    """
    if not isinstance(submission, dict):
        return ["the submission is not a JSON object"]
    return [*_top_problems(submission), *_result_problems(submission.get("results", {}))]


def unloadable(submission: object) -> list[str]:
    """The scores that pass the challenge's validator and yet stop its evaluation, as they are no numbers.

    Args:
        submission: The value of its JSON.

    Returns:
        Each of them with its place.
    """
    return [
        f"{place}: score {entry['score']!r} is not a number"
        for place, entry in _entries(submission)
        if "score" in entry and not _is_floatable(entry["score"])
    ]


def _entry(segment: SegmentRow) -> dict[str, object]:
    if "verb" not in segment or "noun" not in segment:
        raise _no_actions()
    return {
        "verb": segment["verb"],
        "noun": segment["noun"],
        "action": f"{segment['verb']},{segment['noun']}",
        "score": segment["score"],
        "segment": [segment["start_seconds"], segment["end_seconds"]],
    }


def _no_actions() -> UsageError:
    return UsageError(
        "the EPIC-KITCHENS submission needs segments with a verb and a noun",
        hint="detect with a model that has verb and noun heads, or choose another format",
    )


def _top_problems(submission: Mapping[str, object]) -> Iterator[str]:
    for key in ("version", "challenge", *LEVELS, "results"):
        if key not in submission:
            yield f"'{key}' is missing"
    if submission.get("version", VERSION) != VERSION:
        yield f"version {submission['version']!r} is not the text {VERSION!r}"
    challenge = submission.get("challenge", CHALLENGE)
    if not isinstance(challenge, str) or challenge not in CHALLENGE:
        yield f"challenge {challenge!r} is not {CHALLENGE!r}"
    for key in LEVELS:
        level = submission.get(key, 0)
        if not isinstance(level, int | float) or not 0 <= level <= 5:
            yield f"{key} {level!r} is not a number from 0 to 5"


def _result_problems(results: object) -> Iterator[str]:
    if not isinstance(results, dict):
        yield "'results' is not an object of videos"
        return
    for video, entries in results.items():
        if not isinstance(entries, list):
            yield f"video {video}: not a list of detections"
            continue
        for number, entry in enumerate(entries):
            yield from (f"video {video}, entry {number}: {text}" for text in _entry_problems(entry))


def _entry_problems(entry: object) -> Iterator[str]:
    if not isinstance(entry, dict):
        yield "not an object"
        return
    for key in ("verb", "noun", "action", "score", "segment"):
        if key not in entry:
            yield f"'{key}' is missing"
    for head in NUM_CLASSES:
        if head in entry and not _is_class(entry[head], head):
            yield f"{head} {entry[head]!r} is not a whole number from 0 to {NUM_CLASSES[head] - 1}"
    if "action" in entry and not _is_action(entry["action"]):
        yield f"action {entry['action']!r} is not the text 'verb,noun' with two classes"
    if "segment" in entry and not _is_segment(entry["segment"]):
        yield f"segment {entry['segment']!r} is not a list of two numbers"
    for key, value in entry.items():
        if key not in NUM_CLASSES and isinstance(value, float) and math.isnan(value):
            yield f"'{key}' is not a number"


def _is_class(value: object, head: str) -> bool:
    return isinstance(value, int | float) and 0 <= value < NUM_CLASSES[head] and value == int(value)


def _is_action(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        verb, noun = (int(part) for part in value.split(","))
    except ValueError:
        return False
    return _is_class(verb, "verb") and _is_class(noun, "noun")


def _is_segment(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(isinstance(time, int) or (isinstance(time, float) and not math.isnan(time)) for time in value)
    )


def _is_floatable(value: object) -> bool:
    try:
        float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return False
    return True


def _entries(submission: object) -> Iterator[tuple[str, dict[str, object]]]:
    """(place, entry) of every detection that has the right shape."""
    results = submission.get("results") if isinstance(submission, dict) else None
    for video, entries in results.items() if isinstance(results, dict) else ():
        for number, entry in enumerate(entries if isinstance(entries, list) else ()):
            if isinstance(entry, dict):
                yield f"video {video}, entry {number}", entry
