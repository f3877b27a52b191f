"""The EPIC-KITCHENS recognition submission: what is written reads back as it was, and what is wrong is named."""

from __future__ import annotations

import json
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tadacli.errors import OutputError
from tadacli.evaluation.readers.epic import read_recognition
from tadacli.formats.epic_recognition import recognition_submission, write_recognition_submission

IDS = ["P01_101_2", "P01_101_0", "P33_02_11"]


def probabilities(count: int, size: int, seed: int = 5) -> np.ndarray:
    """(count, size) scores as ours are: softmax, seven significant digits; some underflow to tiny numbers."""
    logits = np.random.default_rng(seed).normal(scale=6.0, size=(count, size))
    exact = np.exp(logits - logits.max(axis=1, keepdims=True))
    exact /= exact.sum(axis=1, keepdims=True)
    return np.array([[float(f"{score:.7g}") for score in row] for row in exact])


VERB, NOUN = probabilities(3, 97), probabilities(3, 300, seed=6)


def test_it_has_the_form_of_the_challenge() -> None:
    value = json.loads(recognition_submission(IDS, VERB, NOUN, expected_ids=set(IDS)))
    assert {key: value[key] for key in value if key != "results"} == {
        "version": "0.2",
        "challenge": "action_recognition",
        "sls_pt": 2,
        "sls_tl": 3,
        "sls_td": 3,
    }
    assert list(value["results"]) == IDS
    for row, entry in enumerate(value["results"].values()):
        assert entry == {
            "verb": {str(index): VERB[row, index] for index in range(97)},
            "noun": {str(index): NOUN[row, index] for index in range(300)},
        }


@pytest.mark.parametrize("name", ["submission.json", "submission.zip", "submission.ZIP"])
def test_our_scores_are_read_back_to_the_bit(tmp_path: Path, name: str) -> None:
    write_recognition_submission(tmp_path / name, IDS, VERB, NOUN, expected_ids=IDS)
    table = read_recognition(tmp_path / name)
    assert table.ids.tolist() == IDS
    assert np.array_equal(table.scores["verb"], VERB)
    assert np.array_equal(table.scores["noun"], NOUN)
    assert tuple(map(str, table.notes)) == ()


@given(arrays(np.float32, (1, 97), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_any_finite_scores_keep_seven_digits(verb: np.ndarray) -> None:
    value = json.loads(recognition_submission(["a"], verb, NOUN[:1], expected_ids=["a"]))
    read = np.array(list(value["results"]["a"]["verb"].values()), dtype=np.float64)
    assert np.all(np.abs(read - verb) <= 5e-7 * np.abs(verb, dtype=np.float64))


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


def test_what_is_wrong_is_not_written_and_every_reason_is_given(tmp_path: Path) -> None:
    verb = VERB.copy()
    verb[1, [5, 7]] = np.nan, np.inf
    with pytest.raises(OutputError) as caught:
        write_recognition_submission(tmp_path / "a.json", [IDS[0], "x", IDS[0]], verb, NOUN[:, :299], expected_ids=IDS)
    assert caught.value.message.split("\n  ") == [
        "the submission would have 6 errors:",
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


@pytest.mark.parametrize("name", ["a.json", "a.zip"])
def test_a_run_that_goes_on_finds_its_own_file(tmp_path: Path, name: str) -> None:
    write_recognition_submission(tmp_path / name, IDS, VERB, NOUN, expected_ids=IDS)
    before = (tmp_path / name).read_bytes()
    write_recognition_submission(tmp_path / name, IDS, VERB, NOUN, expected_ids=IDS)
    assert (tmp_path / name).read_bytes() == before
    with pytest.raises(OutputError, match="exists"):
        write_recognition_submission(tmp_path / name, IDS, VERB + 1, NOUN, expected_ids=IDS)
    assert (tmp_path / name).read_bytes() == before
