"""`tada bench`, as a person runs it. Of times it is only checked that they are times."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor, nn

from tadacli.benchmarking import network_speed, speed
from tadacli.benchmarking.frames_speed import FramesSpeed
from tadacli.benchmarking.network_speed import Agreement, NetworkSpeed, PassSpeed, model_to_time
from tadacli.benchmarking.speed import CommandSpeed, Settings, SpeedReport
from tadacli.cli.bench_output import speed_table
from tadacli.results import VideoInfo
from tadacli.timing import Timing
from tests import media
from tests.cli.conftest import Tada

QUICK = ("--seconds", "0.02", "--device", "cpu")


@pytest.fixture(autouse=True)
def _small_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_speed, "MATRIX_SIZE", 32)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "café [v1].mp4"
    media.render(path, 100)
    return path


class Light(nn.Module):
    """A network that takes no time to speak of."""

    def forward(self, clips: Tensor) -> Tensor:
        return clips[:, 0, 0, :20, :20].flatten(1)


def numbers(values: Any, path: str = "") -> Iterator[tuple[str, float]]:
    """Every number of JSON values, with its place."""
    if isinstance(values, dict):
        values = values.items()
    elif isinstance(values, list):
        values = enumerate(values)
    elif isinstance(values, int | float) and not isinstance(values, bool):
        yield path, values
        return
    else:
        return
    for key, value in values:
        yield from numbers(value, f"{path}.{key}")


def test_json_holds_all_that_was_measured(tada: Tada, video: Path) -> None:
    code, out, err = tada("bench", video, *QUICK, "--batch-size", "2,1", "--dtype", "bfloat16")
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert (
        list(found)
        == (
            "tool_version measured_at machine device versions seconds model video network exported "
            "matrix_products agreement commands"
        ).split()
    )
    assert set(found["versions"]) == {"torch", "av"}
    assert {"processor", "num_cores", "num_network_threads", "num_reading_threads"} <= set(found["machine"])
    assert (found["video"]["path"], found["video"]["num_frames"]) == (str(video), 100)
    assert (found["model"]["name"], found["model"]["random_weights"]) == ("r2plus1d_tiny.camera_motion", False)
    assert found["network"][0]["speedup"] == 1
    assert [(each["dtype"], each["batch_size"]) for each in found["network"]] == [
        ("float32", 1),
        ("float32", 2),
        ("bfloat16", 1),
        ("bfloat16", 2),
    ]
    assert [each["command"] for each in found["commands"]] == ["classify", "detect"]
    for agreement in found["agreement"]:  # none where the time was too short for a window's frames
        assert 0 <= agreement.pop("num_agreeing") <= agreement["num_clips"]
    for place, value in numbers(found):
        assert 0 < value < math.inf, place


def test_random_weights_are_said_to_be_random(tada: Tada, video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_speed, "fresh_network", lambda _: Light())
    code, out, err = tada("bench", video, *QUICK, "--model", "r2plus1d_tiny", "--batch-size", "1", "--format", "table")
    assert (code, err) == (0, "")
    assert "random weights" in out.decode()
    assert "best class" not in out.decode()


def test_weights_of_a_file_are_not(tada: Tada, video: Path, untrained: Path) -> None:
    code, out, _ = tada("bench", video, *QUICK, "--model", untrained, "--batch-size", "1", "--dtype", "float32")
    model = json.loads(out)["model"]
    assert (code, model["random_weights"], len(model["weights_sha256"])) == (0, False, 64)


def test_without_a_video_one_is_made_and_removed(tada: Tada, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Path] = []

    def render(path: Path, *, seconds: float) -> None:
        made.append(path)
        media.render(path, round(seconds * 30))

    monkeypatch.setattr(speed, "render_sample", render)
    code, out, _ = tada("bench", *QUICK, "--batch-size", "1", "--dtype", "float32")
    assert (code, json.loads(out)["video"]["path"]) == (0, None)
    (path,) = made
    assert not path.parent.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message", "hint"),
    [
        (["--model", "tada3d"], 1, "unknown model 'tada3d'", "known models"),
        (["--dtype", "int8"], 2, "unknown dtype 'int8'", "bfloat16"),
        (["--batch-size", "1,x"], 2, "batch sizes '1,x' cannot be read", "1,4,8"),
        (["--seconds", "0"], 2, "0 s is no time", "give a number"),
        (["--seconds", "nan"], 2, "nan s is no time", "give a number"),
        (["--seconds", "inf"], 2, "inf s is no time", "give a number"),
        (["--device", "abacus"], 2, "there is no device 'abacus'", "cpu"),
        (["--output", "result"], 2, "is not clear from its name", "table"),
        (["--weights", "none.pyth"], 1, "none.pyth", ""),
    ],
)
def test_what_cannot_be_meant_is_said_before_anything_is_measured(
    arguments: list[str], code: int, message: str, hint: str, tada: Tada, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed, "measure_speed", lambda *_, **__: pytest.fail("it measures"))
    done, out, err = tada("bench", "video.mp4", *arguments)
    lines = err.splitlines()
    assert (done, out) == (code, b"")
    assert lines[0].startswith("error: ")
    assert message in lines[0]
    assert [line for line in lines[1:] if not line.startswith("hint: ")] == []
    assert hint in "".join(lines[1:])


def test_a_missing_video_is_an_error(tada: Tada, tmp_path: Path) -> None:
    code, out, err = tada("bench", tmp_path / "none.mp4", *QUICK)
    assert (code, out) == (1, b"")
    assert err.startswith(f"error: there is no file {tmp_path / 'none.mp4'}\nhint: ")


def test_an_output_is_never_overwritten(tada: Tada, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "speed.json").write_text("mine")
    monkeypatch.setattr(speed, "measure_speed", lambda *_, **__: pytest.fail("it measures"))
    code, out, err = tada("bench", "--output", tmp_path / "speed.json")
    assert (code, out, (tmp_path / "speed.json").read_text()) == (1, b"", "mine")
    assert "exists and is not overwritten" in err


@pytest.mark.parametrize(("name", "first"), [("speed.json", "{"), ("speed.txt", "m")])
def test_the_name_of_the_output_says_its_format(
    name: str, first: str, tada: Tada, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed, "measure_speed", lambda *_, **__: REPORT)
    code, out, err = tada("bench", "--output", tmp_path / name)
    assert (code, out, err) == (0, b"", f"written to {tmp_path / name}\n")
    assert (tmp_path / name).read_text()[0] == first
    if first == "{":
        assert json.loads((tmp_path / name).read_text())["commands"][1]["better"]["dtype"] == "bfloat16"


# --- the table --------------------------------------------------------------------------------------


def steady(seconds: float) -> Timing:
    return Timing(seconds, seconds / 1.25, seconds * 1.25, 5)


def settings(dtype: str, batch_size: int, network: float, whole: float, *, is_measured: bool) -> Settings:
    return Settings(dtype, batch_size, network, steady(whole), is_measured)


REPORT = SpeedReport(
    model=model_to_time("r2plus1d_tiny.camera_motion", device="cpu"),
    tool_version="0.1.0",
    versions={"torch": "2.15.0+cpu", "av": "18.1.0"},
    machine={
        "accelerator": None,
        "processor": "Some Processor",
        "machine": "x86_64",
        "num_cores": 2,
        "num_network_threads": 2,
        "num_reading_threads": 1,
        "python": "3.11.7",
    },
    measured_at="2026-01-01T00:00:00+00:00",
    seconds=2.0,
    video_path=None,
    video=VideoInfo("sample.mp4", 240, 30, 8.0, 360, 640, 0, "h264"),  # type: ignore[arg-type]
    open_seconds=0.0123,
    network=NetworkSpeed(
        (
            PassSpeed("float32", 1, steady(0.1), 0.5),
            PassSpeed("float32", 8, None, None, "about 9.0 s a pass; --seconds 6 measures it"),
            PassSpeed("bfloat16", 1, steady(0.05), None),
        ),
        multiply_adds=313_032_384,
        matrix_size=2048,
    ),
    agreements=(Agreement("bfloat16", 13, 14),),
    commands=(
        CommandSpeed(
            "classify",
            5,
            FramesSpeed("classify", 40, steady(2.0), is_whole=True),
            settings("float32", 8, 0.5, 2.5, is_measured=False),
            None,
            "decoding",
        ),
        CommandSpeed(
            "detect",
            14,
            FramesSpeed("detect", 112, steady(0.5), is_whole=False),
            settings("float32", 1, 1.4, 2.0, is_measured=True),
            settings("bfloat16", 1, 0.7, 1250.0, is_measured=True),
            "network",
        ),
    ),
)


def test_the_table_of_known_times() -> None:
    assert speed_table(REPORT) == TABLE.strip()
    assert max(map(len, TABLE.splitlines())) <= 80


TABLE = """
model     r2plus1d_tiny.camera_motion, 8 frames of 64x64, 0.31 GMACs a clip
machine   Some Processor
          2 cores, 2 threads for the network, 1 for frames
versions  tada 0.1.0, Python 3.11.7, torch 2.15.0+cpu, av 18.1.0
video     a sample made for this
          640x360, 30 fps, 8 s, h264; opened in 12.3 ms

Network
dtype     batch  clips a second (min to max)  speed-up  of the matrix product
float32       1               10 (8 to 12.5)      1.00                    50%
bfloat16      1                20 (16 to 25)      2.00
not measured: float32, batch 8: about 9.0 s a pass; --seconds 6 measures it
speed-up: over float32, batch 1
of the matrix product: multiply-adds a second, of a 2048 x 2048 product's
bfloat16: the best class is that of float32 on 13 of 14 clips

Decoding, resizing and cropping
for            used  frames a second (min to max)  x real time    all of it
tada classify    40               120 (96 to 150)            4          2 s
tada detect     112              480 (384 to 600)           16  about 0.5 s
frames a second: of all those of the video, also the ones that are passed over

What limits, at the default settings
tada classify, 5 views: about 2.5 s, 3.2 x real time
  limited by decoding: alone, frames take 2 s, the network 0.5 s
  the default settings are best: --dtype float32 --batch-size 8
tada detect, 14 clips: 2 s, 4 x real time
  limited by the network: alone, frames take 0.5 s, the network 1.4 s
  use --dtype bfloat16 --batch-size 1: 21 min

note: rounds differ by up to 1.6 times: is something else running?
"""
