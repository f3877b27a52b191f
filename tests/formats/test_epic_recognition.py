"""The EPIC-KITCHENS recognition submission: what is written reads back as it was, and what is wrong is named."""

from __future__ import annotations

import copy
import json
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tadacli.errors import OutputError
from tadacli.evaluation.predictions import read_recognition
from tadacli.formats.epic_recognition import problems, recognition_submission, write_recognition_submission

IDS = ["P01_101_2", "P01_101_0", "P33_02_11"]


def probabilities(count: int, size: int, seed: int = 5) -> np.ndarray:
    """(count, size) scores as ours are: softmax, seven significant digits; some underflow to tiny numbers."""
    logits = np.random.default_rng(seed).normal(scale=6.0, size=(count, size))
    exact = np.exp(logits - logits.max(axis=1, keepdims=True))
    exact /= exact.sum(axis=1, keepdims=True)
    return np.array([[float(f"{score:.7g}") for score in row] for row in exact])


VERB, NOUN = probabilities(3, 97), probabilities(3, 300, seed=6)


def submission(**changes: Any) -> dict[str, Any]:
    value = json.loads(recognition_submission(IDS, VERB, NOUN, expected_ids=IDS))
    return {**value, **changes}


def test_it_has_the_form_of_the_challenge() -> None:
    value = json.loads(recognition_submission(IDS, VERB, NOUN, expected_ids=set(IDS), sls=(0, 5, 4)))
    assert {key: value[key] for key in value if key != "results"} == {
        "version": "0.2",
        "challenge": "action_recognition",
        "sls_pt": 0,
        "sls_tl": 5,
        "sls_td": 4,
    }
    assert list(value["results"]) == IDS
    for row, entry in enumerate(value["results"].values()):
        assert entry == {
            "verb": {str(index): VERB[row, index] for index in range(97)},
            "noun": {str(index): NOUN[row, index] for index in range(300)},
        }
    assert problems(value, IDS) == []


@pytest.mark.parametrize("name", ["submission.json", "submission.zip", "submission.ZIP"])
def test_our_scores_are_read_back_to_the_bit(tmp_path: Path, name: str) -> None:
    write_recognition_submission(tmp_path / name, IDS, VERB, NOUN, expected_ids=IDS)
    table = read_recognition(tmp_path / name)
    assert table.ids.tolist() == IDS
    assert np.array_equal(table.scores["verb"], VERB)
    assert np.array_equal(table.scores["noun"], NOUN)
    assert table.notes == ()


@given(arrays(np.float32, (1, 97), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_any_finite_scores_keep_seven_digits(verb: np.ndarray) -> None:
    value = json.loads(recognition_submission(["a"], verb, NOUN[:1], expected_ids=["a"]))
    read = np.array(list(value["results"]["a"]["verb"].values()), dtype=np.float64)
    assert np.all(np.abs(read - verb) <= 5e-7 * np.abs(verb, dtype=np.float64))
    assert problems(value, ["a"]) == []


def test_the_zip_holds_the_plain_file_and_nothing_of_the_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = recognition_submission(IDS, VERB, NOUN, expected_ids=IDS)
    write_recognition_submission(tmp_path / "a.zip", IDS, VERB, NOUN, expected_ids=IDS)
    monkeypatch.setattr("time.time", lambda: 2e9)
    write_recognition_submission(tmp_path / "b.zip", IDS, VERB, NOUN, expected_ids=IDS)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.namelist() == ["test.json"]
        assert archive.read("test.json") == plain
        (member,) = archive.infolist()
    assert member.compress_type == zipfile.ZIP_DEFLATED
    assert member.compress_size < member.file_size


def test_memory_does_not_grow_with_more_than_the_file() -> None:
    count = 400
    ids = [f"P01_101_{number}" for number in range(count)]
    verb, noun = (np.tile(part, (count // 3 + 1, 1))[:count] for part in (VERB, NOUN))
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        content = recognition_submission(ids, verb, noun, expected_ids=ids)
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    # As Python objects the scores alone are three times as large.
    assert peak < 2 * len(content)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"version": 0.2}, "version 0.2 is not the text '0.2'"),
        ({"challenge": "action"}, "challenge 'action' is not the text 'action_recognition'"),
        ({"sls_pt": 6}, "sls_pt 6 is not a whole number from 0 to 5"),
        ({"sls_tl": -1}, "sls_tl -1 is not a whole number from 0 to 5"),
        ({"sls_td": 2.5}, "sls_td 2.5 is not a whole number from 0 to 5"),
        ({"sls_td": True}, "sls_td True is not a whole number from 0 to 5"),
        ({"results": []}, "'results' is not an object of actions"),
    ],
)
def test_a_problem_of_the_whole_is_named(change: dict[str, Any], named: str) -> None:
    assert problems(submission(**change), IDS) == [named]
    assert problems([], IDS) == ["the submission is not a JSON object"]


@pytest.mark.parametrize(
    ("score", "is_problem"),
    [
        (float("nan"), True),
        (float("inf"), True),
        ("0.5", True),
        (None, True),
        (True, True),
        (10**400, True),
        (-3, False),
    ],
)
def test_scores_are_finite_numbers(score: object, is_problem: bool) -> None:
    value = submission()
    value["results"][IDS[1]]["noun"]["7"] = score
    named = [f"action {IDS[1]}: noun scores of class 7 are not finite numbers"]
    assert problems(value, IDS) == (named if is_problem else [])


def test_all_problems_are_named_at_once() -> None:
    value = submission(sls_pt=9)
    del value["challenge"]
    results = value["results"]
    results["P99_9"] = copy.deepcopy(results[IDS[0]])
    results["P99_9"]["verb"] = {str(index): 0.5 for index in range(1, 99)}
    for index in (4, 2, 9, 11, 250):
        del results[IDS[0]]["noun"][str(index)]
    results[IDS[1]]["verb"]["01"] = 0.5
    results[IDS[1]]["noun"]["299"] = float("inf")
    results[IDS[1]]["noun"]["298"] = float("nan")
    results[IDS[2]] = {"verb": [0.5] * 97}
    assert problems(value, [*IDS, "P01_101_9"]) == [
        "'challenge' is missing",
        "sls_pt 9 is not a whole number from 0 to 5",
        "action P01_101_9: is missing",
        "action P99_9: is not one of the split",
        f"action {IDS[0]}: noun scores lack class 2, 4, 9 and 2 more",
        f"action {IDS[1]}: verb scores have class '01', which is not known",
        f"action {IDS[1]}: noun scores of class 298, 299 are not finite numbers",
        f"action {IDS[2]}: 'verb' is not an object of scores",
        f"action {IDS[2]}: 'noun' is missing",
        "action P99_9: verb scores lack class 0",
        "action P99_9: verb scores have class '97', '98', which is not known",
    ]
    assert problems({**value, "results": {"a": 3}}, ["a"])[2:] == ["action a: not an object"]


def test_the_scores_of_pairs_may_be_there_but_are_not_written() -> None:
    value = submission()
    assert all(set(entry) == {"verb", "noun"} for entry in value["results"].values())
    value["results"][IDS[0]]["action"] = {"0,2": 0.5}
    assert problems(value, IDS) == []


def test_what_is_wrong_is_not_written_and_every_reason_is_given(tmp_path: Path) -> None:
    verb = VERB.copy()
    verb[1, [5, 7]] = np.nan, np.inf
    with pytest.raises(OutputError) as caught:
        write_recognition_submission(
            tmp_path / "a.json", [IDS[0], "x", IDS[0]], verb, NOUN[:, :299], expected_ids=IDS, sls=(2, 6, 3)
        )
    assert caught.value.message.split("\n  ") == [
        "the submission would have 7 errors:",
        "sls_tl 6 is not a whole number from 0 to 5",
        f"action {IDS[0]}: is given 2 times",
        f"action {IDS[1]}: is missing",
        f"action {IDS[2]}: is missing",
        "action x: is not one of the split",
        "action x: verb scores of class 5, 7 are not finite numbers",
        "noun scores are float64 of shape (3, 299), not numbers of shape (3, 300)",
    ]
    assert list(tmp_path.iterdir()) == []


def test_of_many_reasons_the_first_are_shown_and_the_rest_counted() -> None:
    expected = [*IDS, *(f"P02_01_{number}" for number in range(100))]
    with pytest.raises(OutputError) as caught:
        recognition_submission(IDS, VERB, NOUN, expected_ids=expected)
    first, *reasons, last = caught.value.message.split("\n  ")
    assert (first, len(reasons), last) == ("the submission would have 100 errors:", 20, "and 80 more")


def test_an_existing_file_is_not_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text("mine")
    with pytest.raises(OutputError, match="exists"):
        write_recognition_submission(file, IDS, VERB, NOUN, expected_ids=IDS)
    assert file.read_text() == "mine"
