"""Saved predictions become columns that say what the file says, or an error that says where it does not."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tadacli.errors import UsageError
from tadacli.evaluation.readers.activitynet import read_activitynet, relabelled
from tadacli.evaluation.readers.epic import read_epic_detections, read_recognition
from tadacli.evaluation.readers.own_results import read_classifications
from tests.media import shared_folder

RNG = np.random.default_rng(7)
IDS = ["P01_11_0", "P01_11_10", "P02_09_3"]
VERB = RNG.normal(size=(3, 97)).astype(np.float32)
NOUN = RNG.normal(size=(3, 300)).astype(np.float32)
COLUMNS = {"verb_output": VERB, "noun_output": NOUN, "narration_id": np.array(IDS)}


def rows(make: Any = lambda array: array) -> list[dict[str, Any]]:
    return [
        {"verb_output": make(verb), "noun_output": make(noun), "narration_id": name}
        for verb, noun, name in zip(VERB, NOUN, IDS, strict=True)
    ]


def save(path: Path, value: Any) -> Path:
    plain = path.with_suffix("") if path.suffix == ".gz" else path
    if plain.suffix == ".pt":
        torch.save(value, plain)
    elif plain.suffix == ".pkl":
        plain.write_bytes(pickle.dumps(value))
    else:
        plain.write_text(json.dumps(value))
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(plain.read_bytes()))
    return path


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("a.pkl", rows()),
        ("a.pkl.gz", rows()),
        ("a.pkl", COLUMNS),
        ("a.pkl", {**COLUMNS, "narration_id": np.array(IDS, dtype=object)}),
        ("a.pkl", rows(lambda array: array.tolist())),
        ("a.pt", rows(torch.from_numpy)),
        ("a.pt.gz", rows(torch.from_numpy)),
        ("a.pt", {"verb_output": torch.from_numpy(VERB), "noun_output": torch.from_numpy(NOUN), "narration_id": IDS}),
        ("a.pt", COLUMNS),
    ],
)
def test_recognition_scores(tmp_path: Path, name: str, value: Any) -> None:
    table = read_recognition(save(tmp_path / name, value))
    assert table.ids.tolist() == IDS
    assert np.array_equal(table.scores["verb"], VERB)
    assert np.array_equal(table.scores["noun"], NOUN)


def test_scores_keep_the_type_they_were_saved_in(tmp_path: Path) -> None:
    double = {**COLUMNS, "verb_output": VERB.astype(np.float64)}
    table = read_recognition(save(tmp_path / "a.pkl", double))
    assert (table.scores["verb"].dtype, table.scores["noun"].dtype) == (np.float64, np.float32)
    half = read_recognition(save(tmp_path / "a.pt", rows(lambda array: torch.from_numpy(array).bfloat16())))
    assert half.scores["verb"].dtype == np.float32


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ([], "no entries, and no array to hold them"),
        ({**COLUMNS, "narration_id": IDS[:2]}, "fewer ids than rows"),
        ({**COLUMNS, "verb_output": VERB[:, :96]}, "a class is missing"),
        ({**COLUMNS, "verb_output": VERB * np.inf}, "infinite scores"),
        ({"verb_output": VERB, "narration_id": IDS}, "no nouns"),
        ([{"verb_output": VERB[0]}], "an entry without an id"),
        ({**COLUMNS, "narration_id": [1, 2, 3]}, "ids that are numbers"),
        ({**COLUMNS, "narration_id": [IDS[0], IDS[0], IDS[1]]}, "an id twice"),
        (17, "a number"),
    ],
)
def test_recognition_scores_that_are_not_so(tmp_path: Path, value: Any, why: str) -> None:
    if value == []:
        assert len(read_recognition(save(tmp_path / "a.pkl", value)).ids) == 0, why
        return
    with pytest.raises(UsageError) as caught:
        read_recognition(save(tmp_path / "a.pkl", value))
    assert caught.value.message, why


class _Runs:
    def __init__(self, command: str) -> None:
        self._command = command

    def __reduce__(self) -> Any:
        return os.system, (self._command,)


@pytest.mark.parametrize("name", ["a.pkl", "a.pt", "a.pkl.gz", "a.pt.gz"])
def test_a_file_that_would_run_a_program_is_refused(tmp_path: Path, name: str) -> None:
    trace = tmp_path / "trace"
    file = save(tmp_path / name, [{**rows()[0], "extra": _Runs(f"touch {trace}")}])
    with pytest.raises(UsageError, match="refused"):
        read_recognition(file)
    assert not trace.exists()


def challenge() -> dict[str, Any]:
    results = {
        name: {
            "verb": dict(zip(map(str, range(97)), map(float, verb), strict=True)),
            "noun": dict(zip(map(str, range(300)), map(float, noun), strict=True)),
        }
        for name, verb, noun in zip(IDS, VERB, NOUN, strict=True)
    }
    return {
        "version": "0.2",
        "challenge": "action_recognition",
        "sls_pt": 2,
        "sls_tl": 3,
        "sls_td": 4,
        "results": results,
    }


@pytest.mark.parametrize("name", ["test.json", "test.json.gz", "upload.zip"])
def test_the_challenge_form(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    if file.suffix == ".zip":
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("test.json", json.dumps(challenge()))
    else:
        save(file, challenge())
    table = read_recognition(file)
    assert table.ids.tolist() == IDS
    assert np.array_equal(table.scores["noun"], NOUN.astype(np.float64))


@pytest.mark.parametrize("change", ["version", "challenge", "class", "score", "head", "extra class"])
def test_challenge_files_that_are_not_so(tmp_path: Path, change: str) -> None:
    content = challenge()
    entry = content["results"][IDS[1]]
    if change == "version":
        content["version"] = 0.2
    elif change == "challenge":
        content["challenge"] = "action_detection"
    elif change == "class":
        entry["verb"]["097"] = entry["verb"].pop("96")
    elif change == "score":
        entry["verb"]["5"] = None
    elif change == "head":
        del entry["noun"]
    else:
        entry["verb"]["97"] = 0.0
    with pytest.raises(UsageError, match=IDS[1] if change not in ("version", "challenge") else change):
        read_recognition(save(tmp_path / "a.json", content))


def test_every_verdict_of_the_official_validator(tmp_path: Path) -> None:
    cases = json.loads((shared_folder() / "golden_eval/validation_cases.json").read_text())["cases"]
    for case in cases:
        file = save(tmp_path / "a.json", case["submission"])
        if case["accepted"] and case["loads"]:
            entries = [entry for listed in case["submission"]["results"].values() for entry in listed]
            assert len(read_epic_detections(file).scores) == len(entries), case["name"]
        else:
            with pytest.raises(UsageError, match="would refuse"):
                read_epic_detections(file)


def test_detections_become_columns() -> None:
    case = shared_folder() / "golden_eval/edge_action_disagrees_open/submission.json.gz"
    results = json.loads(gzip.decompress(case.read_bytes()))["results"]
    entries = [(video, entry) for video, listed in results.items() for entry in listed]
    read = read_epic_detections(case)
    assert read.video_ids.tolist() == [video for video, _ in entries]
    assert read.result_videos == tuple(results)
    for number, (_, entry) in enumerate(entries):
        verb, noun = entry["action"].split(",")
        assert read.classes["action"][number] == int(verb) * 300 + int(noun)
        assert read.classes["verb"][number] == entry["verb"]
        assert read.classes["noun"][number] == entry["noun"]
        assert [read.starts[number], read.ends[number]] == entry["segment"]
        assert read.scores[number] == entry["score"]


def anet(**results: Any) -> dict[str, Any]:
    return {"version": "1.3", "external_data": {}, "results": results}


def test_activitynet_predictions(tmp_path: Path) -> None:
    run, walk = {"label": "run", "score": 0.5, "segment": [1, 2]}, {"label": "walk", "score": 0.25, "segment": [3, 4]}
    read = read_activitynet(save(tmp_path / "a.json.gz", anet(b=[walk, run], a=[], c=[run])))
    assert read.labels == ("run", "walk")
    assert read.classes[""].tolist() == [1, 0, 0]
    assert read.video_ids.tolist() == ["b", "b", "c"]
    assert read.result_videos == ("b", "a", "c")
    both = relabelled(read, ("walk", "jump", "run"))
    assert both.classes[""].tolist() == [0, 2, 2]
    assert tuple(map(str, both.notes)) == ()
    some = relabelled(read, ("jump", "run"))
    assert (some.classes[""].tolist(), some.starts.tolist()) == ([1, 1], [1.0, 1.0])
    assert str(some.notes[0]).startswith("1 of 3 predictions are left out")
    with pytest.raises(UsageError, match="none of the predicted labels"):
        relabelled(read, ("jump",))
    assert len(relabelled(read_activitynet(save(tmp_path / "a.json", anet(a=[]))), ("jump",)).scores) == 0
    bare = read_activitynet(save(tmp_path / "a.json", {"results": {"a": [run]}}))
    assert len(bare.notes) == 2


@pytest.mark.parametrize(
    "entry",
    [
        {"score": 0.5, "segment": [1, 2]},
        {"label": "run", "score": "0.5", "segment": [1, 2]},
        {"label": "run", "score": float("nan"), "segment": [1, 2]},
        {"label": "run", "score": 0.5, "segment": [1, float("nan")]},
    ],
)
def test_activitynet_predictions_that_are_not_so(tmp_path: Path, entry: Any) -> None:
    with pytest.raises(UsageError, match="video a, prediction 0"):
        read_activitynet(save(tmp_path / "a.json", anet(a=[entry])))


def result(path: str, *indices: int, **changes: Any) -> dict[str, Any]:
    best = [{"label": str(index), "index": index, "score": 0.5 / rank} for rank, index in enumerate(indices, start=1)]
    row = {"path": path, "status": "ok", "error": None, "model": "m", "spec": {"heads": {"": 9}}, "topk": best}
    return {**row, **changes}


RESULTS = [result("a.mp4", 3, 1), result("b.mp4", 4), result("c.mp4", status="error", error="no video")]


@pytest.mark.parametrize("form", ["jsonl", "json", "jsonl.gz"])
def test_our_own_results(tmp_path: Path, form: str) -> None:
    lines = [json.dumps(row) for row in RESULTS]
    text = "\n".join(lines) + "\n" if form.startswith("jsonl") else '{"results": [\n' + ",\n".join(lines) + "\n]}\n"
    file = tmp_path / f"a.{form}"
    file.write_bytes(gzip.compress(text.encode()) if form.endswith("gz") else text.encode())
    read = read_classifications(file)
    assert read.paths.tolist() == ["a.mp4", "b.mp4"]
    assert read.indices.tolist() == [[3, 1], [4, -1]]
    assert np.array_equal(read.scores, [[0.5, 0.25], [0.5, np.nan]], equal_nan=True)
    assert (read.depth, read.num_classes, read.failed) == (1, 9, {"c.mp4": "no video"})
    assert "top-1" in str(read.notes[0])


def test_the_best_of_two_heads_are_refused(tmp_path: Path) -> None:
    heads = {name: [{"index": index, "score": 1.0, "label": "x"}] for name, index in (("verb", 5), ("noun", 250))}
    row = result("a.mp4", heads=heads, spec={"heads": {"verb": 97, "noun": 300}})
    del row["topk"]
    with pytest.raises(UsageError, match="do not tell the best actions"):
        read_classifications(save(tmp_path / "a.json", row))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ([result("a.mp4", 9)], "result 1"),
        ([result("a.mp4", 1), result("a.mp4", 1)], "two results of a.mp4"),
        ([result("a.mp4", 1), result("b.mp4", 1, model="n")], "result 2"),
        ([result("a.mp4", 1, segments=[])], "tada detect"),
        ([{"path": "a.mp4"}], "result 1"),
        ([], "no results"),
    ],
)
def test_results_that_are_not_so(tmp_path: Path, changed: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_classifications(save(tmp_path / "a.json", {"results": changed}))


def test_an_unfinished_file_of_results_is_said_to_be_one(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text(json.dumps(RESULTS[0]) + "\n" + json.dumps(RESULTS[1])[:40])
    with pytest.raises(UsageError) as caught:
        read_classifications(file)
    assert "unfinished" in caught.value.hint
    file.write_text("path,status,error\n")
    with pytest.raises(UsageError, match="CSV"):
        read_classifications(file)
