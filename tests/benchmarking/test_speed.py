"""The speed of a model: what is measured, what is left out, what limits, and which settings are recommended.

Times are those of the machine: of them it is only checked that they are times. What follows from them is checked with
times that are given.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from tadacli.benchmarking import network_speed
from tadacli.benchmarking.frames_speed import FramesSpeed
from tadacli.benchmarking.network_speed import (
    Agreement,
    NetworkSpeed,
    PassSpeed,
    agreements,
    check_batch_sizes,
    dtypes_to_time,
    in_dtypes,
    measure_network,
    model_to_time,
    multiply_adds,
)
from tadacli.benchmarking.speed import (
    CommandSpeed,
    Settings,
    SpeedReport,
    classify_speed,
    measure_speed,
    windows_within,
)
from tadacli.errors import SpecError, UsageError, VideoError
from tadacli.results import Window
from tadacli.sampling.plan import plan_clips
from tadacli.sampling.settings import window_settings
from tadacli.sampling.windows import WindowPlan
from tadacli.timing import Timing, seconds_of
from tadacli.video.reading import open_video
from tadacli.zoo.loading import Model, find_spec, load_model
from tadacli.zoo.manifest import cards
from tests import media

CPU = torch.device("cpu")
SECONDS, PATIENT_SECONDS = 0.01, 30.0


@pytest.fixture(autouse=True)
def _small_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_speed, "MATRIX_SIZE", 32)


@pytest.fixture
def _once_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each pass once in a round, so that with much time nothing is left out and nothing lasts."""

    def in_turns(call: Callable[[], object], *, seconds: float) -> Callable[[], float]:
        assert seconds == PATIENT_SECONDS
        return partial(seconds_of, call)

    monkeypatch.setattr(network_speed, "in_turns", in_turns)


class Light(nn.Module):
    """A network that takes no time to speak of."""

    def forward(self, clips: Tensor) -> Tensor:
        return clips[:, 0, 0, 0, :9] * 3


@pytest.fixture(scope="module")
def built_in() -> Model:
    """The built-in model, with a network that takes no time."""
    return replace(load_model(device="cpu"), network=Light())


# --- the network ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "has_bfloat16", "expected"),
    [
        ("auto", True, ["float32", "bfloat16"]),
        ("auto", False, ["float32"]),
        ("float32", True, ["float32"]),
        ("bfloat16", False, ["float32", "bfloat16"]),
        ("float16, bfloat16,float32,float16", True, ["float32", "float16", "bfloat16"]),
    ],
)
def test_float32_is_always_measured_and_first(
    asked: str, has_bfloat16: bool, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network_speed, "has_bfloat16", lambda _: has_bfloat16)
    assert dtypes_to_time(asked, CPU) == expected


@pytest.mark.parametrize("asked", ["int8", "", "float32,", "auto,float32", "float64"])
def test_an_unknown_dtype_is_refused(asked: str) -> None:
    with pytest.raises(UsageError, match="unknown dtype") as caught:
        dtypes_to_time(asked, CPU)
    assert "bfloat16" in caught.value.hint


@pytest.mark.parametrize(("text", "sizes"), [("1", [1]), ("8, 1,4", [1, 4, 8]), ("2,2", [2])])
def test_batch_sizes_ascend(text: str, sizes: list[int]) -> None:
    assert check_batch_sizes(text) == sizes


@pytest.mark.parametrize("text", ["", "0", "1,,4", "-1", "1.5", "four", "1;4", "²"])
def test_other_batch_sizes_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        check_batch_sizes(text)


def test_a_model_with_weights_has_them(built_in: Model) -> None:
    assert model_to_time("r2plus1d_tiny.camera_motion", device="cpu").weights_sha256 == built_in.weights_sha256 != ""


@pytest.mark.parametrize("name", ["r2plus1d_tiny", "tada2d_r50.k400_8x8"])
def test_without_weights_they_are_random_and_say_so(name: str) -> None:
    model = model_to_time(name, device="cpu")
    assert (model.weights_sha256, model.dtype) == ("", torch.float32)
    assert not model.network.training
    assert model.spec.architecture == name.partition(".")[0]


def test_a_network_that_takes_one_size_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_speed, "fresh_network", lambda _: nn.Identity())
    assert model_to_time("tadaformer_b16", device="cpu").spec.input.crop_size == 224
    assert model_to_time("r3d_r50", device="cpu").spec.input.crop_size == 256


@pytest.mark.parametrize("name", ["tada2d_r5", "no/such/file.safetensors", "tadaconvnext_tiny.k400"])
def test_models_that_cannot_be_used_are_no_networks_either(name: str) -> None:
    with pytest.raises(SpecError):
        model_to_time(name, device="cpu")


@pytest.mark.parametrize("name", ["r2plus1d_tiny.camera_motion", "tada2d_r50.k400_8x8", "tada2d_r50.ssv2_16f"])
def test_multiply_adds_are_those_on_the_card(name: str) -> None:
    gmacs = cards()[name].gmacs
    assert gmacs is not None
    assert multiply_adds(find_spec(name)) / 1e9 == pytest.approx(gmacs, rel=0.01)


@pytest.mark.usefixtures("_once_a_round")
def test_every_pass_is_measured(built_in: Model) -> None:
    models = in_dtypes(built_in, ["float32", "bfloat16"])
    found = measure_network(models, batch_sizes=[1, 3], seconds=PATIENT_SECONDS)
    assert [(each.dtype, each.batch_size) for each in found.passes] == [
        (dtype, size) for dtype in ("float32", "bfloat16") for size in (1, 3)
    ]
    assert found.reference is found.passes[0]
    assert found.matrix_size == 32
    for each in found.passes:
        assert each.timing is not None
        assert 0 < each.timing.shortest_seconds <= each.timing.median_seconds <= each.timing.longest_seconds
        assert each.clips_per_second == each.batch_size / each.timing.median_seconds
        rate = found.multiply_adds * each.clips_per_second
        best = found.matrix_size**3 / found.matrix_products[each.dtype].median_seconds
        assert each.matrix_share == pytest.approx(rate / best)


def test_a_pass_that_takes_too_long_is_left_out_and_says_with_how_much_time_it_is_not(
    built_in: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network_speed, "warm_up", lambda *_, **__: 1.0)
    found = measure_network({"float32": built_in}, batch_sizes=[1, 2, 7], seconds=1.0 - SECONDS)
    assert [bool(each.timing) for each in found.passes] == [True, False, False]
    assert [each.clips_per_second for each in found.passes[1:]] == [0.0, 0.0]
    advised = re.search(r"about 7\.0 s a pass; --seconds (\d+)", found.passes[2].left_out)
    assert advised
    assert 2 * int(advised[1]) >= 7.0


class Picky(nn.Module):
    """A network of two classes that fails with larger batches."""

    def __init__(self, message: str) -> None:
        super().__init__()
        self.message = message

    def forward(self, clips: Tensor) -> Tensor:
        if len(clips) > 1:
            raise RuntimeError(self.message)
        return torch.zeros(len(clips), 2)


@pytest.mark.usefixtures("_once_a_round")
@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("CUDA out of memory. Tried to allocate 8 GiB\nmore", "not enough memory"),
        ("DefaultCPUAllocator: can't allocate memory: you tried to allocate", "not enough memory"),
        ("\"conv\" not implemented for 'Half'", "this device has no such operations"),
    ],
)
def test_what_the_machine_cannot_do_is_left_out(message: str, reason: str, built_in: Model) -> None:
    models = {"float32": replace(built_in, network=Picky(message))}
    found = measure_network(models, batch_sizes=[1, 2], seconds=PATIENT_SECONDS)
    assert [each.left_out for each in found.passes] == ["", reason]


def test_a_bug_is_no_limit_of_the_machine(built_in: Model) -> None:
    models = {"float32": replace(built_in, network=Picky("shapes differ"))}
    with pytest.raises(RuntimeError, match="shapes"):
        measure_network(models, batch_sizes=[1, 2], seconds=PATIENT_SECONDS)


def passes(**clips_per_second: Mapping[int, float]) -> NetworkSpeed:
    """What is known of a network: clips a second by dtype and batch size."""
    return NetworkSpeed(
        tuple(
            PassSpeed(dtype, size, Timing(size / rate, size / rate, size / rate, 1)) if rate else PassSpeed(dtype, size)
            for dtype, rates in clips_per_second.items()
            for size, rate in rates.items()
        ),
        multiply_adds=0,
        matrix_size=1,
    )


@pytest.mark.parametrize(("batch_size", "rate"), [(1, 10), (2, 10), (4, 20), (7, 20), (8, 30), (30, 30)])
def test_the_time_of_a_clip_is_that_of_the_nearest_batch_that_is_not_larger(batch_size: int, rate: float) -> None:
    assert passes(float32={1: 10, 4: 20, 8: 30}).clip_seconds("float32", batch_size) == pytest.approx(1 / rate)


def test_where_all_are_larger_it_is_the_smallest() -> None:
    assert passes(float32={4: 20, 8: 0}).clip_seconds("float32", 1) == pytest.approx(1 / 20)


class Head(nn.Module):
    """Answers with the first frame's first pixels; in another dtype with their negatives where those are large."""

    def __init__(self, limit: float) -> None:
        super().__init__()
        self.limit = limit

    def forward(self, clips: Tensor) -> dict[str, Tensor]:
        values = clips[:, 0, 0, 0]
        return {"verb": torch.where(values.abs() > self.limit, -values, values), "noun": values}


@given(st.lists(st.lists(st.integers(-9, 9), min_size=2, max_size=2, unique=True), max_size=6), st.integers(0, 9))
def test_agreement_is_that_of_all_heads(answers: list[list[int]], limit: int) -> None:
    clips = [torch.tensor(values, dtype=torch.float32).expand(3, 1, 1, 2) for values in answers]
    base = Model(find_spec("r2plus1d_tiny.camera_motion"), Head(99), CPU, torch.float32, Path(), "")
    other = replace(base, network=Head(limit), dtype=torch.bfloat16)
    expected = 0
    for first, second in answers:
        turned = [-value if abs(value) > limit else value for value in (first, second)]
        best = 0 if turned[0] >= turned[1] else 1  # of equals the first
        expected += best == (0 if first > second else 1)
    found = agreements({"float32": base, "bfloat16": other}, clips, seconds=60)
    assert found == ((Agreement("bfloat16", expected, len(answers)),) if answers else ())
    assert agreements({"float32": base}, clips, seconds=60) == ()
    assert [each.num_clips for each in agreements({"float32": base, "bfloat16": other}, clips[:3], seconds=0)] == (
        [1] if answers else []
    )


# --- what limits ------------------------------------------------------------------------------------


def frames_of(seconds: float) -> FramesSpeed:
    return FramesSpeed("classify", 40, Timing(seconds, seconds, seconds, 1), is_whole=True)


@pytest.mark.parametrize(
    ("rates", "frame_seconds", "limit", "better", "reason"),
    [
        ({"float32": {1: 10, 4: 10}}, 0.1, "network", None, "nothing is faster"),
        ({"float32": {1: 10}, "bfloat16": {1: 40}}, 0.1, "network", ("bfloat16", 1), "it is four times as fast"),
        ({"float32": {1: 10}, "bfloat16": {1: 40}}, 9.0, "decoding", None, "the network is a small part"),
        ({"float32": {1: 10}, "bfloat16": {1: 11.5}}, 0.0001, "network", None, "a little is not worth the bits"),
        ({"float32": {1: 10, 4: 5}}, 0.1, "network", ("float32", 1), "large batches do not suit this machine"),
        ({"float32": {1: 10}, "bfloat16": {1: 20, 4: 20.1}}, 0.1, "network", ("bfloat16", 1), "equals: the smaller"),
        ({"float32": {1: 10, 4: 5}, "bfloat16": {1: 11}}, 0.1, "network", ("float32", 1), "batch 1 does most of it"),
        ({"float32": {1: 10}, "bfloat16": {1: 0}}, 0.1, "network", None, "what is left out is no candidate"),
    ],
)
def test_limits_and_settings_of_classify(
    rates: dict[str, dict[int, float]],
    frame_seconds: float,
    limit: str,
    better: tuple[str, int] | None,
    reason: str,
    built_in: Model,
) -> None:
    assert built_in.spec.protocol.num_clips * built_in.spec.protocol.num_crops == 5
    network = passes(**rates)
    found = classify_speed(built_in, network, frames_of(frame_seconds), open_seconds=0.01)
    assert found.limited_by == limit, reason
    assert (found.better and (found.better.dtype, found.better.batch_size)) == better, reason


def test_a_batch_is_filled_up_and_everything_is_added_up(built_in: Model) -> None:
    network = passes(float32={1: 1, 2: 4})
    found = classify_speed(built_in, network, frames_of(3.0), open_seconds=0.5)
    assert found.default.batch_size == 8  # of which five are filled: as fast as batches of two
    assert found.default.network_seconds == pytest.approx(5 / 4)
    assert found.default.timing.median_seconds == pytest.approx(0.5 + 3.0 + 5 / 4)
    assert found.better is None


@pytest.mark.parametrize(
    ("expected_seconds", "seconds", "num_windows"),
    [(10.0, 10.0, None), (10.0, 99.0, None), (10.0, 3.2, 3), (10.0, 0.1, 1), (10.0, 9.99, 9)],
)
def test_as_many_windows_are_run_as_the_time_allows(
    expected_seconds: float, seconds: float, num_windows: int | None, tmp_path: Path, built_in: Model
) -> None:
    media.render(tmp_path / "video.mp4", 330)  # 11 s: ten windows of 2 s, one each second
    windows = window_settings()
    spec = built_in.spec.input
    settings = Settings("bfloat16", 4, 1.0, Timing(expected_seconds, 1.0, 99.0, 1), is_measured=False)
    with open_video(tmp_path / "video.mp4") as source:
        whole = list(WindowPlan(source, spec, windows))
        assert len(whole) == 10
        part = windows_within(WindowPlan(source, spec, windows), windows, settings, seconds=seconds)
        run = list(WindowPlan(source, spec, part))
    assert part.batch_size == 4
    assert [_span(each) for each in run] == [_span(each) for each in whole[:num_windows]]


def _span(window: Window) -> tuple[float, float]:
    return window.start_seconds, window.end_seconds


# --- all of it --------------------------------------------------------------------------------------


@pytest.fixture
def report(tmp_path: Path, _once_a_round: None, built_in: Model) -> SpeedReport:
    """What is measured with so much time that nothing is left out."""
    media.render(tmp_path / "video.mp4", 100)
    phases: list[str] = []
    found = measure_speed(
        str(tmp_path / "video.mp4"),
        model=built_in,
        dtypes=["float32", "bfloat16"],
        batch_sizes=[1, 2],
        seconds=PATIENT_SECONDS,
        on_phase=phases.append,
    )
    assert len(phases) == len(set(phases)) == 4
    return found


def test_both_commands_are_measured_on_the_video(report: SpeedReport, tmp_path: Path) -> None:
    assert [each.command for each in report.commands] == ["classify", "detect"]
    assert report.video.num_frames == 100
    assert not report.has_random_weights
    for each in report.commands:
        for settings in (each.default, each.better or each.default):
            assert 0 < settings.network_seconds < math.inf
            assert 0 < settings.timing.shortest_seconds <= settings.timing.longest_seconds < math.inf
        assert 0 < each.frames.timing.median_seconds < math.inf
        assert each.frames.is_whole
        assert (each.limited_by == "decoding") == (each.frames.timing.median_seconds > each.default.network_seconds)
    classified, detected = report.commands
    assert (classified.default.is_measured, detected.default.is_measured) == (False, True)
    assert (classified.default.batch_size, detected.default.batch_size) == (8, 1)
    spec = report.model.spec
    with open_video(tmp_path / "video.mp4") as source:
        views = plan_clips(source, spec.input, num_clips=spec.protocol.num_clips)
        windows = [clip for window in WindowPlan(source, spec.input, window_settings()) for clip in window.clips]
    for each, clips in ((classified, views), (detected, windows)):
        assert each.num_clips == len(clips)
        assert each.frames.num_wanted == len({index for clip in clips for index in clip})
    (same,) = report.agreements
    assert (same.dtype, same.num_clips) == ("bfloat16", len(windows))
    assert 0 <= same.num_agreeing <= same.num_clips


def test_of_a_long_video_only_a_part_is_read(tmp_path: Path, built_in: Model) -> None:
    media.render(tmp_path / "long.mp4", 900)
    found = measure_speed(
        str(tmp_path / "long.mp4"),
        model=built_in,
        dtypes=["float32"],
        batch_sizes=[1],
        seconds=0.02,
    )
    detected: CommandSpeed = found.commands[1]
    assert not detected.frames.is_whole
    assert detected.frames.num_wanted > 200
    assert 0 < detected.default.timing.median_seconds < math.inf
    assert found.agreements == ()


def test_a_file_that_is_no_video_is_refused(tmp_path: Path, built_in: Model) -> None:
    (tmp_path / "notes.txt").write_text("not a video")
    with pytest.raises(VideoError):
        measure_speed(str(tmp_path / "notes.txt"), model=built_in, dtypes=["float32"], batch_sizes=[1], seconds=SECONDS)
