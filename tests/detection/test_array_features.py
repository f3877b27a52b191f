"""Features of other programs: arrays whose rows count, from anywhere."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from tadacli.detection.array_features import read_array_features
from tadacli.errors import UsageError

ROWS = np.arange(12, dtype=np.float32).reshape(4, 3)


def test_rows_stand_where_actionformer_puts_them(tmp_path: Path) -> None:
    """Its grid of a time is (time * fps - num_frames / 2) / feat_stride."""
    np.save(tmp_path / "v.npy", ROWS)
    found = read_array_features(tmp_path / "v.npy", fps=30, stride_frames=16, window_frames=32)
    assert np.array_equal(found.values, ROWS)
    np.testing.assert_allclose((found.centres * 30 - 16) / 16, np.arange(4))
    np.testing.assert_allclose(found.spans[1], [16 / 30, 48 / 30])
    assert found.stride_seconds == pytest.approx(16 / 30)
    assert found.duration_seconds == pytest.approx(80 / 30)
    assert found.contract is None


def test_rows_stand_where_opentad_puts_them(tmp_path: Path) -> None:
    np.savez(tmp_path / "v.npz", feats=ROWS.astype(np.float64))
    found = read_array_features(
        tmp_path / "v.npz", fps=25, stride_frames=4, window_frames=16, offset_frames=8, duration_seconds=9.5
    )
    np.testing.assert_allclose((found.centres * 25 - 8) / 4, np.arange(4))
    assert (found.values.dtype, found.duration_seconds) == (np.float32, 9.5)


def npy(array: object, *, allow_pickle: bool = False) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.asanyarray(array), allow_pickle=allow_pickle)
    return buffer.getvalue()


def promising_much() -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f4", "fortran_order": False, "shape": (1 << 40, 2048)})
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no array",
        npy(ROWS)[:-5],
        npy(ROWS[0]),
        npy(ROWS.astype(np.int64)),
        npy(np.full((2, 2), np.inf)),
        npy(np.array([[{}]]), allow_pickle=True),
        promising_much(),
    ],
)
def test_what_holds_no_features_is_one_named_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "v.npy").write_bytes(content)
    with pytest.raises(UsageError, match=r"v\.npy"):
        read_array_features(tmp_path / "v.npy", fps=30, stride_frames=16, window_frames=32)


def test_a_file_that_is_missing_or_lacks_the_array_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"gone\.npy"):
        read_array_features(tmp_path / "gone.npy", fps=30, stride_frames=16, window_frames=32)
    np.savez(tmp_path / "v.npz", other=ROWS)
    with pytest.raises(UsageError, match=r"v\.npz"):
        read_array_features(tmp_path / "v.npz", fps=30, stride_frames=16, window_frames=32)


@pytest.mark.parametrize("changes", [{"fps": 0}, {"stride_frames": -1}, {"window_frames": float("nan")}])
def test_numbers_that_are_none_are_refused(tmp_path: Path, changes: dict[str, float]) -> None:
    np.save(tmp_path / "v.npy", ROWS)
    with pytest.raises(UsageError, match="cannot be laid out"):
        read_array_features(tmp_path / "v.npy", **{"fps": 30, "stride_frames": 16, "window_frames": 32, **changes})
