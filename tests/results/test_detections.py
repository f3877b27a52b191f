"""What can be asked of detections: some segments, joined, cut off; tables, rows, one line."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tadacli import Detection, Detections, Prediction, Segment, UsageError
from tadacli.results import Gap

WAVE = Segment(1.0, 3.0, "wave", 0, 0.5, peak_score=0.6)
WAVE_LATER = Segment(4.0, 5.0, "wave", 0, 0.8, peak_score=0.9)
JUMP = Segment(2.0, 6.0, "jump", 1, 0.7)
FOUND = Detection("a.mp4", "ok", "m", segments=(WAVE, JUMP, WAVE_LATER))
TAKE = Segment(0.0, 1.0, "take pan", 307, 0.2, Prediction("take", 1, 0.5), Prediction("pan", 7, 0.4))
ACTIONS = Detection("b.mp4", "partial", "m", segments=(TAKE,), gaps=(Gap(3.0, 4.0, "is damaged"),))
FAILED = Detection("c.mp4", "error", "m", error="c.mp4 is empty")


def test_a_detection_is_looped_over_and_counted_like_its_segments() -> None:
    assert list(FOUND) == [WAVE, JUMP, WAVE_LATER]
    assert (len(FOUND), len(FAILED)) == (3, 0)


def test_segments_are_filtered_by_label_score_and_time() -> None:
    assert FOUND.filter(label="wave").segments == (WAVE, WAVE_LATER)
    assert FOUND.filter(label=("wave", "jump"), min_score=0.7).segments == (JUMP, WAVE_LATER)
    assert FOUND.filter(between=(3.0, 4.0)).segments == (JUMP,)  # they end and begin there
    assert FOUND.filter(between=(None, 2.5)).segments == (WAVE, JUMP)
    assert FOUND.filter() == FOUND
    assert ACTIONS.filter(label="take").segments == ACTIONS.filter(label="pan").segments == (TAKE,)
    assert Detections([FOUND, ACTIONS]).filter(label="pan") == [replace(FOUND, segments=()), ACTIONS]


@pytest.mark.parametrize("span", [(3.0, 3.0), (4.0, 3.0), (float("nan"), 3.0)])
def test_a_span_that_is_none_is_refused(span: tuple[float, float]) -> None:
    with pytest.raises(UsageError, match="empty or reversed"):
        FOUND.filter(between=span)
    with pytest.raises(UsageError, match="empty or reversed"):
        FOUND.clip_to(*span)


def test_segments_of_one_label_are_joined_across_short_gaps() -> None:
    joined = FOUND.merge(1.0).segments
    assert joined == (Segment(1.0, 5.0, "wave", 0, 0.6, peak_score=0.9), JUMP)  # (2 * 0.5 + 1 * 0.8) / 3
    assert FOUND.merge(0.9).segments == (WAVE, JUMP, WAVE_LATER)
    assert FOUND.merge(1.0).merge(1.0) == FOUND.merge(1.0)


def test_overlapping_segments_are_joined_to_their_whole() -> None:
    inside = replace(WAVE, start_seconds=1.5, end_seconds=2.0)
    touching = replace(WAVE, start_seconds=3.0, end_seconds=3.5)
    found = replace(FOUND, segments=(WAVE, inside, touching)).merge().segments
    assert [(each.start_seconds, each.end_seconds) for each in found] == [(1.0, 3.5)]


def test_segments_are_not_joined_across_a_cut_or_what_cannot_be_read() -> None:
    for one in (replace(FOUND, cuts=(3.5,)), replace(FOUND, gaps=(Gap(3.2, 3.4, "is damaged"),))):
        assert one.merge(1.0).segments == (WAVE, JUMP, WAVE_LATER)
    assert len(replace(FOUND, cuts=(2.0,)).merge(1.0)) == 2


def test_joined_actions_have_the_mean_scores_of_their_parts() -> None:
    other = replace(TAKE, start_seconds=1.0, end_seconds=2.0, verb=Prediction("take", 1, 0.7), score=0.4)
    (found,) = replace(ACTIONS, segments=(TAKE, other)).merge()
    assert found.verb == Prediction("take", 1, 0.6)
    assert found.noun == TAKE.noun
    assert found.score == pytest.approx(0.3)


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf")])
def test_a_gap_is_a_length_of_time(seconds: float) -> None:
    with pytest.raises(UsageError, match="no length of time"):
        FOUND.merge(seconds)


def test_what_lies_in_a_span_is_cut_off_at_its_ends() -> None:
    cut = replace(FOUND, gaps=(Gap(0.0, 2.5, "is damaged"),), cuts=(1.0, 4.0)).clip_to(2.0, 4.0)
    spans = [(each.label, each.start_seconds, each.end_seconds) for each in cut]
    assert spans == [("wave", 2.0, 3.0), ("jump", 2.0, 4.0)]
    assert [(gap.start_seconds, gap.end_seconds) for gap in cut.gaps] == [(2.0, 2.5)]
    assert cut.cuts == ()
    assert FOUND.clip_to(None, None) == FOUND


def test_a_table_has_a_row_for_each_segment() -> None:
    table = Detections([FOUND, FAILED]).to_pandas()
    assert list(table.columns) == ["video", "start_seconds", "end_seconds", "label", "index", "score", "peak_score"]
    assert table["label"].tolist() == ["wave", "jump", "wave"]
    assert (str(table.dtypes["index"]), str(table.dtypes["peak_score"])) == ("Int64", "float64")
    assert table["peak_score"].isna().tolist() == [False, True, False]
    some = FOUND.filter(label="wave", min_score=0.6).to_pandas()
    assert some[["start_seconds", "score"]].values.tolist() == [[4.0, 0.8]]


def test_a_table_of_actions_has_their_verbs_and_nouns() -> None:
    table = Detections([FOUND, ACTIONS]).to_pandas()
    assert table["verb_label"].dropna().tolist() == ["take"]
    assert str(table.dtypes["noun"]) == "Int64"


def test_an_empty_table_has_the_columns_and_types_of_a_full_one() -> None:
    full, empty = FOUND.to_pandas(), FAILED.to_pandas()
    assert full.dtypes.to_dict() == empty.dtypes.to_dict()
    assert len(empty) == 0


def test_a_detection_as_json_has_what_a_row_has() -> None:
    row = ACTIONS.to_dict()
    assert row["segments"][0]["action"] == "1,7"
    assert row["gaps"] == [{"start_seconds": 3.0, "end_seconds": 4.0, "reason": "is damaged"}]


def test_a_detection_is_shown_in_one_line() -> None:
    assert repr(FOUND) == "Detection('a.mp4': 3 segments: wave, jump)"
    assert repr(ACTIONS) == "Detection('b.mp4': 1 segment: take pan, with gaps)"
    assert repr(FAILED) == "Detection('c.mp4': error: c.mp4 is empty)"
    odd = replace(FOUND, path="x" * 500 + "\n\x1b[31m\udcff", segments=(replace(WAVE, label="a\nb"),) * 50)
    assert len(repr(odd)) < 200
    assert repr(odd).isprintable()
    assert repr(Detections([FOUND])) == "Detections([Detection('a.mp4': 3 segments: wave, jump)])"
