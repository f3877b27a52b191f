"""The EPIC-KITCHENS detection submission: what is written, and the verdicts of the challenge's validator."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from tadacli.errors import OutputError, UsageError
from tadacli.formats.epic_detection import epic_detection, problems, require_action_heads, unloadable
from tests import media
from tests.formats.detections import ACTION_RUN, action, action_row, row, segment

ENTRY = {"verb": 0, "noun": 2, "action": "0,2", "score": 0.5, "segment": [0.0, 1.89]}


def submission(*entries: object, **changes: object) -> dict[str, Any]:
    top = {"version": "0.2", "challenge": "action_detection", "sls_pt": 2, "sls_tl": 3, "sls_td": 3}
    return {**top, "results": {"P01_11": [copy.deepcopy(ENTRY), *entries]}, **changes}


def test_the_official_validators_verdicts_are_ours() -> None:
    cases = json.loads((media.shared_folder() / "golden_eval" / "validation_cases.json").read_text())["cases"]
    wrong = [
        (case["name"], problems(case["submission"]), unloadable(case["submission"]))
        for case in cases
        if bool(problems(case["submission"])) == case["accepted"]
        or (case["accepted"] and bool(unloadable(case["submission"])) == case["loads"])
    ]
    assert wrong == []
    assert len(cases) >= 55


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ([], "the submission is not a JSON object"),
        (submission(version=0.2), "version 0.2 is not the text '0.2'"),
        (submission(challenge=None), "challenge None is not 'action_detection'"),
        (submission(sls_pt=6), "sls_pt 6 is not a number from 0 to 5"),
        (submission(sls_td=float("nan")), "sls_td nan is not a number from 0 to 5"),
        (submission(results=[]), "'results' is not an object of videos"),
        (submission(results={"P01_11": None}), "video P01_11: not a list of detections"),
        (submission(3), "video P01_11, entry 1: not an object"),
        (submission({**ENTRY, "verb": 97}), "video P01_11, entry 1: verb 97 is not a whole number from 0 to 96"),
        (submission({**ENTRY, "noun": [0]}), "video P01_11, entry 1: noun [0] is not a whole number from 0 to 299"),
        (
            submission({**ENTRY, "action": "0,300"}),
            "video P01_11, entry 1: action '0,300' is not the text 'verb,noun' with two classes",
        ),
        (
            submission({**ENTRY, "segment": "ab"}),
            "video P01_11, entry 1: segment 'ab' is not a list of two numbers",
        ),
        (submission({**ENTRY, "score": float("nan")}), "video P01_11, entry 1: 'score' is not a number"),
        (submission({**ENTRY, "more": float("nan")}), "video P01_11, entry 1: 'more' is not a number"),
    ],
)
def test_a_problem_is_named_with_its_place(wrong: object, named: str) -> None:
    assert problems(wrong) == [named]
    assert problems(submission()) == []


def test_all_problems_are_named_at_once() -> None:
    wrong = submission({"verb": 97, "segment": [0.0]}, 5, version="0.1", sls_tl=-1)
    del wrong["challenge"]
    assert problems(wrong) == [
        "'challenge' is missing",
        "version '0.1' is not the text '0.2'",
        "sls_tl -1 is not a number from 0 to 5",
        "video P01_11, entry 1: 'noun' is missing",
        "video P01_11, entry 1: 'action' is missing",
        "video P01_11, entry 1: 'score' is missing",
        "video P01_11, entry 1: verb 97 is not a whole number from 0 to 96",
        "video P01_11, entry 1: segment [0.0] is not a list of two numbers",
        "video P01_11, entry 2: not an object",
    ]


@pytest.mark.parametrize("score", [None, "high", [0.5], 10**400])
def test_scores_that_stop_the_evaluation_are_named(score: object) -> None:
    wrong = submission({**ENTRY, "score": score})
    assert problems(wrong) == []
    assert unloadable(wrong) == [f"video P01_11, entry 1: score {score!r} is not a number"]
    assert unloadable(submission({**ENTRY, "score": "0.5"})) == []


def test_action_segments_become_a_submission() -> None:
    rows = [
        action_row("videos/P01_11.MP4", action(2.0, 3.25, 96, 299, score=0.25), action(0.0, 1.5, 0, 2)),
        action_row("P01_12"),
    ]
    assert json.loads(epic_detection(rows)) == {
        "version": "0.2",
        "challenge": "action_detection",
        "sls_pt": 2,
        "sls_tl": 3,
        "sls_td": 3,
        "results": {
            "P01_11": [
                {"verb": 96, "noun": 299, "action": "96,299", "score": 0.25, "segment": [2.0, 3.25]},
                {"verb": 0, "noun": 2, "action": "0,2", "score": 0.5, "segment": [0.0, 1.5]},
            ],
            "P01_12": [],
        },
    }
    assert problems(json.loads(epic_detection(rows))) == []


def test_times_count_from_the_start_of_the_video() -> None:
    late = row("P01_11.mp4", action(10.5, 12.0, 0, 2), run=ACTION_RUN, start_seconds=10.0)
    assert json.loads(epic_detection([late]))["results"]["P01_11"][0]["segment"] == [0.5, 2.0]


def test_what_would_be_refused_is_not_made_and_every_reason_is_given() -> None:
    rows = [action_row("P01_11.mp4", action(0.0, 1.0, 97, 2), action(0.0, 1.0, 1, 300))]
    with pytest.raises(OutputError) as caught:
        epic_detection(rows)
    first, *reasons = caught.value.message.split("\n  ")
    assert first == "EPIC-KITCHENS would refuse this submission:"
    assert [reason.split(" is ")[0] for reason in reasons] == [
        "video P01_11, entry 0: verb 97",
        "video P01_11, entry 0: action '97,2'",
        "video P01_11, entry 1: noun 300",
        "video P01_11, entry 1: action '1,300'",
    ]


@pytest.mark.parametrize("found", [[], [segment(0.0, 1.0)]], ids=["nothing found", "a label found"])
def test_models_without_verbs_and_nouns_are_refused(found: list) -> None:
    with pytest.raises(UsageError, match="segments with a verb and a noun") as caught:
        epic_detection([row("P01_11.mp4", *found)])
    assert "verb and noun heads" in caught.value.hint


def test_heads_can_be_checked_before_a_run() -> None:
    require_action_heads({"verb": 97, "noun": 300})
    for heads in ((), ("",), ("verb",)):
        with pytest.raises(UsageError):
            require_action_heads(heads)


def test_two_videos_of_one_id_are_refused() -> None:
    with pytest.raises(OutputError, match=r"a/P01_11\.mp4 and b/P01_11 would both be the video P01_11"):
        epic_detection([action_row("a/P01_11.mp4"), action_row("b/P01_11")])
