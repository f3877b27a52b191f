"""Features of snippets: what a file keeps, and files from anywhere."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tadacli.detection.feature_file import read_features, write_features
from tadacli.detection.features import FeatureContract, VideoFeatures
from tadacli.errors import OutputError, UsageError
from tadacli.results import Gap, Note, NoteKind
from tadacli.zoo.manifest import manifest


def some_features(num_rows: int = 5) -> VideoFeatures:
    rng = np.random.default_rng(3)
    spec = manifest()["r2plus1d_tiny.camera_motion"]
    centres = 10 + (np.arange(num_rows) + 0.5) * 0.25
    return VideoFeatures(
        path="a kitchen\udcff.mp4",
        values=rng.standard_normal((num_rows, 7)).astype(np.float32),
        spans=np.stack([centres - 1, centres + 1], axis=1),
        centres=centres,
        stride_seconds=0.25,
        duration_seconds=20.5,
        gaps=(Gap(3.0, 4.5, "gone"),),
        contract=FeatureContract(spec, "0" * 64, "9.9", 30.0, 2.0, 0.25, 0.125, 1, {"device": "cpu"}),
        scores={"": rng.random((num_rows, len(spec.heads[""]))).astype(np.float32)},
        size_bytes=123,
        num_planned=9,
        notes=(Note(NoteKind.CUT_SHORT, "cut"),),
    )


@pytest.mark.parametrize("num_rows", [0, 1, 5])
def test_a_feature_file_gives_back_every_value(tmp_path: Path, num_rows: int) -> None:
    features = some_features(num_rows)
    write_features(tmp_path / "f.npz", features)
    back = read_features(tmp_path / "f.npz")
    for name in VideoFeatures.__annotations__:
        expected, found = getattr(features, name), getattr(back, name)
        if isinstance(expected, np.ndarray):
            assert np.array_equal(found, expected), name
            assert found.dtype == expected.dtype, name
        elif name != "scores":
            assert found == expected, name
    assert back.scores.keys() == {""}
    assert np.array_equal(back.scores[""], features.scores[""])
    write_features(tmp_path / "again.npz", back)
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "f.npz").read_bytes()
    with pytest.raises(OutputError, match="not overwritten"):
        write_features(tmp_path / "f.npz", features)


def test_numpy_reads_a_feature_file(tmp_path: Path) -> None:
    features = some_features()
    write_features(tmp_path / "f.npz", features, stored="float16")
    with np.load(tmp_path / "f.npz", allow_pickle=False) as arrays:
        assert arrays["values"].dtype == np.float16
        assert np.array_equal(arrays["values"], features.values.astype(np.float16))
        assert np.array_equal(arrays["centres"], features.centres)
    back = read_features(tmp_path / "f.npz")
    assert back.values.dtype == np.float32
    assert np.array_equal(back.values, features.values.astype(np.float16).astype(np.float32))


def test_a_value_too_large_for_float16_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    features = replace(some_features(), values=np.full((5, 7), 1e5, np.float32))
    with pytest.raises(UsageError, match="no place"):
        write_features(tmp_path / "f.npz", features, stored="float16")
    assert not list(tmp_path.iterdir())


def members_of(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def npy(array: object, *, allow_pickle: bool = False) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.asanyarray(array), allow_pickle=allow_pickle)
    return buffer.getvalue()


def about(values: Mapping[str, Any]) -> bytes:
    return npy(json.dumps(values))


def write_members(path: Path, members: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


@pytest.mark.parametrize(
    ("member", "content"),
    [
        ("values.npy", npy(np.zeros((4, 7), np.float32))),
        ("values.npy", npy(np.zeros((5, 7), np.int64))),
        ("values.npy", npy(np.zeros(5, np.float32))),
        ("values.npy", npy(np.full((5, 7), np.nan, np.float32))),
        ("values.npy", npy(np.array([[{"run": "me"}] * 7] * 5), allow_pickle=True)),
        ("values.npy", None),
        ("spans.npy", npy(np.zeros((5, 3)))),
        ("centres.npy", npy(np.full(5, np.inf))),
        ("scores.npy", npy(np.zeros((5, 2), np.float32))),
        ("about.npy", npy("no JSON")),
        ("about.npy", npy("[1]")),
        ("about.npy", npy(json.dumps("[" * 100_000))),
        ("values.npy", npy(np.zeros((5, 7), np.float32))[:90]),
    ],
)
def test_a_file_that_is_none_is_one_named_error(tmp_path: Path, member: str, content: bytes | None) -> None:
    write_features(tmp_path / "f.npz", some_features())
    members = {**members_of(tmp_path / "f.npz"), member: content}
    bad = tmp_path / "bad.npz"
    write_members(bad, {name: each for name, each in members.items() if each is not None})
    with pytest.raises(UsageError, match=r"bad\.npz is not a feature file of this tool, or is damaged"):
        read_features(bad)


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "tada window scores 1"},
        {"stride_seconds": 0},
        {"stride_seconds": "0.5"},
        {"duration_seconds": None},
        {"gaps": [{"start_seconds": 0, "end_seconds": 1}]},
        {"notes": [{"kind": "no such kind", "text": ""}]},
        {"path": 3},
        {"scores": ["verb"]},
        {"more": 1},
        {"spec": {"name": "evil"}},
        {"contract": {"crops": 3}},
    ],
)
def test_facts_of_other_types_are_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    write_features(tmp_path / "f.npz", some_features())
    members = members_of(tmp_path / "f.npz")
    facts = json.loads(str(np.load(io.BytesIO(members["about.npy"]))))
    write_members(tmp_path / "bad.npz", {**members, "about.npy": about({**facts, **changes})})
    with pytest.raises(UsageError, match="not a feature file"):
        read_features(tmp_path / "bad.npz")


def test_a_bomb_is_refused(tmp_path: Path) -> None:
    write_features(tmp_path / "f.npz", some_features())
    members = members_of(tmp_path / "f.npz")
    bomb = npy(np.zeros((1 << 20, 70), np.float32))
    write_members(tmp_path / "bomb.npz", {**members, "values.npy": bomb}, zipfile.ZIP_DEFLATED)
    with pytest.raises(UsageError, match="unpacks to more"):
        read_features(tmp_path / "bomb.npz")


def test_a_name_that_would_move_the_terminal_is_escaped(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        read_features(tmp_path / "evil\x1b[2J.npz")
    assert "\x1b" not in caught.value.message
