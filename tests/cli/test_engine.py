"""`--engine` and `tada collect`: several workers write what one process writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Tada


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("engine")


def test_workers_write_the_bytes_of_one_process(tada: Tada, untrained: Path, videos: Path, folder: Path) -> None:
    classify = ["classify", videos, "--model", untrained, "--device", "cpu"]
    code, _, said = tada(*classify, "-o", folder / "one.csv")
    errors = [line for line in said.splitlines() if line.startswith("error")]
    assert (code, len(errors)) == (3, 1)
    workers = ["--engine", "local", "--engine-workers", "2", "-o", folder / "many.csv", "--index", folder / "tables"]
    code, out, said = tada(*classify, *workers)
    assert (code, out) == (3, b"")
    assert [line for line in said.splitlines() if line.startswith("error")] == errors
    assert "10 of 11 videos classified; 1 failed, results in" in said
    assert len(list((folder / "tables").glob("*.frames"))) == 10, "of a video that cannot be read nothing is kept"
    for name in ("{}.csv", "{}.csv.meta.json"):
        assert (folder / name.format("many")).read_bytes() == (folder / name.format("one")).read_bytes()

    code, _, said = tada(*classify, *workers)
    assert code == 1
    assert "many.csv exists and is not overwritten" in said
    for form in ("jsonl", "parquet"):
        assert tada(*classify, "-o", folder / f"one.{form}")[0] == 3
        assert tada("collect", folder / "many.csv.run", "-o", folder / f"many.{form}")[0] == 3
        assert (folder / f"many.{form}").read_bytes() == (folder / f"one.{form}").read_bytes()


def test_a_run_that_was_stopped_goes_on_with_resume(tada: Tada, untrained: Path, videos: Path, folder: Path) -> None:
    (folder / "many.csv").unlink()
    records = sorted((folder / "many.csv.run" / "results").rglob("*.json"))
    lost = next(file for file in records if json.loads(file.read_text())["status"] == "ok")
    lost.unlink()
    code, _, said = tada("collect", folder / "many.csv.run", "-o", folder / "again.csv")
    assert code == 1
    assert "is not finished: 10 of 11 inputs are done" in said
    times = {file: file.stat().st_mtime_ns for file in records if file != lost}
    words = ["--engine", "local", "-o", folder / "many.csv", "--resume", "-q"]
    code, out, said = tada("classify", videos, "--model", untrained, "--device", "cpu", *words)
    assert (code, out, said) == (3, b"", "")
    assert {file: file.stat().st_mtime_ns for file in times} == times
    assert (folder / "many.csv").read_bytes() == (folder / "one.csv").read_bytes()


def test_detect_writes_the_bytes_of_one_process(tada: Tada, untrained: Path, videos: Path, folder: Path) -> None:
    detect = ["detect", videos / "clip 1.mp4", videos / "clip 9.mp4", videos / "broken.mp4", "--model", untrained]
    detect += ["--device", "cpu", "--window", "1s", "--threshold", "0.1"]
    assert tada(*detect, "-o", folder / "one found.jsonl", "--save-scores", folder / "one")[0] == 3
    words = ["--engine", "local", "-o", folder / "many found.jsonl", "--save-scores", folder / "many"]
    assert tada(*detect, *words, "--split-videos", "800ms")[0] == 3
    assert (folder / "many found.jsonl").read_bytes() == (folder / "one found.jsonl").read_bytes()
    assert len(list((folder / "one").iterdir())) == 2
    for file in (folder / "one").iterdir():
        assert (folder / "many" / file.name).read_bytes() == file.read_bytes()
    assert tada(*detect, "-o", folder / "one found.csv", "--columns", "all")[0] == 3
    run = folder / "many found.jsonl.run"
    assert tada("collect", run, "-o", folder / "many found.csv", "--columns", "all")[0] == 3
    assert (folder / "many found.csv").read_bytes() == (folder / "one found.csv").read_bytes()


def test_features_writes_the_bytes_of_one_process(tada: Tada, untrained: Path, videos: Path, folder: Path) -> None:
    make = ["features", videos / "clip 1.mp4", videos / "clip 9.mp4", "--model", untrained, "--device", "cpu"]
    code, expected, _ = tada(*make, "-o", folder / "one features", "--format", "jsonl")
    assert code == 0
    words = ["-o", folder / "many features", "--format", "jsonl", "--engine", "local"]
    code, found, _ = tada(*make, *words)
    assert (code, found) == (0, expected.replace(b"one features", b"many features"))
    for file in (folder / "one features").iterdir():
        assert (folder / "many features" / file.name).read_bytes() == file.read_bytes()
    code, _, said = tada("collect", folder / "many features.run", "-o", folder / "rows.csv")
    assert code == 2
    assert "written as JSON lines" in said
    assert tada("collect", folder / "many features.run", "-o", folder / "rows.jsonl")[0] == 0
    assert (folder / "rows.jsonl").read_bytes() == found


def test_eval_writes_the_bytes_of_one_process(tada: Tada, untrained: Path, videos: Path, folder: Path) -> None:
    lines = [f"{videos / name}.mp4,{label}" for name, label in {"clip 1": "static", "clip 9": "zoom in"}.items()]
    (folder / "mine.csv").write_text("\n".join(["path,label", *lines, f"{videos / 'broken'}.mp4,static"]))
    measure = ["eval", "--dataset", "csv", "--annotations", folder / "mine.csv", "--model", untrained]
    measure += ["--device", "cpu", "--views", "1x1"]
    assert tada(*measure, "--save-predictions", folder / "one.scores.jsonl", "-o", folder / "one.json")[0] == 3
    many = ["--save-predictions", folder / "many.scores.jsonl", "-o", folder / "many.json", "--engine", "local"]
    code, _, said = tada(*measure, *many, "--index", folder / "tables of eval")
    assert len(list((folder / "tables of eval").iterdir())) == 2
    assert code == 3
    assert "2 of 3 videos scored" in said
    for name in ("{}.scores.jsonl", "{}.json"):
        assert (folder / name.format("many")).read_bytes() == (folder / name.format("one")).read_bytes()
    assert tada("collect", folder / "many.scores.jsonl.run", "-o", folder / "again.jsonl")[0] == 3
    assert (folder / "again.jsonl").read_bytes() == (folder / "one.scores.jsonl").read_bytes()
    code, _, said = tada(*measure, "--engine", "local")
    assert code == 2
    assert "add --save-predictions" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--engine-workers", "2"], "--engine-workers says something of an engine"),
        (["--engine", "local", "-o", "hf://datasets/mine/out.csv"], "hf:// does not keep two writers from one object"),
        (["--address", "auto"], "--address says something of an engine"),
        (["--engine", "local", "-o", "out.csv", "--address", "auto"], "--address is for --engine ray"),
        (["--engine", "local", "-o", "out.csv", "--engine-workers", "1:2"], "1:2 is for --engine ray"),
        (["--engine", "local", "-o", "out.csv", "--engine-workers", "two"], "two is no number of workers"),
        (["--engine", "local"], "an engine keeps its work beside a file of results"),
        (["--engine", "local", "-o", "out.txt"], "an engine keeps its work beside a file of results"),
        (["--engine", "local", "-o", "out.csv", "--fill-batches"], "--fill-batches does not go with --engine"),
        (["--engine", "local", "-o", "out.csv", "--engine-workers", "0"], "0 workers can do nothing"),
        (
            ["--engine", "local", "-o", "out.csv", "--device", "cpu,cpu", "--engine-workers", "1"],
            "1 workers do not use 2 devices",
        ),
    ],
)
def test_what_means_nothing_is_refused(tada: Tada, words: list[str], said: str) -> None:
    code, _, err = tada("classify", "video.mp4", *words)
    assert code == 2
    assert said in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--split-videos", "30m"], "--split-videos says something of an engine"),
        (["--split-videos", "64f", "--engine", "local", "-o", "out.csv"], "--split-videos 64f is a number of frames"),
    ],
)
def test_videos_are_split_for_workers_by_time(tada: Tada, words: list[str], said: str) -> None:
    code, _, err = tada("detect", "video.mp4", *words)
    assert code == 2
    assert said in err


def test_what_holds_no_run_is_not_collected(tada: Tada, tmp_path: Path) -> None:
    code, _, said = tada("collect", tmp_path, "-o", tmp_path / "out.csv")
    assert code == 1
    assert "holds no run" in said
    (tmp_path / "run.json").write_text(json.dumps({"kind": "classify"}))
    code, _, said = tada("collect", tmp_path, "-o", tmp_path / "out.csv")
    assert code == 1
    assert "run.json" in said
    assert not (tmp_path / "out.csv").exists()
