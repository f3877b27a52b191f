"""The CSV of an evaluation, as pandas reads it."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tadacli.evaluation.report import Accuracies, EvalReport, UnscoredItem
from tadacli.reports.eval_csv import EVAL_CSV_COLUMNS, eval_csv
from tadacli.results import Note, NoteKind
from tests.reports.test_eval_page import TIOU, detections, head, item, recognition


def read(report: EvalReport) -> pd.DataFrame:
    return pd.read_csv(io.BytesIO(eval_csv(report)))


def section(table: pd.DataFrame, name: str) -> pd.DataFrame:
    return table[table["section"] == name].reset_index(drop=True)


def test_every_part_of_the_report_comes_back() -> None:
    report = recognition()
    table = read(report)
    assert tuple(table.columns) == EVAL_CSV_COLUMNS
    metrics = section(table, "metric").set_index("name")
    assert metrics["value"].to_dict() == report.percent
    assert tuple(metrics.loc["top1", ["low", "high"]]) == (12.5, 87.5)
    assert math.isnan(metrics.loc["mean_class_accuracy", "low"])
    majority = section(table, "majority").loc[0, ["name", "value", "measure", "num_items", "num_right", "label"]]
    assert majority.tolist() == ["majority_class_accuracy", 50, "percent", 6, 3, "wave"]
    classes = section(table, "class")
    assert classes["label"].tolist() == ["wave", "nod", "bow"]
    assert classes["num_items"].tolist() == [3, 3, 0]
    assert classes["value"].tolist()[:2] == [100 * 2 / 3, 100 * 1 / 3]
    assert math.isnan(classes["value"][2])
    cells = section(table, "confusion")
    matrix = np.zeros((3, 3))
    matrix[cells["label_index"].astype(int), cells["predicted_index"].astype(int)] = cells["num_items"]
    np.testing.assert_array_equal(matrix, report.heads[""].confusion)
    assert section(table, "worst")["name"].tolist() == ["b", "a"]
    assert section(table, "worst")["end_seconds"][0] == 63.25
    assert section(table, "unscored")["reason"].tolist() == ["is damaged", "there is no file"]
    about = section(table, "about").set_index("name")
    assert about["value"].dropna().to_dict() == {"num_scored": 6, "num_items": 8}
    assert about["text"].dropna().to_dict() == {
        "dataset": "folder",
        "split": "test",
        "unit": "videos",
        "note": "a note",
        "run: model": "tiny.motion",
        "run: settings: views": "2x1",
    }


def test_detection_has_a_row_for_each_task_and_threshold() -> None:
    rows = section(read(detections()), "metric")
    verb = rows[(rows["task"] == "verb") & (rows["name"] == "mAP")]
    assert (verb["tiou"].tolist(), verb["value"].tolist()) == (TIOU, [0.5, 0.25, 0.125])
    assert set(verb["measure"]) == {"fraction"}
    assert rows[rows["name"] == "num_classes"]["measure"].tolist() == ["count", "count"]


def test_detection_has_its_classes_and_videos() -> None:
    table = read(detections())
    classes, videos = section(table, "class"), section(table, "video")
    assert len(classes) == 4 * (1 + len(TIOU))
    assert len(videos) == 3 * (1 + len(TIOU))
    assert {*classes["task"], *videos["task"]} == {"verb"}
    third = classes[classes["label"] == "class 3"]
    assert third["value"].tolist() == [0.1875, 0.375, 0.1875, 0.0]
    assert third["tiou"].tolist()[1:] == TIOU
    assert math.isnan(third["tiou"].tolist()[0]), "the mean"
    assert (third["num_items"].tolist(), third["label_index"].tolist()) == ([4] * 4, [3] * 4)
    assert videos[videos["name"] == "P01_02"]["value"].tolist()[1:] == [0.5, 0.25, 0.25]
    assert set(table[table["section"].isin(["class", "video"])]["measure"]) == {"fraction"}


def test_numbers_keep_all_their_digits() -> None:
    value = 100 / 3 + 1e-13
    text = eval_csv(recognition(metrics=Accuracies({"top1": np.float64(value)}))).decode()
    rows = [row for row in csv.DictReader(io.StringIO(text, newline="")) if row["section"] == "metric"]
    assert [row["value"] for row in rows] == [repr(value)]


@pytest.mark.parametrize("text", ['a,"b"', "two\r\nlines", "one\rreturn", " caf\u00e9 \U0001f3a5 ", "=1+1", ";\t'"])
def test_any_text_comes_back(text: str) -> None:
    lost = (UnscoredItem(text, text, text),)
    result = head([text, "nod"], [(0, 1)], worst=(item(text, path=text),))
    content = eval_csv(recognition(heads={"": result}, unscored=lost, notes=(Note(NoteKind.MEASURE, text),)))
    rows = list(csv.DictReader(io.StringIO(content.decode(), newline="")))
    (found,) = [row for row in rows if row["section"] == "unscored"]
    assert (found["name"], found["path"], found["reason"]) == (text, text, text)
    (worst,) = [row for row in rows if row["section"] == "worst"]
    assert (worst["name"], worst["label"], worst["path"]) == (text, text, text)
    assert len(pd.read_csv(io.BytesIO(content))) == len(rows)


def test_a_path_that_is_not_utf_8_leaves_the_file_utf_8() -> None:
    content = eval_csv(recognition(unscored=(UnscoredItem("a", "videos/\udcff.mp4", "is damaged"),)))
    assert section(pd.read_csv(io.BytesIO(content)), "unscored")["path"].tolist() == ["videos/\\udcff.mp4"]


def test_of_two_heads_each_metric_has_the_interval_of_its_own() -> None:
    verb, noun = (head(["a", "b"], [(0, 0)], intervals={"top1": interval}) for interval in ((1.0, 2.0), (3.0, 4.0)))
    report = recognition(
        metrics=Accuracies(
            {
                "all_verb_accuracy_at_1": 1.5,
                "all_noun_accuracy_at_1": 3.5,
                "top1": 2.0,
                "all_action_accuracy_at_1": 0.5,
            }
        ),
        heads={"verb": verb, "noun": noun},
    )
    rows = section(read(report), "metric")
    assert rows["low"].tolist()[:2] == [1.0, 3.0]
    assert math.isnan(rows["low"][2]), "it could be that of either head"
    assert math.isnan(rows["low"][3]), "no head is of actions"
    assert eval_csv(report) == eval_csv(replace(report))
