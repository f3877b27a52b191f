"""`tada finetune --task detection`, and `tada detect` with what it leaves, as a person runs them."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from tadacli.video.reading import probe, read_frames
from tadacli.zoo.loading import load_head_model
from tests.cli.conftest import Tada
from tests.media import picture
from tests.reports.test_detection_page import Elements
from tests.training.heads.planted_files import SETTINGS, write_negatives, write_planted

SET = [word for name, value in SETTINGS.items() for word in ("--set", f"{name}={value}")]
# Of each film, in seconds: when it is dark, and when it flickers.
FILMS = {
    "a": ((1.0, 3.0), (4.0, 6.0)),
    "b": ((5.0, 7.0), (1.0, 2.5)),
    "c": ((0.5, 1.5), (3.0, 6.0)),
    "d": ((3.0, 5.0), (6.0, 7.5)),
    "e": ((4.0, 6.5), (1.0, 3.0)),
}


def film(path: Path, dark: tuple[float, float], flicker: tuple[float, float], *, shade: int = 0) -> None:
    """Writes eight seconds of a still picture, but for two spans."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=15)
        stream.height, stream.width, stream.pix_fmt, stream.thread_count = 96, 160, "yuv420p", 1
        for number in range(120):
            second, image = number / 15, picture(shade)
            if dark[0] <= second < dark[1]:
                image = np.zeros_like(image)
            if flicker[0] <= second < flicker[1]:
                image = picture(number, noise=150)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        out.mux(stream.encode(None))


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    lines = ["video,start,end,label,split"]
    for name, (dark, flicker) in FILMS.items():
        film(folder / f"{name}.mp4", dark, flicker)
        split = "validation" if name == "e" else "train"
        lines += [
            f"{name}.mp4,{dark[0]},{dark[1]},dark,{split}",
            f"{name}.mp4,{flicker[0]},{flicker[1]},flicker,{split}",
        ]
    (folder / "segments.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def trained(films: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a head trained on them, and what was said on the way."""
    folder = tmp_path_factory.mktemp("trained") / "det"
    words = ("finetune", "--task", "detection", "--data", films / "segments.csv", "--output", folder, "--device", "cpu")
    sizes = (
        "--head",
        "temporal",
        "--stride",
        "250ms",
        "--epochs",
        "40",
        "--batch-size",
        "1",
        "--learning-rate",
        "5e-3",
        "--set",
        "width=16",
    )
    command = [sys.executable, "-m", "tadacli", *map(str, words), *sizes]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return folder, done.stderr


def test_from_videos_to_a_model_that_finds_segments_in_videos(
    tada: Tada, films: Path, trained: tuple[Path, str]
) -> None:
    run, said = trained
    assert "train: 8 segments of 4 videos" in said
    assert "validation: 2 segments of 1 video\n" in said
    assert "on 2 segments of 1 validation video: mAP" in said
    assert "On 1 validation video with 2 segments, which" in (run / "README.md").read_text()
    assert load_head_model(run, device="cpu").trunk == run / "trunk.safetensors"
    assert len(list((run / "features").iterdir())) == 5
    code, out, err = tada("detect", films / "e.mp4", "--model", run, "--threshold", "auto", "--format", "jsonl")
    assert code == 0, err
    (row,) = map(json.loads, out.splitlines())
    found = {each["label"]: (each["start_seconds"], each["end_seconds"]) for each in row["segments"]}
    for label, (start, end) in zip(("dark", "flicker"), FILMS["e"], strict=True):
        assert found[label] == (pytest.approx(start, abs=0.6), pytest.approx(end, abs=0.6))
    assert (row["status"], row["windows"], row["duration_seconds"]) == ("ok", 32, 8.0)
    kept = tada(
        "detect", "e", "--features", run / "features", "--model", run, "--threshold", "auto", "--format", "jsonl"
    )
    assert json.loads(kept[1])["segments"] == row["segments"]


def test_a_page_and_a_video_show_what_was_found(
    tada: Tada, films: Path, trained: tuple[Path, str], tmp_path: Path
) -> None:
    page, drawn = tmp_path / "page.html", tmp_path / "drawn.mp4"
    words = ("detect", films / "e.mp4", "--model", trained[0], "--format", "jsonl", "--report", page, "--render", drawn)
    code, out, err = tada(*words)
    assert (code, "note" in err) == (0, False), err
    (row,) = map(json.loads, out.splitlines())
    assert (row["info"]["codec"], row["frames"]["used"]) == ("h264", 119)  # no snippet looks at the last one
    data = Elements(page.read_bytes()).data()
    assert [each["start"] for each in data["segments"]] == [each["start_seconds"] for each in row["segments"]]
    assert len(data["thumbnails"]) == len(row["segments"])
    assert data["lines"].startswith("Lines show the scores of steps in time")
    assert ["Snippets seen", "32 of 32"] in data["facts"]
    assert (data["thresholds"]["of_head"], data["thresholds"]["lowest"]) == (True, 0.01)
    assert [each["thresholds"] for each in data["classes"]] == [[], []]
    for number, (start, end) in enumerate(FILMS["e"]):
        (curve,) = [each for each in data["curves"] if each["class"] == number]
        edges, values = np.array(data["edges"][curve["edges"]]), np.array(curve["values"])
        assert (edges[0], edges[-1], len(values)) == (0, 8, 32)
        assert start < edges[np.argmax(values)] < end
    shown, before = (read_frames(path, [0, 30, 78])[:, -40:, :60].astype(int) for path in (drawn, films / "e.mp4"))
    assert (np.abs(shown - before).max(axis=(1, 2, 3)) > 150).tolist() == [False, True, True]
    assert probe(drawn).num_frames == 120


def test_the_page_has_what_a_lower_threshold_finds(
    tada: Tada, films: Path, trained: tuple[Path, str], tmp_path: Path
) -> None:
    words = ("detect", films / "e.mp4", "--model", trained[0], "--format", "jsonl", "--threshold")
    page = tmp_path / "page.html"
    code, _, err = tada(*words, "0.9", "--report", page)
    assert code == 0, err
    (text,) = [text for _, attributes, text in Elements(page.read_bytes()).found if attributes.get("class") == "scores"]
    kept = json.loads(text)
    runs = np.frombuffer(base64.b64decode(kept["runs"]), dtype="<f8").reshape(-1, 8)
    (row,) = map(json.loads, tada(*words, "0.05")[1].splitlines())
    found = {(round(start, 6), round(end, 6), score) for _, start, end, score, *_ in runs[runs[:, 5] >= 0.05].tolist()}
    assert found == {(each["start_seconds"], each["end_seconds"], each["score"]) for each in row["segments"]}
    assert len(found) > 2


def test_what_a_head_found_is_read_again(tada: Tada, films: Path, trained: tuple[Path, str], tmp_path: Path) -> None:
    results = tmp_path / "found.json"
    assert tada("detect", films / "e.mp4", "--model", trained[0], "--threshold", "0.5", "-o", results)[0] == 0
    assert json.loads(results.read_text())["spec"]["steps"]["within_shots"] is False
    code, out, err = tada("convert", results, "--to", "createml")
    assert code == 0, err
    assert {each["label"] for each in json.loads(out)} == {"dark", "flicker"}


def test_what_cannot_be_read_does_not_stop_a_run(tada: Tada, films: Path, tmp_path: Path) -> None:
    table, none, run = tmp_path / "segments.csv", tmp_path / "none", tmp_path / "det"
    lines = [line for line in (films / "segments.csv").read_text().splitlines() if line[0] in "vabe"]
    table.write_text("\n".join([*lines, "broken.mp4,1,2,dark,train", "broken.mp4,3,4,flicker,train"]) + "\n")
    for name in ("a.mp4", "b.mp4", "e.mp4"):
        (tmp_path / name).symlink_to(films / name)
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    none.mkdir()
    for number in range(2):
        film(none / f"{number}.mp4", (0.0, 0.0), (0.0, 0.0), shade=10 * number)
    (none / "half.mp4").write_bytes(b"none either")
    common = ("finetune", "--task", "detection", "--data", table, "--negatives", none, "--output", run)
    common = (
        *common,
        "--head",
        "temporal",
        "--device",
        "cpu",
        "--stride",
        "500ms",
        "--epochs",
        "6",
        "--batch-size",
        "1",
    )
    code, _, err = tada(*common, "--unlabelled", "ignore")
    assert code == 0, err
    assert "note: 1 of 4 videos cannot be read, and are left out: " in err
    assert f"{tmp_path / 'broken.mp4'} is " in err
    assert f"note: 1 of 3 negatives cannot be read, and are left out: {none / 'half.mp4'} is " in err
    assert "train: 4 segments of 2 videos" in err
    assert "negatives: 1 video of 8 s to train with, 1 video of 8 s held out for the threshold, and in no mAP" in err
    card = (run / "README.md").read_text()
    for said in ("is not learnt from", "1 video of 8 s to train with", "1 of 4 videos cannot be read"):
        assert said in card
    assert json.loads((run / "run.json").read_text())["negatives"].keys() == {"train", "validation"}
    (left_out,) = json.loads((run / "eval.json").read_text())["left_out"]
    assert left_out.startswith(f"{tmp_path / 'broken.mp4'} is ")
    assert len(list((run / "features").iterdir())) == 5
    code, _, err = tada(*common, "--resume")
    assert (code, "train was" in err) == (1, True)
    (none / "2.mp4").symlink_to(films / "a.mp4")
    code, _, err = tada(*common, "--resume")
    assert code == 2
    assert "1 of 4 negatives are labelled videos, too: 2.mp4 is " in err


def test_a_killed_search_goes_on_inside_the_video_and_gives_the_same_bytes(
    films: Path, trained: tuple[Path, str], tmp_path: Path
) -> None:
    """Real processes and real kills; more moments are covered in `tests/detection/test_by_head.py`."""

    def command(output: Path) -> list[str]:
        words = ["detect", films / "e.mp4", films / "a.mp4", "--model", trained[0], "--resume", "--output", output]
        return [sys.executable, "-m", "tadacli", *map(str, words), "--device", "cpu"]

    clean, killed = tmp_path / "clean.jsonl", tmp_path / "killed.jsonl"
    subprocess.run(command(clean), check=True, capture_output=True)
    unfinished = tmp_path / "killed.jsonl.unfinished"
    process = subprocess.Popen(command(killed), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        if unfinished.exists() and unfinished.read_bytes().count(b"\n") >= 8:
            process.send_signal(signal.SIGKILL)
            process.wait()
            break
        time.sleep(0.002)
    assert unfinished.exists()
    done = subprocess.run(command(killed), check=True, capture_output=True)
    assert b"2 of 2 videos searched" in done.stderr
    assert killed.read_bytes() == clean.read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"clean.jsonl", "killed.jsonl"}


def test_from_features_that_are_there(tada: Tada, tmp_path: Path) -> None:
    table, features = write_planted(tmp_path)
    run = tmp_path / "det"
    common = ("finetune", "--task", "detection", "--data", table, "--features", features, "--output", run)
    code, _, err = tada(*common, "--head", "temporal", *SET)
    assert code == 0, err
    assert "54 segments of 18 videos" in err
    code, out, _ = tada("detect", "--features", features, "--model", run, "--threshold", "auto", "--format", "jsonl")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [row["path"] for row in rows] == sorted(f"v{number}" for number in range(24))
    assert sum(len(row["segments"]) for row in rows) > 20
    for words, problem in (
        (("detect", "x.mp4", "--model", run), "has no model that makes features"),
        (("detect", "--features", features, "--model", run, "v99"), "has no features of v99"),
        (("detect", "--features", tmp_path / "none", "--model", run), "there is no folder"),
        (("detect", "--features", features, "--model", run, "--fps", "30"), "--fps does not go with --features"),
        (("detect", "--features", features, "--model", run, "--window", "3s"), "--window does not go with a head"),
        (("detect", "--features", features, "--model", run, "--report", "x.html"), "--report does not go with --feat"),
        (("detect", "--features", features, "--model", run, "--nms", "soft"), "--nms does not go with a head"),
        (("classify", "x.mp4", "--model", run), "classifies no video"),
        ((*common[:-1], tmp_path / "new", "--recipe", "finetune"), "--recipe does not go with --task detection"),
        ((*common[:-1], tmp_path / "new", "--set", "depth=3"), "unknown key depth"),
        (("finetune", "--data", table, "--head", "temporal", "--output", "x"), "--head goes with --task detection"),
    ):
        code, _, err = tada(*words)
        assert code in (1, 2), words
        assert problem in err


def test_two_processes_train_the_head_of_one(tada: Tada, tmp_path: Path) -> None:
    table, features = write_planted(tmp_path)
    common = ["finetune", "--task", "detection", "--data", str(table), "--features", str(features), "--device", "cpu"]
    common += ["--head", "temporal", "--epochs", "4", "--batch-size", "2"]
    common += ["--set", "width=16", "--set", "warmup_epochs=1"]
    common += ["--negatives", str(write_negatives(tmp_path / "none", features, range(3)))]
    code, _, err = tada(*common, "--output", tmp_path / "one")
    assert code == 0, err
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "tadacli"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [*launch, *common, "--output", str(tmp_path / "two")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("the best head") == 1
    one, two = (load_head_model(tmp_path / name, device="cpu").network.state_dict() for name in ("one", "two"))
    assert all(torch.allclose(one[name], two[name], atol=1e-5) for name in one)
