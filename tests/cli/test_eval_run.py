"""`tada eval` with a model: made-up data sets of known accuracy, from annotations to the report."""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tadacli.specs import label_list
from tests import trees
from tests.cli.conftest import Tada, heed_interrupts
from tests.media import shared_folder
from tests.trees import Tree

EPIC_HEADS = {"verb": label_list("ek100_verbs"), "noun": label_list("ek100_nouns")}
PERCENT_TOLERANCE = 1e-9
NUM_KILLS = 2
# Enough views for every item to take a while, so that a run can be stopped in the middle.
SLOW = ("--views", "8x1", "--workers", 2)


@pytest.fixture(scope="module")
def k400(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    return trees.kinetics(tmp_path_factory.mktemp("k400"), label_list("kinetics400"))


@pytest.fixture(scope="module")
def ssv2(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    return trees.ssv2(tmp_path_factory.mktemp("ssv2"), label_list("ssv2"), suffix=".webm", with_label=False)


@pytest.fixture(scope="module")
def ssv2_with_label(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    folder = tmp_path_factory.mktemp("ssv2_with_label")
    return trees.ssv2(folder, label_list("ssv2"), suffix=".mp4", with_label=True, num_items=40)


@pytest.fixture(scope="module")
def ek100(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    return trees.epic(tmp_path_factory.mktemp("ek100"), EPIC_HEADS)


@pytest.fixture(scope="module")
def ek100_jpegs(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    return trees.epic(tmp_path_factory.mktemp("ek100_jpegs"), EPIC_HEADS, jpegs=True)


@dataclass(frozen=True)
class Run:
    """What `tada eval` did with a data set: the report's bytes and the file of predictions."""

    code: int
    out: bytes
    err: str
    saved: Path

    @property
    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found


@pytest.fixture(scope="module")
def runs() -> dict[str, Run]:
    """One run of each data set, by its folder, shared by the tests that only look at it."""
    return {}


@pytest.fixture
def run_of(tada: Tada, runs: dict[str, Run], tmp_path_factory: pytest.TempPathFactory) -> Callable[[Tree], Run]:
    def call(tree: Tree) -> Run:
        key = str(tree.root)
        if key not in runs:
            saved = tmp_path_factory.mktemp("run") / "scores.jsonl"
            runs[key] = Run(*tada("eval", *tree.options, "--save-predictions", saved, "--format", "json"), saved)
        return runs[key]

    return call


def lines(path: Path) -> list[dict[str, Any]]:
    """The items in a file of predictions."""
    return [json.loads(line) for line in path.read_bytes().splitlines()[1:]]


# --- accuracy ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["k400", "ssv2", "ssv2_with_label"])
def test_a_tree_gets_the_accuracy_it_was_made_for(
    run_of: Callable[[Tree], Run], name: str, request: pytest.FixtureRequest
) -> None:
    tree: Tree = request.getfixturevalue(name)
    run = run_of(tree)
    code, report, err = run.code, run.report, run.err
    good = [trees.wanted_rank(number) for number, item in enumerate(tree.ids) if item in tree.good]
    num_right, num_within = sum(rank == 0 for rank in good), sum(rank < 5 for rank in good)
    assert 0 < num_right < num_within < len(good) < len(tree.ids)
    assert code == 3
    assert (report["dataset"], report["split"]) == (tree.dataset, "validation")
    assert (report["num_scored"], report["num_items"]) == (len(good), len(tree.ids))
    assert f"{len(good)} of {len(tree.ids)} videos scored" in err
    metrics = report["metrics"]
    assert metrics["top1"] == pytest.approx(100 * num_right / len(good), abs=PERCENT_TOLERANCE)
    assert metrics["top5"] == pytest.approx(100 * num_within / len(good), abs=PERCENT_TOLERANCE)
    by_class: dict[int, list[bool]] = {}
    for number, item in enumerate(tree.ids):
        if item in tree.good:
            by_class.setdefault(tree.labels[item][""], []).append(trees.wanted_rank(number) == 0)
    mean = 100 * sum(sum(hits) / len(hits) for hits in by_class.values()) / len(by_class)
    assert metrics["mean_class_accuracy"] == pytest.approx(mean, abs=PERCENT_TOLERANCE)
    rows = {row["index"]: row for row in report["heads"][""]["per_class"] if row["num_items"]}
    assert {index: (row["num_right"], row["num_items"]) for index, row in rows.items()} == {
        index: (sum(hits), len(hits)) for index, hits in by_class.items()
    }


@pytest.mark.parametrize("name", ["k400", "ssv2", "ssv2_with_label", "ek100", "ek100_jpegs"])
def test_every_item_that_is_not_scored_is_listed_with_its_reason(
    run_of: Callable[[Tree], Run], name: str, request: pytest.FixtureRequest
) -> None:
    tree: Tree = request.getfixturevalue(name)
    run = run_of(tree)
    code, report, err = run.code, run.report, run.err
    unscored = {item["id"]: item["reason"] for item in report["unscored"]}
    assert code == 3
    assert list(unscored) == [item for item in tree.ids if item not in tree.good]
    assert len(unscored) >= max(3, len(tree.ids) // 20)
    said = " ".join(unscored.values())
    kinds = ("missing", "empty", "text") if tree.dataset == "ek100" else ("missing", "empty", "text", "cut")
    for kind in kinds:
        assert trees.REASONS[kind] in said
        assert trees.REASONS[kind] in err
    for item, reason in unscored.items():
        if item in tree.answers:
            name_only = Path(tree.answers[item].path).name
            where = next(each["path"] for each in report["unscored"] if each["id"] == item)
            assert Path(where).name == name_only
            assert reason == tree.answers[item].error.replace(tree.answers[item].path, where)
    assert sum(report["reasons"].values()) == len(unscored) == report["num_items"] - report["num_scored"]


@pytest.mark.parametrize("name", ["ek100", "ek100_jpegs"])
def test_verbs_nouns_and_actions_get_the_official_numbers(
    run_of: Callable[[Tree], Run], name: str, request: pytest.FixtureRequest
) -> None:
    tree: Tree = request.getfixturevalue(name)
    report = run_of(tree).report
    assert (report["unit"], report["num_scored"], report["num_items"]) == ("actions", len(tree.good), len(tree.ids))
    expected = official_metrics(tree)
    assert report["metrics"] == pytest.approx(expected, abs=PERCENT_TOLERANCE)
    assert 0 < expected["all_action_accuracy_at_1"] < expected["all_action_accuracy_at_5"] < 100
    assert expected["all_verb_accuracy_at_1"] > expected["all_action_accuracy_at_1"]
    assert not [note for note in report["notes"] if "beside" in note]


def official_metrics(tree: Tree) -> dict[str, float]:
    """The challenge's numbers, item by item: an action is a pair, and pairs rank by the product of probabilities."""
    folder = tree.annotations.parent
    tail = {
        head: {int(row) for row in (folder / f"EPIC_100_tail_{head}s.csv").read_text().split()[1:]}
        for head in EPIC_HEADS
    }
    hits: dict[str, list[bool]] = {}
    for item in tree.good:
        scores, true = tree.scores(item), tree.labels[item]
        products = {
            (verb, noun): a * b
            for verb, a in enumerate(scores["verb"].tolist())
            for noun, b in enumerate(scores["noun"].tolist())
        }
        best = sorted(products, key=lambda pair: -products[pair])[:5]
        ranked = {head: np.argsort(-values, kind="stable").tolist() for head, values in scores.items()}
        in_tail = {head: true[head] in tail[head] for head in tail}
        in_tail["action"] = in_tail["verb"] or in_tail["noun"]
        for task in ("verb", "noun", "action"):
            answer: Sequence[Any] = best if task == "action" else ranked[task]
            right = (true["verb"], true["noun"]) if task == "action" else true[task]
            hits.setdefault(f"all_{task}_accuracy_at_1", []).append(right == answer[0])
            hits.setdefault(f"all_{task}_accuracy_at_5", []).append(right in answer[:5])
            if item.startswith("P18"):
                hits.setdefault(f"unseen_{task}_accuracy_at_1", []).append(right == answer[0])
            if in_tail[task]:
                hits.setdefault(f"tail_{task}_accuracy_at_1", []).append(right == answer[0])
    return {key: 100 * sum(values) / len(values) for key, values in hits.items()}


# --- the same scores as classify ----------------------------------------------------------------------


def test_scores_of_whole_videos_are_those_of_classify_to_the_digit(tada: Tada, k400: Tree, tmp_path: Path) -> None:
    saved = tmp_path / "scores.jsonl"
    tada("eval", *k400.options, "--views", "3x1", "--batch-size", 2, "--save-predictions", saved)
    items = {item["id"]: item for item in lines(saved)}
    assert list(items) == k400.ids
    some = k400.good[::3]
    paths = [items[name]["path"] for name in some]
    asked = ("--views", "3x1", "--batch-size", 2, "--topk", 400, "--format", "jsonl")
    _, out, _ = tada("classify", *paths, "--model", k400.model, *asked)
    rows = {row["path"]: row for row in map(json.loads, out.splitlines())}
    assert len(rows) == len(paths)
    for name in some:
        answers = {each["index"]: each["score"] for each in rows[items[name]["path"]]["topk"]}
        assert items[name]["scores"][""] == [answers[index] for index in range(400)]
        assert items[name]["status"] == rows[items[name]["path"]]["status"]


def test_scores_of_spans_are_those_of_classify_to_the_digit(tada: Tada, ek100: Tree, tmp_path: Path) -> None:
    saved = tmp_path / "scores.jsonl"
    tada("eval", *ek100.options, "--views", "1x3", "--batch-size", 2, "--save-predictions", saved)
    for item in [item for item in lines(saved) if item["status"] != "error"][::9]:
        span = ("--start", item["start_seconds"], "--end", item["end_seconds"])
        asked = ("--views", "1x3", "--batch-size", 2, "--topk", 300, "--format", "jsonl")
        _, out, _ = tada("classify", item["path"], "--model", ek100.model, *span, *asked)
        for head, answers in json.loads(out)["heads"].items():
            by_index = {each["index"]: each["score"] for each in answers}
            assert item["scores"][head] == [by_index[index] for index in range(len(EPIC_HEADS[head]))]


# --- stopping and going on ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def uninterrupted(k400: Tree, tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    """The report and the predictions of a run that nothing stopped."""
    folder = tmp_path_factory.mktemp("whole")
    process = start(k400, folder)
    assert process.wait() == 3
    return (folder / "report.json").read_bytes(), (folder / "scores.jsonl").read_bytes()


def start(tree: Tree, folder: Path, *more: object) -> subprocess.Popen[bytes]:
    """`tada eval` as a process of its own, writing report.json and scores.jsonl into a folder."""
    files = ("--save-predictions", folder / "scores.jsonl", "-o", folder / "report.json")
    command = [sys.executable, "-m", "tadacli", "eval", *tree.options, *SLOW, *files, *more]
    with (folder / "stderr.txt").open("wb") as log:
        return subprocess.Popen([str(part) for part in command], stderr=log, preexec_fn=heed_interrupts)


def wait_for_lines(path: Path, count: int, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        if path.exists() and path.read_bytes().count(b"\n") > count:
            return
        time.sleep(0.001)


def test_a_run_that_is_killed_and_resumed_ends_as_if_nothing_had_happened(
    k400: Tree, uninterrupted: tuple[bytes, bytes], tmp_path: Path
) -> None:
    rng = random.Random(3)
    saved = tmp_path / "scores.jsonl"
    stopped_at = []
    for first in range(2, 34, 32 // NUM_KILLS)[:NUM_KILLS]:
        process = start(k400, tmp_path, *(["--resume"] if saved.exists() else []))
        wait_for_lines(saved, first + rng.randrange(5), process)
        process.kill()
        assert process.wait() == -signal.SIGKILL
        assert not (tmp_path / "report.json").exists()
        stopped_at.append(saved.read_bytes().count(b"\n"))
    assert sorted(set(stopped_at)) == stopped_at, "each run went on from the last one"
    assert stopped_at[-1] < 41
    assert start(k400, tmp_path, "--resume").wait() == 3
    assert "items are done" in (tmp_path / "stderr.txt").read_text()
    assert ((tmp_path / "report.json").read_bytes(), saved.read_bytes()) == uninterrupted


def test_ctrl_c_leaves_a_partial_report_that_resuming_completes(
    k400: Tree, uninterrupted: tuple[bytes, bytes], tmp_path: Path
) -> None:
    saved, partial = tmp_path / "scores.jsonl", tmp_path / "report.unfinished.json"
    for _ in range(5):
        process = start(k400, tmp_path)
        wait_for_lines(saved, 12, process)
        process.send_signal(signal.SIGINT)
        status = process.wait()
        num_done = saved.read_bytes().count(b"\n") - 1
        if num_done < 40:
            break
        for path in tmp_path.iterdir():  # on a busy machine all were done by then
            path.unlink()
    assert (status, partial.exists()) == (130, True), (tmp_path / "stderr.txt").read_text()
    report = json.loads(partial.read_text())
    assert 12 <= num_done < 40
    assert report["num_items"] == 40
    assert report["num_scored"] == sum(item["status"] != "error" for item in lines(saved))
    assert report["reasons"]["it has no prediction"] == 40 - num_done
    assert f"{num_done} of 40 items are done; --resume continues" in (tmp_path / "stderr.txt").read_text()
    assert not (tmp_path / "report.json").exists()
    assert start(k400, tmp_path, "--resume").wait() == 3
    assert (tmp_path / "report.json").read_bytes() == uninterrupted[0]
    assert saved.read_bytes() == uninterrupted[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.json", "scores.jsonl", "stderr.txt"]


@dataclass(frozen=True)
class Reported:
    """A run on three videos of one class that wrote two reports, and all bytes that it left."""

    options: tuple[object, ...]
    files: dict[Path, bytes]

    @property
    def report(self) -> Path:
        return next(path for path in self.files if path.suffix == ".json")


@pytest.fixture
def reported(tada: Tada, tmp_path: Path) -> Reported:
    (tmp_path / "clips" / "static").mkdir(parents=True)
    for number in range(3):
        trees.render(tmp_path / "clips" / "static" / f"{number}.mp4", number, 20)
    names = ("scores.jsonl", "report.json", "page.html")
    saved, report, page = (tmp_path / name for name in names)
    data = ("--dataset", "folder", "--data-root", tmp_path / "clips", "--views", "1x1")
    options = (*data, "--save-predictions", saved, "-o", report, "--report", page)
    assert tada("eval", *options)[0] == 0
    return Reported(options, {path: path.read_bytes() for path in (saved, report, page)})


@pytest.mark.parametrize("lost", [(), (".html",), (".json",), (".json", ".html")])
def test_a_run_that_was_killed_between_its_reports_is_completed(
    tada: Tada, reported: Reported, lost: tuple[str, ...]
) -> None:
    for path in reported.files:
        if path.suffix in lost:
            path.unlink()
    code, _, err = tada("eval", *reported.options, "--resume")
    assert code == 0, err
    assert {path: path.read_bytes() for path in reported.files} == reported.files


def test_a_report_of_something_else_is_not_overwritten_by_resuming(tada: Tada, reported: Reported) -> None:
    reported.report.write_text("mine")
    code, _, err = tada("eval", *reported.options, "--resume")
    assert code == 1
    assert "report.json exists and is not overwritten" in err
    assert reported.report.read_text() == "mine"


def test_a_report_that_is_there_before_its_items_is_refused_before_any_is_scored(
    tada: Tada, reported: Reported, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = next(iter(reported.files))
    begun = b"".join(reported.files[saved].splitlines(keepends=True)[:3])
    saved.write_bytes(begun)
    monkeypatch.setattr("tadacli.evaluation.scoring.open_video", lambda path, **_: pytest.fail(f"{path} was opened"))
    code, _, err = tada("eval", *reported.options, "--resume")
    assert code == 1
    assert "report.json exists and is not overwritten" in err
    assert saved.read_bytes() == begun


@pytest.mark.parametrize("workers", [1, 4])
def test_the_number_of_workers_changes_no_byte(
    tada: Tada, k400: Tree, uninterrupted: tuple[bytes, bytes], tmp_path: Path, workers: int
) -> None:
    saved = tmp_path / "scores.jsonl"
    asked = (*SLOW[:2], "--workers", workers, "--save-predictions", saved, "--format", "json")
    code, out, _ = tada("eval", *k400.options, *asked)
    assert code == 3
    assert (out, saved.read_bytes()) == uninterrupted


def test_only_a_video_that_has_changed_is_scored_again(tada: Tada, k400: Tree, tmp_path: Path) -> None:
    root = tmp_path / "videos"
    shutil.copytree(k400.root, root)
    saved = tmp_path / "scores.jsonl"
    run = (*replace(k400, root=root).options, "--save-predictions", saved)
    tada("eval", *run)
    before = {item["id"]: item for item in lines(saved)}
    mended = next(name for name in k400.ids if "is an empty file" in before[name]["error"])
    changed, removed = k400.good[5], k400.good[6]
    trees.render(Path(before[mended]["path"]), 500, 20)
    trees.render(Path(before[changed]["path"]), 501, 29)
    Path(before[removed]["path"]).unlink()
    code, out, err = tada("eval", *run, "--resume", "--format", "json")
    after = {item["id"]: item for item in lines(saved)}
    assert code == 3
    assert "37 of 40 items are done" in err or "36 of 40 items are done" in err
    assert set(after) == set(before)
    assert [name for name in k400.ids if before[name] != after[name]] == sorted([mended, changed, removed])
    assert (after[mended]["status"], after[changed]["status"], after[removed]["status"]) == ("ok", "ok", "error")
    assert json.loads(out)["num_scored"] == len(k400.good)


# --- shards -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shard_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shards")


@pytest.fixture
def shards(tada: Tada, ek100: Tree, shard_folder: Path) -> list[Path]:
    """The predictions of the three thirds of a data set."""
    files = [shard_folder / f"s{number}.jsonl" for number in (1, 2, 3)]
    for number, file in enumerate(files, start=1):
        if file.exists():
            continue
        _, _, err = tada("eval", *ek100.options, "--shard", f"{number}/3", "--save-predictions", file)
        assert f"shard {number}/3: 14 of 43 items" in err or f"shard {number}/3: 15 of 43 items" in err
    return files


def test_shards_together_give_the_report_of_one_run(
    tada: Tada, run_of: Callable[[Tree], Run], ek100: Tree, shards: list[Path]
) -> None:
    run = run_of(ek100)
    assert sorted(run.saved.read_bytes().splitlines()[1:]) == sorted(
        line for file in shards for line in file.read_bytes().splitlines()[1:]
    )
    _, merged, _ = tada("eval", *ek100.data, "--merge", shards[0], shards[2], shards[1], "--format", "json")
    assert merged == run.out
    code, merged, err = tada("eval", *ek100.data, "--merge", shards[0], shards[2], "--format", "json")
    report = json.loads(merged)
    assert code == 3
    assert "shards of the run are missing: 2/3; their items have no prediction" in report["notes"]
    assert "note: shards of the run are missing: 2/3" in err
    missing = [json.loads(line)["id"] for line in shards[1].read_bytes().splitlines()[1:]]
    unreached = [item["id"] for item in report["unscored"] if item["reason"] == "it has no prediction"]
    assert report["num_items"] == 43
    assert unreached == missing
    assert report["num_scored"] == len(set(ek100.good) - set(missing))


def test_shards_that_do_not_belong_together_are_refused(
    tada: Tada, ek100: Tree, shards: list[Path], tmp_path: Path
) -> None:
    code, out, err = tada("eval", *ek100.data, "--merge", shards[0], shards[1], shards[0])
    assert (code, out) == (2, b"")
    assert f"{lines(shards[0])[0]['id']} stands in" in err
    other = tmp_path / "other.jsonl"
    tada("eval", *ek100.options, "--shard", "3/3", "--batch-size", 1, "--save-predictions", other)
    code, out, err = tada("eval", *ek100.data, "--merge", shards[0], shards[1], other)
    assert (code, out) == (2, b"")
    assert "not of one run" in err
    code, _, err = tada("eval", *ek100.options, "--shard", "2/3", "--save-predictions", shards[0], "--resume")
    assert code != 0
    assert "shard 1/3, now 2/3" in err


# --- saved predictions ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["k400", "ek100"])
def test_saved_predictions_give_the_report_of_the_run(
    tada: Tada, run_of: Callable[[Tree], Run], name: str, request: pytest.FixtureRequest
) -> None:
    tree: Tree = request.getfixturevalue(name)
    run = run_of(tree)
    _, again, _ = tada("eval", *tree.data, "--predictions", run.saved, "--format", "json")
    assert again == run.out


def test_the_results_of_classify_give_the_same_accuracy(
    tada: Tada, run_of: Callable[[Tree], Run], k400: Tree, tmp_path: Path
) -> None:
    out = run_of(k400).out
    _, results, _ = tada("classify", k400.root, "-r", "--model", k400.model, "--format", "jsonl")
    (tmp_path / "results.jsonl").write_bytes(results)
    _, again, _ = tada("eval", *k400.data, "--predictions", tmp_path / "results.jsonl", "--format", "json")
    one, other = json.loads(out), json.loads(again)
    assert (other["num_scored"], other["num_items"]) == (one["num_scored"], one["num_items"])
    for key in ("top1", "top5", "mean_class_accuracy"):
        assert other["metrics"][key] == one["metrics"][key]
    assert {item["id"] for item in other["unscored"]} == {item["id"] for item in one["unscored"]}


# --- mistakes -------------------------------------------------------------------------------------------


def test_a_model_of_other_classes_is_refused_before_anything_is_scored(
    tada: Tada, k400: Tree, ssv2: Tree, ek100: Tree, tmp_path: Path
) -> None:
    saved = tmp_path / "scores.jsonl"
    for data, model in ((k400, ssv2), (ssv2, k400), (ek100, k400), (k400, ek100)):
        code, out, err = tada("eval", *data.data, "--model", model.model, "--save-predictions", saved)
        assert (code, out) == (2, b""), (data.dataset, model.dataset)
        assert err.startswith("error: ")
        assert not saved.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--resume"], "--resume continues a file of predictions"),
        (["--shard", "4/3"], "shard '4/3' cannot be read"),
        (["--workers", "0"], "0 workers"),
        (["--batch-size", "0"], "a batch of 0 views"),
        (["--views", "3x2"], "views '3x2' cannot be read"),
        (["--merge"], "--merge needs the files of the shards"),
        (["stray.jsonl"], "stray.jsonl is not expected"),
        (["--predictions", "a.jsonl", "--shard", "1/2"], "--predictions runs no model"),
        (["--predictions", "a.jsonl", "--merge", "b.jsonl"], "exclude each other"),
        (["--predictions", "none.jsonl"], "none.jsonl"),
    ],
)
def test_options_that_cannot_be_meant_are_usage_errors(
    tada: Tada, k400: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = tada("eval", *k400.options, *arguments)
    assert (code, out) == (2, b"")
    assert message in err.splitlines()[0]


def test_what_is_there_is_not_overwritten_and_nothing_is_scored(tada: Tada, k400: Tree, tmp_path: Path) -> None:
    report, saved = tmp_path / "report.json", tmp_path / "scores.jsonl"
    report.write_text("mine")
    code, _, err = tada("eval", *k400.options, "-o", report, "--save-predictions", saved)
    assert code != 0
    assert "report.json exists and is not overwritten" in err
    assert (report.read_text(), saved.exists()) == ("mine", False)
    saved.write_text("mine, too\n")
    for more in ([], ["--resume"]):
        code, _, err = tada("eval", *k400.options, "--save-predictions", saved, *more)
        assert code != 0
        assert str(saved) in err
        assert saved.read_text() == "mine, too\n"


def test_predictions_of_other_annotations_are_refused(
    tada: Tada, run_of: Callable[[Tree], Run], ssv2: Tree, k400: Tree, tmp_path: Path
) -> None:
    saved = run_of(ssv2).saved
    entries = json.loads((ssv2.annotations / "something-something-v2-validation.json").read_text())
    fewer = tmp_path / "something-something-v2-validation.json"
    fewer.write_text(json.dumps([entry for entry in entries if entry["id"] != ssv2.good[3]]))
    about = ("--dataset", "ssv2", "--annotations", fewer, "--data-root", ssv2.root)
    code, out, err = tada("eval", *about, "--predictions", saved)
    assert (code, out) == (2, b"")
    assert "other items or spans" in err
    code, _, err = tada("eval", *about, "--model", ssv2.model, "--save-predictions", saved, "--resume")
    assert code != 0
    assert "other settings" in err
    code, out, _ = tada("eval", *k400.data, "--predictions", saved)
    assert (code, out) == (2, b"")


# --- real videos ----------------------------------------------------------------------------------------


def test_real_clips_with_the_built_in_model(tada: Tada, tmp_path: Path) -> None:
    clips = sorted((shared_folder() / "media" / "people").iterdir(), key=lambda path: path.stat().st_size)[:6]
    names = label_list("camera_motion")
    _, out, _ = tada("classify", *clips, "--format", "jsonl")
    best = {row["path"]: row["topk"][0]["index"] for row in map(json.loads, out.splitlines())}
    table, saved = tmp_path / "clips.csv", tmp_path / "scores.jsonl"
    with table.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label"])
        for number, clip in enumerate(clips):
            rows.writerow([os.fspath(clip), names[(best[str(clip)] + number % 3) % len(names)]])
        rows.writerow([os.fspath(tmp_path / "gone.mp4"), names[0]])
    asked = ("--dataset", "csv", "--annotations", table, "--save-predictions", saved, "--format", "json")
    code, out, err = tada("eval", *asked)
    report = json.loads(out)
    assert code == 3
    assert (report["num_scored"], report["num_items"]) == (6, 7)
    assert "6 of 7 videos scored" in err
    assert report["metrics"]["top1"] == pytest.approx(100 * 2 / 6, abs=PERCENT_TOLERANCE)
    assert [Path(item["path"]).name for item in lines(saved)][:6] == [clip.name for clip in clips]
    assert {item["status"] for item in lines(saved)} <= {"ok", "short", "error"}
