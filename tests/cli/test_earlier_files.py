"""What earlier versions left on disks is still read, goes on, and gives the same answers.

The files lie in tests/earlier_files and are never made anew; make_earlier_files.py there shows how version 0.1.0 made
them. Answers that are computed again may differ in the last digits, from one processor or library to another.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from torch.torch_version import TorchVersion

import tadacli
from tests.cli.conftest import Tada

FOLDER = Path(__file__).parents[1] / "earlier_files"
VERSION = "0.1.0"
LABELS = ("left", "right", "up")
MODEL = "model.safetensors"
ON_CPU = ("--device", "cpu")
DETECTION = ("--model", MODEL, *ON_CPU, "--window", "0.4s", "--stride", "0.2s", "--threshold", "0.5")
DATASET = ("--dataset", "folder", "--data-root", "clips")
STEPS = ("--epochs", 3, "--batch-size", 4, "--learning-rate", 0.01, "--workers", 0, *ON_CPU)
TRAINING = ("finetune", "--data", "clips", "--model", MODEL, *STEPS, "--set", "warmup_epochs=0", "-o", "mine")
# A file that was begun is continued by the version that began it alone, so that all of it is made in one way.
same_version = pytest.mark.skipif(tadacli.__version__ != VERSION, reason=f"only {VERSION} goes on with these files")


@pytest.fixture(autouse=True)
def earlier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the files, as the current folder."""
    folder = tmp_path / "earlier"
    shutil.copytree(FOLDER, folder)
    monkeypatch.chdir(folder)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield folder
    torch.set_num_threads(before)


@pytest.fixture
def _libraries_as_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """The versions of libraries belong to what a file was made with: they are said to be those of then."""
    versions = read("classified.jsonl")[0]["settings"]["versions"]
    monkeypatch.setattr(torch, "__version__", TorchVersion(versions["torch"]))
    monkeypatch.setattr(av, "__version__", versions["av"])


def read(name: str) -> list[dict[str, Any]]:
    """The rows of a results file in jsonl or json."""
    text = Path(name).read_text(encoding="utf-8")
    if name.endswith(".jsonl"):
        return [json.loads(line) for line in text.splitlines()]
    found = json.loads(text)
    return found if isinstance(found, list) else [found]


def close_to(value: Any) -> Any:
    """An answer, JSON-like, in which numbers may differ by rounding."""
    if isinstance(value, dict):
        return {key: close_to(each) for key, each in value.items()}
    if isinstance(value, list):
        return [close_to(each) for each in value]
    return pytest.approx(value, abs=1e-4) if isinstance(value, float) else value


def as_then(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Results without what was not written then."""
    parts = [{key: each for key, each in row.items() if key not in ("peak_score", "schema_version")} for row in rows]
    return [{**row, "segments": as_then(row["segments"])} if "segments" in row else row for row in parts]


def in_csv(content: bytes) -> list[dict[str, Any]]:
    """The rows of a CSV, with scores as numbers."""
    rows: list[dict[str, Any]] = list(csv.DictReader(io.StringIO(content.decode(), newline="")))
    return [{**row, "score": float(row["score"])} for row in rows]


def files_in(folder: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


# --- models ---------------------------------------------------------------------------------------------------


def test_a_weights_file_is_a_model_with_its_labels_and_answers() -> None:
    model = tadacli.load_model(MODEL, device="cpu")
    assert dict(model.spec.heads) == {"": LABELS}
    assert (model.spec.name, model.spec.architecture) == ("untrained.model", "r2plus1d_tiny")
    for row in read("classified.jsonl"):
        (found,) = tadacli.classify(row["path"], model=model)
        answers = {each.label: each.score for each in found.heads[""]}
        assert answers == pytest.approx({each["label"]: each["score"] for each in row["topk"]}, abs=1e-4)
        assert model.weights_sha256 == row["weights_sha256"]


def test_a_run_is_a_model_with_its_labels_and_the_accuracy_that_was_measured(tada: Tada) -> None:
    model = tadacli.load_model("whole_run", device="cpu")
    assert dict(model.spec.heads) == {"": ("left", "up")}
    assert model.spec.name == "r2plus1d_tiny.mine"
    assert set(model.spec.thresholds) == {""}
    recorded = json.loads(Path("whole_run/eval.json").read_text())
    assert model.weights_sha256 == recorded["run"]["weights_sha256"]
    with Path("whole_run/splits.csv").open(newline="") as file:
        held_out = [row for row in csv.DictReader(file) if row["split"] == "validation"]
    rows = ["path,label", *(f"{row['path']},{row['label']}" for row in held_out)]
    Path("held_out.csv").write_text("\n".join(rows) + "\n")
    told = ("--dataset", "csv", "--annotations", "held_out.csv", "--data-root", ".", "--model", "whole_run", *ON_CPU)
    code, out, err = tada("eval", *told, "--format", "json")
    assert code == 0, err
    found = json.loads(out)
    assert (found["num_scored"], found["metrics"]) == (len(held_out), close_to(recorded["metrics"]))


# --- results --------------------------------------------------------------------------------------------------


@same_version
@pytest.mark.usefixtures("_libraries_as_then")
@pytest.mark.parametrize("suffix", ["csv", "json", "jsonl"])
def test_a_complete_file_of_results_is_known_as_complete(tada: Tada, suffix: str) -> None:
    videos = sorted(Path("clips/left").iterdir())
    name = f"classified.{suffix}"
    before = Path(name).read_bytes()
    code, _, err = tada("classify", *videos, "--model", MODEL, *ON_CPU, "-o", name, "--resume")
    assert code == 0, err
    assert "videos are done" in err
    assert Path(name).read_bytes() == before


@same_version
@pytest.mark.usefixtures("_libraries_as_then")
@pytest.mark.parametrize("suffix", ["csv", "json", "jsonl"])
def test_segments_that_end_in_another_way_are_not_mixed_with_those_of_then(tada: Tada, suffix: str) -> None:
    name = f"found.{suffix}"
    before = Path(name).read_bytes()
    code, _, err = tada("detect", "long.mp4", *DETECTION, "-o", name, "--resume")
    assert code == 1
    assert "was made with other settings" in err
    assert Path(name).read_bytes() == before


@same_version
@pytest.mark.usefixtures("_libraries_as_then")
@pytest.mark.parametrize("suffix", ["csv", "json", "jsonl"])
def test_results_that_were_begun_go_on_to_the_same_end(tada: Tada, suffix: str) -> None:
    name, whole = f"classified_begun.{suffix}", f"classified.{suffix}"
    videos = sorted(Path("clips/left").iterdir())
    code, _, err = tada("classify", *videos, "--model", MODEL, *ON_CPU, "-o", name, "--resume")
    assert code == 0, err
    assert "resuming: 2 of 4 videos are done" in err
    if suffix == "csv":
        found, recorded = in_csv(Path(name).read_bytes()), in_csv(Path(whole).read_bytes())
        assert found == close_to(recorded)
    else:
        found, recorded = (
            [row for each in read(file) for row in each.get("results", [each])] for file in (name, whole)
        )
        assert as_then(found) == close_to(recorded)


@pytest.mark.parametrize("suffix", ["json", "jsonl"])
@pytest.mark.parametrize("target", ["csv", "json", "jsonl", "srt", "vtt", "audacity", "eaf", "activitynet"])
def test_segments_are_converted_with_their_labels_and_times(tada: Tada, suffix: str, target: str) -> None:
    code, out, err = tada("convert", f"found.{suffix}", "--to", target)
    assert code == 0, err
    if target in ("json", "jsonl"):
        assert out == Path(f"found.{target}").read_bytes()
    if target == "csv":
        then = [{**row, "video": row["path"]} for row in in_csv(Path("found.csv").read_bytes())]
        found = in_csv(out)
        assert found == [{key: row[key] for key in found[0]} for row in then]
    for segment in read("found.json")[0]["segments"]:
        assert segment["label"] in out.decode()
    if target == "audacity":
        assert out.decode().startswith("0.000000\t1.400000\tup")


# --- scores of windows ----------------------------------------------------------------------------------------


def test_kept_scores_give_the_segments_of_then(tada: Tada) -> None:
    """With the low threshold that there was: it is half of the threshold no more."""
    told = ("--from-scores", "scores.npz", "--threshold", 0.5, "--low-threshold", 0.25, "--format", "json")
    code, out, err = tada("detect", *told)
    assert code == 0, err
    (row,), (then,) = as_then([json.loads(out)]), read("found.json")
    assert row["segments"] == then["segments"]
    assert {key for key in then if row[key] != then[key]} == {"settings", "run"}
    assert row["settings"]["segments"] == {**then["settings"]["segments"], "low_threshold": 0.25}


def test_kept_scores_give_other_segments_with_other_settings(tada: Tada) -> None:
    options = ("--threshold", 0.5, "--low-threshold", 0.25, "--label", "right", "--format", "json")
    code, out, err = tada("detect", "--from-scores", "scores.npz", *options)
    assert code == 0, err
    assert as_then(json.loads(out)["segments"]) == [
        each for each in read("found.json")[0]["segments"] if each["label"] == "right"
    ]


def test_the_arrays_of_a_score_file_are_where_programs_of_others_look_for_them() -> None:
    with np.load("scores.npz", allow_pickle=False) as file:
        about = json.loads(str(file["about"]))
        assert about["kind"] == "tada window scores 1"
        assert (file["scores"].shape, file["spans"].shape) == ((9, len(LABELS)), (9, 2))


@same_version
@pytest.mark.usefixtures("_libraries_as_then")
def test_a_video_that_was_begun_goes_on_behind_the_windows_that_are_scored(tada: Tada, earlier: Path) -> None:
    journal = Path("found_begun.jsonl.unfinished").read_bytes()
    assert journal.count(b"\n") == 5  # what it is of, and four groups of windows
    Path("other.jsonl.unfinished").write_bytes(journal.splitlines(keepends=True)[0] + _made_up_group(journal))
    for name in ("found_begun.jsonl", "other.jsonl"):
        code, _, err = tada("detect", "long.mp4", *DETECTION, "-o", name, "--resume")
        assert code == 0, err
        assert not (earlier / f"{name}.unfinished").exists()
    code, whole, err = tada("detect", "--from-scores", "scores.npz", "--threshold", 0.5, "--format", "jsonl")
    assert code == 0, err
    assert read("found_begun.jsonl")[0]["segments"] == close_to(json.loads(whole)["segments"])
    # A score that cannot be has come from the journal, so the journal is what was read.
    assert max(each["score"] for each in read("other.jsonl")[0]["segments"]) > 1


def _made_up_group(journal: bytes) -> bytes:
    """The line of the first group of windows with the scores 7, 0, 0."""
    group = json.loads(journal.splitlines()[1].partition(b" ")[2])
    shape, _ = group["scores"][""]
    values = np.tile(np.array([7, 0, 0], dtype="<f4"), (shape[0], 1))
    group["scores"][""] = [shape, base64.b64encode(values.tobytes()).decode()]
    line = json.dumps(group).encode()
    return hashlib.sha256(line).hexdigest()[:16].encode() + b" " + line + b"\n"


# --- predictions ----------------------------------------------------------------------------------------------


def without_new_fields(found: Any, recorded: Any) -> Any:
    """What was found, without the fields that no report had then."""
    if isinstance(found, dict) and isinstance(recorded, dict):
        return {key: without_new_fields(value, recorded[key]) for key, value in found.items() if key in recorded}
    if isinstance(found, list) and isinstance(recorded, list) and len(found) == len(recorded):
        return list(map(without_new_fields, found, recorded))
    return found


def test_predictions_are_scored_as_they_were(tada: Tada) -> None:
    code, out, err = tada("eval", *DATASET, "--predictions", "predictions.jsonl", "--format", "json")
    assert code == 0, err
    recorded = json.loads(Path("report.json").read_text())
    assert without_new_fields(json.loads(out), recorded) == recorded


def test_predictions_that_were_begun_are_scored_as_far_as_they_go(tada: Tada) -> None:
    code, out, err = tada("eval", *DATASET, "--predictions", "predictions_begun.jsonl", "--format", "json")
    assert code == 3, err
    found = json.loads(out)
    assert (found["num_scored"], found["num_items"]) == (3, 8)
    assert found["reasons"] == {"it has no prediction": 5}


@same_version
@pytest.mark.usefixtures("_libraries_as_then")
def test_predictions_that_were_begun_go_on_to_the_same_end(tada: Tada) -> None:
    name = "predictions_begun.jsonl"
    kept = Path(name).read_bytes().rpartition(b"\n")[0]
    told = (*DATASET, "--model", MODEL, *ON_CPU, "--save-predictions", name, "--resume", "--format", "json")
    code, out, err = tada("eval", *told)
    assert code == 0, err
    assert "3 of 8 items are done" in err
    assert Path(name).read_bytes().startswith(kept)
    assert read(name) == close_to(read("predictions.jsonl"))
    assert json.loads(out)["metrics"]["top1"] == json.loads(Path("report.json").read_text())["metrics"]["top1"]


# --- runs -----------------------------------------------------------------------------------------------------


def test_a_run_that_ended_is_known_as_ended(tada: Tada) -> None:
    Path("whole_run").rename("mine")
    before = files_in("mine")
    code, _, err = tada(*TRAINING, "--resume")
    assert code == 0, err
    assert ", epoch" not in err
    after = files_in("mine")
    for name in ("checkpoint.pt", "last.safetensors", "log.csv", "recipe.toml", "run.json", "splits.csv"):
        assert after[name] == before[name], name
    now, then = (json.loads(files["eval.json"])["metrics"] for files in (after, before))
    assert now == close_to(then)


def test_a_run_that_was_stopped_goes_on_to_the_same_end(tada: Tada) -> None:
    Path("stopped_run").rename("mine")
    begun = Path("mine/log.csv").read_bytes()
    code, _, err = tada(*TRAINING, "--resume")
    assert code == 0, err
    assert "step 2, epoch" not in err
    assert "step 5, epoch" in err
    log = Path("mine/log.csv").read_bytes()
    assert log.startswith(begun)
    assert len(log.splitlines()) == len(Path("whole_run/log.csv").read_bytes().splitlines())
    found, recorded = (tadacli.load_model(f"{name}/last.safetensors", device="cpu") for name in ("mine", "whole_run"))
    weights = found.network.state_dict()
    for key, tensor in recorded.network.state_dict().items():
        torch.testing.assert_close(weights[key], tensor, rtol=0, atol=1e-3)


def test_a_run_is_not_continued_with_other_settings(tada: Tada) -> None:
    Path("stopped_run").rename("mine")
    before = files_in("mine")
    code, _, err = tada(*TRAINING, "--resume", "--set", "mixup=0.5")
    assert code == 1
    assert "recipe.mixup was 0.0, is 0.5" in err
    assert files_in("mine") == before


def test_the_recipe_of_a_run_is_a_recipe(tada: Tada) -> None:
    told = ("--data", "clips", "--model", MODEL, "--recipe", "whole_run/recipe.toml", *ON_CPU, "--workers", 0)
    code, out, err = tada("finetune", *told, "--dry-run")
    assert code == 0, err
    assert "steps: 5 of 4 clips (3 epochs" in out.decode()
