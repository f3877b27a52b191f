"""Average precision of labels that hold together against plain counting, and the reports that say it."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tadacli.cli.eval_output import eval_table
from tadacli.datasets.samples import Dataset, HeldLabel, Sample
from tadacli.errors import TadaError, UsageError
from tadacli.evaluation.multi_label import average_precision, label_metrics, logits_of_sigmoids, shown_classes
from tadacli.evaluation.predictions import ScoreTable
from tadacli.evaluation.readers.own_results import read_classifications
from tadacli.evaluation.recognition import evaluate_scores
from tadacli.evaluation.report import flat_metrics
from tadacli.reports.eval_csv import eval_csv
from tadacli.reports.eval_json import eval_json
from tadacli.reports.eval_page import encode_eval_page


def plain_average_precision(scores: list[int], shown: list[bool]) -> Fraction:
    """Precision times the gain of recall, at each score as a threshold, from the highest down."""
    total, recall_before = Fraction(0), Fraction(0)
    for threshold in sorted(set(scores), reverse=True):
        passed = [is_shown for score, is_shown in zip(scores, shown, strict=True) if score >= threshold]
        precision, recall = Fraction(sum(passed), len(passed)), Fraction(sum(passed), sum(shown))
        total += precision * (recall - recall_before)
        recall_before = recall
    return total


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=25))
def test_average_precision_is_that_of_plain_counting_in_any_order(items: list[tuple[int, bool]]) -> None:
    scores, shown = [score for score, _ in items], [each for _, each in items]
    if not any(shown):
        return
    expected = plain_average_precision(scores, shown)
    for order in (slice(None), slice(None, None, -1)):
        found = average_precision(np.array(scores[order], dtype=np.float64), np.array(shown[order]))
        assert found == pytest.approx(float(expected), abs=1e-12)


def test_metrics_are_means_over_the_classes_that_an_item_shows() -> None:
    scores = np.array([[0.9, 0.8, 0.1], [0.2, 0.7, 0.3], [0.6, 0.1, 0.2]])
    shown = shown_classes([(0,), (0, 1), ()], 3)
    found = label_metrics(scores, shown, ("sit", "talk", "wave"))
    # "sit" is first and third of three, "talk" second; nobody waves.
    assert [each.percent for each in found.classes] == [pytest.approx(100 * (1 + 2 / 3) / 2), pytest.approx(50), None]
    assert [each.num_items for each in found.classes] == [2, 1, 0]
    assert found.mean_precision == pytest.approx((100 * 5 / 6 + 50) / 2)
    assert found.chance == pytest.approx(100 * (2 / 3 + 1 / 3) / 2)
    assert found.hit1 == pytest.approx(200 / 3)
    with pytest.raises(TadaError, match="no item shows a class"):
        label_metrics(scores, shown_classes([(), (), ()], 3), ("sit", "talk", "wave"))
    with pytest.raises(ValueError, match="not numbers"):
        label_metrics(scores * np.nan, shown, ("sit", "talk", "wave"))


def test_logits_are_those_that_sigmoids_came_of_to_their_digits() -> None:
    logits = np.linspace(-15, 8, 50)
    scores = np.array([float(f"{1 / (1 + np.exp(-value)):.7g}") for value in logits])
    assert np.abs(logits_of_sigmoids(scores) - logits).max() < 1e-3
    assert np.isfinite(logits_of_sigmoids(np.array([0.0, 1.0]))).all()


# --- reports ------------------------------------------------------------------------------------------------

SAMPLES = (
    Sample("a", Path("a.mp4"), {"": 0}, 0.0, 4.0, others=(HeldLabel(1, 1.0, 3.0), HeldLabel(2, 3.0, 9.0))),
    Sample("b", Path("b.mp4"), {"": 1}),
    Sample("c", Path("c.mp4"), {"": 0}),
    Sample("d", Path("d.mp4"), {"": 2}),
)
DATASET = Dataset("csv", {"": ("sit", "talk", "<b>wave</b>")}, SAMPLES, multi_label=True)
TABLE = ScoreTable(np.array(["a", "b", "c"]), {"": np.array([[0.9, 0.8, 0.1], [0.2, 0.7, 0.3], [0.1, 0.2, 0.2]])})


def test_the_report_has_the_precision_of_each_class() -> None:
    report = evaluate_scores(DATASET, TABLE, split="all", scores_are="probabilities", failed={"d": "it cannot be read"})
    # For half of "a" somebody talks, for a quarter somebody waves.
    assert [(each.label, each.num_items) for each in report.classes] == [("sit", 2), ("talk", 2), ("<b>wave</b>", 0)]
    assert [each.percent for each in report.classes] == [pytest.approx(100 * (1 + 2 / 3) / 2), 100, None]
    assert list(report.percent) == ["mAP", "mAP_by_chance", "hit1"]
    assert (report.heads, report.num_scored, report.num_items) == ({}, 3, 4)
    assert (report.majority[""].label, report.majority[""].num_right) == ("sit", 2)
    told = json.loads(eval_json(report))
    assert told["metrics"]["mAP"] == pytest.approx((100 * 5 / 6 + 100) / 2)
    assert told["classes"][1] == {"index": 1, "label": "talk", "num_items": 2, "percent": 100.0}
    rows = list(csv.DictReader(io.StringIO(eval_csv(report).decode())))
    classes = [(row["label"], row["value"], row["num_items"]) for row in rows if row["section"] == "class"]
    assert classes[1:] == [("talk", "100.0", "2"), ("<b>wave</b>", "", "0")]
    assert [row["name"] for row in rows if row["section"] == "metric"] == [each.name for each in flat_metrics(report)]
    table = eval_table(report)
    assert "mAP             91.67 %" in table
    assert "classes, average precision\nsit    83.33 %  shown by 2\ntalk  100.00 %  shown by 2\n" in table
    page = encode_eval_page(report).decode()
    assert "<b>wave" not in page
    assert '"classes":[["sit",2,0.8333,[]],["talk",2,1.0,[]],' in page.replace(", ", ",").replace(": ", ":")


def test_results_that_keep_the_best_classes_alone_are_refused(tmp_path: Path) -> None:
    spec = {"heads": {"": 3}, "multi_label": True}
    row = {"path": "a.mp4", "status": "ok", "model": "mine", "spec": spec, "topk": []}
    (tmp_path / "found.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(UsageError, match="labels hold independently, and the mAP of these takes all scores"):
        read_classifications(tmp_path / "found.jsonl")
    single = {**row, "spec": {"heads": {"": 3}}}
    (tmp_path / "found.jsonl").write_text(json.dumps(single) + "\n")
    assert read_classifications(tmp_path / "found.jsonl").num_classes == 3


def test_one_label_each_is_measured_by_class_too_where_the_model_has_several() -> None:
    one_each = replace(DATASET, samples=tuple(replace(sample, others=()) for sample in SAMPLES))
    report = evaluate_scores(one_each, TABLE, split="all", scores_are="probabilities")
    assert [each.num_items for each in report.classes] == [2, 1, 0]
