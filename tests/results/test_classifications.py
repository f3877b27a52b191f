"""What can be asked of classifications: the best labels, also of verbs and nouns, rows, tables, one line."""

from __future__ import annotations

import itertools

import pandas
import pytest

from tadacli import Classification, Classifications, Prediction, UsageError

PLAIN = Classification(
    "a.mp4", "ok", "m", heads={"": (Prediction("wave", 2, 0.75), Prediction("jump", 0, 0.25))}, num_labels={"": 3}
)
FAILED = Classification("b.mp4", "error", "m", error="b.mp4 is\nempty")
NOTHING = Classification("c.mp4", "short", "m", heads={"": ()}, num_labels={"": 3})
VERBS = (Prediction("take", 0, 0.5), Prediction("put", 1, 0.4), Prediction("cut", 5, 0.1))
NOUNS = (Prediction("pan", 7, 0.6), Prediction("lid", 2, 0.3), Prediction("cup", 1, 0.1))
ACTION = Classification("d.mp4", "ok", "m", heads={"verb": VERBS, "noun": NOUNS}, num_labels={"verb": 97, "noun": 300})


def test_the_best_label_is_that_of_the_only_head() -> None:
    assert (PLAIN.label, PLAIN.score, PLAIN.top(1)) == ("wave", 0.75, (Prediction("wave", 2, 0.75),))
    assert PLAIN.top(9) == PLAIN.heads[""]


@pytest.mark.parametrize("result", [FAILED, NOTHING])
def test_no_label_is_none(result: Classification) -> None:
    assert (result.label, result.score, result.top(5)) == (None, None, ())


def test_the_best_of_verbs_and_nouns_is_an_action_as_detect_names_it() -> None:
    assert (ACTION.label, ACTION.score) == ("take pan", 0.3)
    products = sorted((v.score * n.score for v, n in itertools.product(VERBS, NOUNS)), reverse=True)
    found = ACTION.top(5)
    # Of three verbs and three nouns three pairs are sure to be the best of all.
    assert [each.score for each in found] == pytest.approx(products[:3])
    assert [(each.label, each.index) for each in found] == [("take pan", 7), ("put pan", 307), ("take lid", 2)]


def test_the_numbers_of_actions_are_not_made_up() -> None:
    with pytest.raises(UsageError, match="how many nouns"):
        Classification("d.mp4", "ok", "m", heads={"verb": VERBS, "noun": NOUNS}).top(1)


def test_no_fewer_than_one_can_be_asked_for() -> None:
    with pytest.raises(UsageError, match="top 0"):
        PLAIN.top(0)


def test_a_result_as_json_has_what_a_row_has() -> None:
    assert PLAIN.to_dict()["topk"] == [
        {"label": "wave", "index": 2, "score": 0.75},
        {"label": "jump", "index": 0, "score": 0.25},
    ]
    assert set(ACTION.to_dict()["heads"]) == {"verb", "noun"}
    assert FAILED.to_dict()["error"] == FAILED.error


def test_videos_are_filtered_by_their_best_label() -> None:
    results = Classifications([PLAIN, FAILED, NOTHING, ACTION])
    assert results.filter(label="wave") == [PLAIN]
    assert results.filter(label={"jump", "take pan"}, min_score=0.3) == [ACTION]
    assert results.filter(min_score=0.31) == [PLAIN]
    assert isinstance(results.filter(), Classifications)
    assert results.failed == [FAILED]
    with pytest.raises(UsageError, match="not between 0 and 1"):
        results.filter(min_score=40)


def test_a_table_has_a_row_for_each_prediction_and_one_for_a_video_without() -> None:
    table = Classifications([PLAIN, FAILED, ACTION]).to_pandas()
    assert list(table.columns) == ["video", "head", "rank", "label", "index", "score", "status", "error"]
    assert table["video"].tolist() == ["a.mp4"] * 2 + ["b.mp4"] + ["d.mp4"] * 6
    best = table[table["rank"] == 1]
    assert best["label"].tolist() == ["wave", "take", "pan"]
    assert table[table["status"] == "error"]["score"].isna().all()


def test_the_columns_of_a_table_do_not_depend_on_what_is_in_it() -> None:
    full, empty = PLAIN.to_pandas(), Classifications().to_pandas()
    assert list(full.columns) == list(empty.columns)
    for table in (full, empty, FAILED.to_pandas()):
        assert [str(table.dtypes[name]) for name in ("rank", "index", "score")] == ["Int64", "Int64", "float64"]
    assert isinstance(full, pandas.DataFrame)


def test_a_result_is_shown_in_one_line() -> None:
    assert repr(PLAIN) == "Classification('a.mp4': wave 0.750)"
    assert repr(NOTHING) == "Classification('c.mp4': no label, short)"
    for each in (FAILED, ACTION, Classifications([PLAIN] * 100)):
        assert "\n" not in repr(each)
    assert "and 97 more" in repr(Classifications([PLAIN] * 100))
