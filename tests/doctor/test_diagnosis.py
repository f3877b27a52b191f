"""The doctor: every kind of damage, made on purpose, is named with what mends it."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import re
import shutil
import tomllib
from collections import namedtuple
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
import torchvision

from tadacli.doctor import codecs as codec_check
from tadacli.doctor import diagnosis as doctor
from tadacli.doctor import self_test
from tadacli.doctor import store as store_check
from tadacli.doctor.findings import Finding
from tadacli.errors import VideoError
from tadacli.video.reading import read_frames
from tadacli.zoo import DEFAULT_MODEL, store
from tadacli.zoo.loading import builtin_weights
from tadacli.zoo.manifest import cards
from tadacli.zoo.store import hash_file, put

NAME = "tada2d_r50.k400_8x8"
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _healthy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store of its own, no settings of threads, and no GPU, whatever this machine has."""
    monkeypatch.setenv("TADA_HOME", str(tmp_path / "home"))
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(doctor, "NVIDIA_DRIVER", tmp_path / "no driver")
    monkeypatch.setattr(doctor, "num_cores", lambda: 4)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)


def named(findings: Iterable[Finding]) -> dict[str, Finding]:
    """The findings by name, which must differ."""
    listed = list(findings)
    assert len({finding.name for finding in listed}) == len(listed)
    return {finding.name: finding for finding in listed}


def unwell(findings: Iterable[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.status != "ok"]


def keep(tmp_path: Path, name: str, content: bytes = b"weights") -> Path:
    (tmp_path / "made").write_bytes(content)
    return put(tmp_path / "made", name=name, original=hash_file(tmp_path / "made"), source="here").path


def test_a_healthy_installation_has_no_problem_and_is_left_as_it_was(tmp_path: Path) -> None:
    shown: list[Finding] = []
    findings = doctor.diagnose(on_finding=shown.append)
    assert [finding for finding in findings if finding.status == "problem"] == []
    assert shown == findings
    assert len({(finding.group, finding.name) for finding in findings}) == len(findings)
    assert list(dict.fromkeys(finding.group for finding in findings)) == [group for group, _ in doctor.CHECKS]
    assert not (tmp_path / "home").exists()


def test_a_check_that_crashes_is_a_problem_and_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    good = Finding("last", "it", "ok", "fine")

    def crash(error: Exception) -> Any:
        yield Finding("first", "before", "ok", "fine")
        raise error

    errors = [
        RuntimeError("boom\nat length"),
        VideoError("odd", hint="do this"),
        ModuleNotFoundError("x", name="PIL.Y"),
    ]
    checks = [(str(number), lambda error=error: crash(error)) for number, error in enumerate(errors)]
    monkeypatch.setattr(doctor, "CHECKS", (*checks, ("last", lambda: [good])))
    findings = doctor.diagnose()
    assert [finding.status for finding in findings] == ["ok", "problem"] * 3 + ["ok"]
    assert [finding.found for finding in findings[1:6:2]] == ["it failed: boom", "it failed: odd", "it failed: x"]
    fixes = [finding.fix for finding in findings[1:6:2]]
    assert fixes[0].startswith("TADA_DEBUG=1 tada doctor")
    assert fixes[1] == "do this"
    assert fixes[2].endswith("-m pip install --force-reinstall pillow")
    with pytest.raises(RuntimeError, match="boom"):
        doctor.diagnose(raise_errors=True)


# --- versions -------------------------------------------------------------------------------------


def test_the_packages_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = dict(
        re.fullmatch(r"([a-z-]+)(?:\[.*\])?>=([\d.]+)(?:,<\d+)?", each).groups() for each in project["dependencies"]
    )
    assert {name: lowest for name, _, lowest in doctor.PACKAGES if lowest} == needed


@pytest.mark.parametrize(
    ("module", "error", "found", "fix"),
    [
        ("pandas", ModuleNotFoundError("gone", name="pandas"), "not installed", "'pandas>=2.3.3'"),
        ("pandas", ModuleNotFoundError("no pytz", name="pytz"), "it does not load: no pytz", "'pandas>=2.3.3'"),
        ("torchvision", RuntimeError("no nms\nmore"), "it does not load: no nms", "'torch>=2.12' 'torchvision>=0.27'"),
    ],
)
def test_a_library_that_does_not_load(
    module: str, error: Exception, found: str, fix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = importlib.import_module

    def broken(name: str, *rest: Any) -> Any:
        if name == module:
            raise error
        return load(name, *rest)

    monkeypatch.setattr(doctor.importlib, "import_module", broken)
    (finding,) = unwell(doctor.check_versions())
    assert (finding.name, finding.status, finding.found) == (module, "problem", found)
    assert finding.fix.endswith(f"-m pip install --force-reinstall {fix}")


@pytest.mark.parametrize(
    ("version", "is_new_enough"), [("17.9.9", False), ("18", True), ("18.0.0", True), ("18.0rc1", True), ("9", False)]
)
def test_a_library_that_is_too_old(version: str, is_new_enough: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: version if name == "av" else installed(name))
    finding = named(doctor.check_versions())["av"]
    assert finding.status == ("ok" if is_new_enough else "problem")
    if not is_new_enough:
        assert finding.found == f"{version}, but 18 or later is needed"
        assert finding.fix.endswith("'av>=18'")


def test_the_versions_are_those_that_run() -> None:
    findings = named(doctor.check_versions())
    for library in (torch, torchvision, av, np):
        assert library.__version__.startswith(findings[library.__name__].found)
    assert findings["FFmpeg"].found.startswith(av.ffmpeg_version_info)


# --- devices and threads --------------------------------------------------------------------------


def test_a_gpu_that_fails_is_named_with_a_way_around_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_device: object) -> None:
        raise RuntimeError("no kernel image is available")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "mem_get_info", fail)
    findings = named(doctor.check_devices())
    assert list(findings) == ["cpu", "cuda:0", "cuda:1"]
    assert (findings["cuda:1"].status, "no kernel image" in findings["cuda:1"].found) == ("problem", True)
    assert findings["cuda:1"].fix.startswith("CUDA_VISIBLE_DEVICES= tada classify")


def test_a_device_must_compute_right(monkeypatch: pytest.MonkeyPatch) -> None:
    device = torch.device("cpu")
    assert doctor.check_accelerator(device, lambda _device: "this").found == "this, computes right"
    results = iter((torch.ones(2), torch.zeros(2)))
    monkeypatch.setattr(torch.nn.functional, "conv2d", lambda *_: next(results))
    finding = doctor.check_accelerator(device, lambda _device: "this")
    assert (finding.status, finding.found) == ("problem", "this, computes wrong numbers")
    assert "--device cpu" in finding.fix


@pytest.mark.parametrize(
    ("cuda", "hidden", "found", "fix"),
    [
        (None, False, "built without CUDA", "'torch>=2.12'"),
        ("13.2", False, "built for CUDA 13.2, finds no GPU", "nvidia-smi"),
        ("13.2", True, "CUDA_VISIBLE_DEVICES hides", "unset CUDA_VISIBLE_DEVICES"),
    ],
)
def test_a_gpu_that_torch_does_not_see_is_a_note(
    cuda: str | None, hidden: bool, found: str, fix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert unwell(doctor.check_devices()) == []
    monkeypatch.setattr(doctor, "NVIDIA_DRIVER", tmp_path)
    monkeypatch.setattr(torch.version, "cuda", cuda)
    if hidden:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    (finding,) = unwell(doctor.check_devices())
    assert (finding.name, finding.status) == ("cuda", "note")
    assert found in finding.found
    assert fix in finding.fix


@pytest.mark.parametrize(
    ("value", "found"),
    [("64", "64 threads, but 4 cores"), ("1", "1 of 4 cores"), ("many", "'many' is no number"), ("4", ""), ("2", "")],
)
def test_thread_settings_that_slow_things_are_noted(value: str, found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    odd = unwell(doctor.check_threads())
    assert len(odd) == (1 if found else 0)
    for finding in odd:
        assert (finding.name, finding.status, finding.fix) == ("OMP_NUM_THREADS", "note", "unset OMP_NUM_THREADS")
        assert found in finding.found


def test_more_threads_than_cores_are_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 32)
    (finding,) = doctor.check_threads()
    assert (finding.status, finding.fix) == ("note", "export OMP_NUM_THREADS=4")


@pytest.mark.parametrize(("quota", "cores"), [("max 100000", 8), ("250000 100000", 2), ("1000 100000", 1), ("odd", 8)])
def test_the_quota_of_a_container_counts(
    quota: str, cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    (tmp_path / "cpu.max").write_text(quota + "\n")
    monkeypatch.setattr(doctor, "CPU_QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)), raising=False)
    assert doctor.num_cores() == cores


# --- decoders -------------------------------------------------------------------------------------


def without(monkeypatch: pytest.MonkeyPatch, *missing: str, mode: str) -> None:
    """An FFmpeg that lacks these codecs."""
    codec = av.Codec

    def lookup(name: str, asked: Any = "r") -> Any:
        if name in missing and asked == mode:
            raise ValueError(name)
        return codec(name, asked)

    monkeypatch.setattr(av, "Codec", lookup)


@pytest.mark.parametrize("name", list(codec_check.CODINGS))
def test_a_missing_decoder_is_named_with_what_brings_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, *codec_check.CODINGS[name].decoders, mode="r")
    (finding,) = unwell(doctor.check_decoders())
    assert (finding.name, finding.status) == (name, "problem")
    assert finding.found == f"this FFmpeg has no software decoder for {name}"
    assert finding.fix.endswith("'av>=18' --only-binary av")


def test_without_an_encoder_nothing_is_tried_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "libx264", "libopenh264", mode="w")
    finding = named(doctor.check_decoders())["h264"]
    assert (finding.status, finding.found) == ("ok", "h264 is there; not tried, since nothing encodes it here")


def test_what_is_less_common_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "prores", "vc1", mode="r")
    (finding,) = unwell(doctor.check_decoders())
    assert (finding.name, finding.status) == ("less common", "note")
    assert finding.found.endswith("not there: prores, vc1")


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda content, _: content[:300], "what mjpeg encoded is not decoded"),
        (lambda _, encode: encode(lambda pictures: pictures[:3]), "3 of 4 pictures came out of the decoder"),
        (lambda _, encode: encode(lambda pictures: [p[::-1] for p in pictures]), "decoded pictures are off by"),
    ],
)
def test_a_decoder_that_does_not_give_the_pictures_back(
    change: Any, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = codec_check.encode

    def damaged(pictures: Any, encoder: str, coding: Any) -> bytes:
        content = encode(pictures, encoder, coding)
        return change(content, lambda edit: encode(edit(pictures), encoder, coding)) if encoder == "mjpeg" else content

    monkeypatch.setattr(codec_check, "encode", damaged)
    (finding,) = unwell(doctor.check_decoders())
    assert (finding.name, finding.status) == ("mjpeg", "problem")
    assert found in finding.found


# --- the store ------------------------------------------------------------------------------------


def test_good_weights_in_the_store_are_well(tmp_path: Path) -> None:
    path = keep(tmp_path, NAME)
    findings = named(store_check.check_store())
    assert unwell(findings.values()) == []
    assert store.hash_file(path).sha256 in findings[NAME].found
    assert findings["folder"].found == f"{tmp_path / 'home'} ($TADA_HOME)"


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (lambda path: path.write_bytes(b"weighty"), "is damaged: 7 bytes"),
        (lambda path: path.write_bytes(b""), "is damaged: 0 bytes"),
        (lambda path: path.unlink(), f"only {NAME}.json is in"),
        (lambda path: path.with_suffix(".json").unlink(), f"only {NAME}.safetensors is in"),
        (lambda path: path.with_suffix(".json").write_text("{"), f"{NAME}.json, which is damaged, is in"),
    ],
)
def test_damaged_weights_are_fetched_again(damage: Any, found: str, tmp_path: Path) -> None:
    keep(tmp_path, "tada2d_r50.ssv2_8f", b"others")
    damage(keep(tmp_path, NAME))
    (finding,) = unwell(store_check.check_store())
    assert (finding.name, finding.status, finding.fix) == (NAME, "problem", f"tada fetch {NAME}")
    assert found in finding.found


def test_damaged_weights_that_cannot_be_fetched_are_removed(tmp_path: Path) -> None:
    path = keep(tmp_path, "of another version")
    path.write_bytes(b"")
    (finding,) = unwell(store_check.check_store())
    assert finding.fix == f"rm '{path}'"


def test_a_damaged_lock_file(tmp_path: Path) -> None:
    store.lock(NAME, store.FileHash(1, "00"))
    store.lock_file().write_text("[")
    (finding,) = unwell(store_check.check_store())
    assert (finding.name, finding.status) == ("lock.json", "problem")
    assert finding.fix.startswith(f"rm {tmp_path / 'home' / 'lock.json'}  ")


def test_a_folder_that_cannot_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TADA_HOME", str(tmp_path / "file" / "home"))
    finding = named(store_check.check_store())["folder"]
    assert (finding.status, finding.fix) == ("problem", "export TADA_HOME=FOLDER  (one of yours that can be written)")
    assert f"{tmp_path / 'file' / 'home'} ($TADA_HOME) cannot be written" in finding.found


@pytest.mark.parametrize("which", ["", "models", "downloads"])
def test_a_folder_that_cannot_be_written(which: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "home" / which
    folder.mkdir(parents=True)
    make = store_check.tempfile.TemporaryFile

    def refused(dir: Path) -> Any:  # the person who runs the tests may be root, whom no mode stops
        if dir == folder:
            raise PermissionError(13, "Permission denied")
        return make(dir=dir)

    monkeypatch.setattr(store_check.tempfile, "TemporaryFile", refused)
    (finding,) = unwell(store_check.check_store())
    assert (finding.name, finding.status, finding.fix) == (
        "folder",
        "problem",
        "export TADA_HOME=FOLDER  (one of yours that can be written)",
    )
    assert finding.found.endswith("cannot be written: Permission denied")


def test_too_little_room_for_the_largest_model_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    sizes = [cards()[name].about_bytes or 0 for name in store_check.usable_models()]
    for free, statuses in ((2 * max(sizes), []), (2 * max(sizes) - 1, ["note"])):
        monkeypatch.setattr(shutil, "disk_usage", lambda _path, free=free: usage(0, 0, free))
        assert [finding.status for finding in unwell(store_check.check_store())] == statuses


# --- the built-in model ---------------------------------------------------------------------------


def test_the_known_hash_is_that_of_the_weights() -> None:
    file = builtin_weights(cards()[DEFAULT_MODEL].source.file)
    assert hash_file(file).sha256 == self_test.WEIGHTS_SHA256, "new weights: bring self_test.py up to date"


def flipped(content: bytes) -> bytes:
    return content[:-4] + bytes([content[-4] ^ 1]) + content[-3:]  # the last bit of the last number


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (lambda _: None, "are missing from this installation"),
        (lambda content: content[:-100], "is not a whole safetensors file"),
        (flipped, "is not what was published"),
    ],
)
def test_missing_or_damaged_weights(damage: Any, found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = builtin_weights(cards()[DEFAULT_MODEL].source.file)
    content = damage(file.read_bytes())
    (tmp_path / "tadacli" / "weights").mkdir(parents=True)
    if content is not None:
        (tmp_path / "tadacli" / "weights" / file.name).write_bytes(content)
    monkeypatch.setattr("tadacli.zoo.loading.__file__", str(tmp_path / "tadacli" / "zoo" / "loading.py"))
    findings = named(doctor.check_built_in())
    assert (findings["weights"].status, findings["weights"].fix) == ("problem", doctor.weights_again())
    assert found in findings["weights"].found
    assert findings["self-test on cpu"].status == "note"


def test_the_weights_come_back_from_where_tada_came_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Installed:
        def read_text(self, _name: str) -> str:
            return '{"url": "file:///home/me/tada", "dir_info": {}}'

    monkeypatch.setattr(importlib.metadata, "distribution", lambda _name: Installed())
    assert doctor.weights_again(tmp_path).endswith("-m pip install --force-reinstall --no-deps file:///home/me/tada")
    (tmp_path / ".git").mkdir()
    assert doctor.weights_again(tmp_path) == f"git -C {tmp_path} checkout -- weights"


def test_the_clip_of_the_self_test_is_read_as_it_was_made(tmp_path: Path) -> None:
    self_test.write_clip(tmp_path / "clip.mkv")
    expected = np.stack(list(self_test.clip_frames()))
    assert np.array_equal(read_frames(tmp_path / "clip.mkv", range(len(expected))), expected)


@pytest.mark.parametrize(
    "fault",
    [
        lambda frames: frames[::-1],
        lambda frames: [frame[:, ::-1] for frame in frames],
        lambda frames: [frame[:, :, ::-1] for frame in frames],
        lambda frames: [frame // 2 for frame in frames],
        lambda frames: frames[:1] * 3 + frames[:-3],
    ],
    ids=["reversed", "mirrored", "BGR", "dark", "late"],
)
def test_the_self_test_sees_small_faults(fault: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = list(self_test.clip_frames())
    monkeypatch.setattr(self_test, "clip_frames", lambda: [np.ascontiguousarray(each) for each in fault(frames)])
    finding = named(doctor.check_built_in())["self-test on cpu"]
    assert finding.status == "problem"
    assert re.match("the clip is a pan left, but the model answers|the score of", finding.found)
    assert "'torch>=2.12' 'torchvision>=0.27' 'av>=18'" in finding.fix


def test_other_scores_are_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    off = {**self_test.EXPECTED, "static": self_test.EXPECTED["static"] + 2 * self_test.TOLERANCE}
    monkeypatch.setattr(self_test, "EXPECTED", off)
    finding = named(doctor.check_built_in())["self-test on cpu"]
    assert (finding.status, finding.found) == ("problem", "the score of static is 0.3451, not 0.3851")


def test_a_self_test_that_cannot_be_made_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "ffv1", mode="w")
    finding = named(doctor.check_built_in())["self-test on cpu"]
    assert (finding.status, "cannot encode FFV1" in finding.found) == ("note", True)


def test_a_home_that_cannot_be_looked_into_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, stat = tmp_path / "home" / "store", os.stat

    def refuse(path: str | os.PathLike[str] | int, *arguments: Any, **options: Any) -> os.stat_result:
        if not isinstance(path, int) and str(path).startswith(str(folder)):
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, *arguments, **options)

    monkeypatch.setenv("TADA_HOME", str(folder))
    monkeypatch.setattr(os, "stat", refuse)
    (finding,) = store_check.check_store()
    assert (finding.status, finding.found) == ("problem", f"{folder} ($TADA_HOME) cannot be read: Permission denied")
    assert finding.fix.startswith("export TADA_HOME=FOLDER")
