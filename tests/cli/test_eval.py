"""`tada eval` on the official golden cases, as a person runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tadacli import evaluate, load_model
from tadacli.datasets.samples import Dataset, HeldLabel, Sample
from tadacli.errors import UsageError
from tests import media
from tests.cli.conftest import Tada
from tests.cli.test_schemas import check
from tests.media import shared_folder

TOLERANCE = 1e-9


def case(name: str) -> Path:
    return shared_folder() / "golden_eval" / f"{name}_open"


@pytest.mark.parametrize("name", ["det_full", "det_partial", "edge_missing_and_unknown_video", "edge_nan_iou"])
def test_epic_detections_get_the_official_map(tada: Tada, name: str) -> None:
    own = case(name) / "gt.csv.gz"
    truth = own if own.exists() else shared_folder() / "ek100" / "EPIC_100_validation.csv"
    files = ("--annotations", truth, "--predictions", case(name) / "submission.json.gz")
    code, out, err = tada("eval", "--dataset", "ek100-detection", *files, "--format", "json")
    report = json.loads(out)
    assert code == (0 if 2 * report["num_scored"] > report["num_items"] else 3)
    official = json.loads((case(name) / "official.json").read_text())
    for task in ("verb", "noun", "action"):
        np.testing.assert_allclose(report["metrics"][task]["mAP"], official[task]["mAP"], rtol=0, atol=TOLERANCE)
        assert report["metrics"][task]["avg_mAP"] == pytest.approx(official[task]["avg_mAP"], abs=TOLERANCE)
        by_class = {str(each["index"]): each["AP"] for each in report["tasks"][task]["per_class"]}
        assert by_class.keys() == official[task]["ap_per_class"].keys()
        for index, values in official[task]["ap_per_class"].items():
            np.testing.assert_allclose(by_class[index], values, rtol=0, atol=TOLERANCE)
    assert f"{report['num_scored']} of {report['num_items']} videos scored" in err


@pytest.mark.parametrize("name", ["anet_small", "anet_medium"])
def test_activitynet_detections_get_the_official_map(tada: Tada, name: str) -> None:
    files = ("--annotations", case(name) / "gt.json.gz", "--predictions", case(name) / "pred.json.gz")
    code, out, _ = tada("eval", "--dataset", "activitynet", *files, "--format", "json")
    assert code == 0
    found = json.loads(out)["metrics"]["all"]
    official = json.loads((case(name) / "official.json").read_text())
    np.testing.assert_allclose(found["mAP"], official["mAP"], rtol=0, atol=TOLERANCE)
    by_class = {each["label"]: each["AP"] for each in json.loads(out)["tasks"]["all"]["per_class"]}
    assert by_class.keys() == official["ap_per_class"].keys()
    for label, values in official["ap_per_class"].items():
        np.testing.assert_allclose(by_class[label], values, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("form", ["json", "csv", "table"])
@pytest.mark.parametrize(
    ("dataset", "name", "truth", "found", "tiou"),
    [
        ("ek100-detection", "edge_iou_on_threshold", "gt.csv.gz", "submission.json.gz", "0.1:0.1:0.5"),
        ("activitynet", "anet_small", "gt.json.gz", "pred.json.gz", "0.5:0.05:0.95"),
    ],
)
def test_the_official_thresholds_may_be_written_out(
    tada: Tada, form: str, dataset: str, name: str, truth: str, found: str, tiou: str
) -> None:
    files = ("--annotations", case(name) / truth, "--predictions", case(name) / found, "--format", form)
    usual = tada("eval", "--dataset", dataset, *files)
    assert usual[0] == 0
    assert tada("eval", "--dataset", dataset, *files, "--tiou", tiou) == usual


@pytest.mark.parametrize("number", range(5))
def test_one_threshold_alone_counts_as_among_the_official_ones(tada: Tada, number: int) -> None:
    answers = case("edge_iou_on_threshold")
    official = json.loads((answers / "official.json").read_text())
    files = ("--annotations", answers / "gt.csv.gz", "--predictions", answers / "submission.json.gz")
    asked = ("--tiou", f"0.{number + 1}", "--format", "json")
    _, out, _ = tada("eval", "--dataset", "ek100-detection", *files, *asked)
    for task in ("verb", "noun", "action"):
        (found,) = json.loads(out)["metrics"][task]["mAP"]
        assert found == pytest.approx(official[task]["mAP"][number], abs=TOLERANCE)


def test_other_thresholds_are_scored_by_the_same_rules_and_named(tada: Tada, tmp_path: Path) -> None:
    answers = case("anet_small")
    files = ("--annotations", answers / "gt.json.gz", "--predictions", answers / "pred.json.gz")
    asked = ("--tiou", "0.5,0.75,0.95", "--report", tmp_path / "page.html")
    code, out, err = tada("eval", "--dataset", "activitynet", *files, *asked, "--format", "json")
    assert code == 0
    report = json.loads(out)
    official = json.loads((answers / "official.json").read_text())["mAP"]
    expected = [official[0], official[5], official[9]]
    np.testing.assert_allclose(report["metrics"]["all"]["mAP"], expected, rtol=0, atol=TOLERANCE)
    assert report["metrics"]["all"]["avg_mAP"] == pytest.approx(np.mean(expected), abs=TOLERANCE)
    assert report["metrics"]["all"]["tiou"] == [0.5, 0.75, 0.95]
    assert any("tIoU 0.5,0.75,0.95;" in note for note in report["notes"])
    assert "tIoU 0.5,0.75,0.95;" in err
    assert "tIoU 0.5,0.75,0.95;" in (tmp_path / "page.html").read_text()
    _, table, _ = tada("eval", "--dataset", "activitynet", *files, *asked[:2], "--format", "table")
    assert b"mAP at tIoU   0.50   0.75   0.95    mean" in table
    assert b"note: mAP and avg_mAP are those at tIoU 0.5,0.75,0.95;" in table


@pytest.mark.parametrize(
    ("dataset", "tiou", "message"),
    [
        ("csv", "0.1:0.1:0.5", "--tiou is for detections, and csv is measured by accuracies"),
        ("ek100", "0.5", "--tiou is for detections, and ek100 is measured by accuracies"),
        ("activitynet", "0.5,0.4", "do not rise"),
        ("ek100-detection", "0.1:0.3:0.5", "do not meet their end"),
    ],
)
def test_thresholds_without_a_meaning_are_refused_before_anything_is_read(
    tada: Tada, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dataset: str, tiou: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    files = ("--annotations", "none.csv", "--predictions", "none.json")
    code, out, err = tada("eval", "--dataset", dataset, *files, "--tiou", tiou)
    assert (code, out) == (2, b"")
    first, second = err.splitlines()
    assert message in first
    assert second.startswith("hint: ")


def test_what_detect_wrote_is_a_table_with_its_windows(tada: Tada, untrained: Path, tmp_path: Path) -> None:
    media.render(tmp_path / "a.mp4", 90)
    found, truth = tmp_path / "found.json", tmp_path / "truth.json"
    windows = ("--window", "2s", "--stride", "1s", "--threshold", 0.12)
    assert tada("detect", tmp_path / "a.mp4", "--model", untrained, *windows, "-o", found)[0] == 0
    segments = json.loads(found.read_text())["segments"]
    assert segments
    items = [{"label": each["label"], "segment": [each["start_seconds"], each["end_seconds"]]} for each in segments]
    entry = {"subset": "validation", "duration": 3.0, "annotations": items}
    truth.write_text(json.dumps({"version": "1", "database": {"a": entry}}))
    files = ("--annotations", truth, "--predictions", found)
    code, out, _ = tada("eval", "--dataset", "activitynet", *files, "--format", "table")
    assert code == 0
    lines = out.decode().splitlines()
    assert lines[:2] == [
        "activitynet, validation: 1 of 1 video scored",
        "model r2plus1d_tiny.camera_motion, windows of 2s, stride 1s",
    ]
    # Measured against itself, all is right at every threshold.
    assert "all        " + 10 * " 1.0000" + "  1.0000" in lines


def test_epic_recognition_gets_the_official_accuracies(tada: Tada, tmp_path: Path) -> None:
    scores = np.load(case("rec_small") / "scores.npz")
    table = {}
    for part, classes in (("verb", 97), ("noun", 300)):
        if f"{part}_output" in scores:
            table[part] = scores[f"{part}_output"]
        else:
            table[part] = np.tile(scores[f"{part}_base"], (len(scores["narration_id"]), 1))
            table[part][scores[f"{part}_rows"], scores[f"{part}_cols"]] = scores[f"{part}_vals"]
        assert table[part].shape[1] == classes
    results = {
        str(name): {part: {str(i): float(v) for i, v in enumerate(table[part][row])} for part in table}
        for row, name in enumerate(scores["narration_id"])
    }
    header = {"version": "0.2", "challenge": "action_recognition", "sls_pt": 2, "sls_tl": 3, "sls_td": 3}
    (tmp_path / "scores.json").write_text(json.dumps({**header, "results": results}))
    files = ("--annotations", shared_folder() / "ek100", "--predictions", tmp_path / "scores.json")
    code, out, err = tada("eval", "--dataset", "ek100", *files, "--format", "json")
    assert (code, err.splitlines()[-1]) == (3, f"{len(results)} of 9668 actions scored")
    found = json.loads(out)["metrics"]
    official = json.loads((case("rec_small") / "official.json").read_text())["float64"]["metrics"]
    assert found == pytest.approx(official, rel=0, abs=TOLERANCE)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--annotations", "none.csv", "--predictions", "none.json"], "none.csv"),
        (["--annotations", "bad.csv", "--predictions", "none.json"], "bad.csv"),
    ],
)
def test_files_that_are_not_what_they_should_be_are_named(
    tada: Tada, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.csv").write_text("a,b\n1,2\n")
    code, out, err = tada("eval", "--dataset", "ek100-detection", *arguments)
    assert code in (1, 2)
    assert out == b""
    assert message in err.splitlines()[0]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--predictions", "p.jsonl", "--views", "2x1"], "--views"),
        (["--predictions", "p.jsonl", "--weights", "w.pyth"], "--weights"),
        (["--merge", "p.jsonl", "--shard", "1/2"], "--shard"),
        (["--check", "--save-predictions", "p.jsonl"], "--save-predictions"),
        (["--check", "--report", "p.html"], "--report"),
        (["--check", "--predictions", "p.jsonl"], "--check"),
    ],
)
def test_options_that_would_do_nothing_are_refused(
    tada: Tada, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], named: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = tada("eval", "--dataset", "csv", "--annotations", "a.csv", *arguments)
    assert (code, out) == (2, b"")
    assert named in err
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_goes_away_ends_the_command_quietly(tmp_path: Path, closed_pipe: int) -> None:
    answers = case("anet_small")
    files = ("--annotations", answers / "gt.json.gz", "--predictions", answers / "pred.json.gz", "--quiet")
    command = [sys.executable, "-m", "tadacli", "eval", "--dataset", "activitynet", *map(str, files)]
    done = subprocess.run(command, stdout=closed_pipe, stderr=subprocess.PIPE, cwd=tmp_path, check=False)
    assert (done.stderr, done.returncode) == (b"", 141)


def test_two_outputs_of_one_name_are_refused(tada: Tada, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    files = ("-o", "report.json", "--report", tmp_path / "report.json")
    code, _, err = tada("eval", "--dataset", "csv", "--annotations", "a.csv", *files)
    assert code == 2
    assert "same name" in err


# --- scoring that scores nothing ---------------------------------------------------------------------------


@pytest.mark.parametrize("num_there", [4, 3, 2, 0])
def test_predictions_without_half_of_the_videos_are_no_success(tada: Tada, tmp_path: Path, num_there: int) -> None:
    item = {"label": "a", "segment": [0.0, 10.0]}
    entry = {"subset": "validation", "duration": 20.0, "annotations": [item]}
    truth, found = tmp_path / "truth.json", tmp_path / "found.json"
    truth.write_text(json.dumps({"version": "1", "database": dict.fromkeys("wxyz", entry)}))
    results = {video: [{**item, "score": 1.0}] for video in "wxyz"[:num_there]}
    found.write_text(json.dumps({"version": "1", "external_data": {}, "results": results}))
    code, out, err = tada(
        "eval", "--dataset", "activitynet", "--annotations", truth, "--predictions", found, "--format", "json"
    )
    assert code == (0 if num_there > 2 else 3)
    assert json.loads(out)["num_scored"] == num_there
    assert f"{num_there} of 4 videos scored" in err


@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_a_check_of_no_samples_is_no_success(tada: Tada, tmp_path: Path, form: str) -> None:
    (tmp_path / "validation.csv").write_text("label,youtube_id,time_start,time_end,split\nabseiling,a,1,11,train\n")
    (tmp_path / "videos").mkdir()
    data = ("--annotations", tmp_path / "validation.csv", "--data-root", tmp_path / "videos")
    code, out, err = tada("eval", "--dataset", "k400", *data, "--check", "--format", form)
    assert code == 3
    assert b"no problems" not in out
    assert "nothing was checked of validation: no samples were found" in err
    code, out, err = tada("eval", "--dataset", "k400", *data, "--save-predictions", tmp_path / "scores.jsonl")
    assert (code, out) == (2, b"")
    assert not (tmp_path / "scores.jsonl").exists()


def test_labels_that_hold_together_are_measured_by_class(
    tada: Tada, tmp_path: Path, multi_label: Path, untrained: Path
) -> None:
    for name in ("a", "b"):
        media.render(tmp_path / f"{name}.mp4", 40)
    rows = "a.mp4,pan left,0,1\na.mp4,zoom in,0,1\nb.mp4,static,,\nb.mp4,zoom in,,\n"
    (tmp_path / "own.csv").write_text(f"path,label,start,end\n{rows}")
    common = ("eval", "--dataset", "csv", "--annotations", tmp_path / "own.csv", "--format", "json")
    kept = tmp_path / "kept.jsonl"
    code, out, err = tada(*common, "--model", multi_label, "--views", "1x1", "--save-predictions", kept)
    assert code == 0, err
    report = json.loads(out)
    shown = {each["label"]: each["num_items"] for each in report["classes"] if each["num_items"]}
    assert shown == {"static": 1, "pan left": 1, "zoom in": 2}
    assert set(report["metrics"]) == {"mAP", "mAP_by_chance", "hit1"}
    assert report["run"]["spec"]["multi_label"] is True
    check("eval", report)
    again = json.loads(tada(*common, "--predictions", kept)[1])
    assert (again["metrics"], again["classes"]) == (report["metrics"], report["classes"])
    code, _, err = tada(*common, "--model", untrained, "--views", "1x1")
    assert code == 2
    assert "more than one label" in err


def test_a_model_that_tells_which_label_holds_is_not_measured_on_several(untrained: Path) -> None:
    model = load_model(untrained, device="cpu")
    samples = (Sample("a", None, {"": 0}, others=(HeldLabel(1),)),)
    dataset = Dataset("mine", model.spec.heads, samples, multi_label=True)
    with pytest.raises(UsageError, match="samples of mine have several labels"):
        evaluate(dataset, model=model)
