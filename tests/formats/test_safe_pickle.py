"""Pickles of arrays come back as they were, and nothing that a pickle names is run."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tadacli.formats.safe_pickle import UnsafePickleError, load_arrays, load_torch

ARRAYS = [
    np.arange(12, dtype=np.float32).reshape(3, 4),
    np.asfortranarray(np.arange(12, dtype=np.float64).reshape(3, 4)),
    np.arange(12, dtype=">i4").reshape(2, 6),
    np.zeros((0, 97), dtype=np.float32),
    np.array(3.5),
    np.array(["P01_11_0", "P01_11_10"]),
    np.array(["P01_11_0", "P01_11_10"], dtype=object),
    np.array([b"ab", b"c"]),
    np.array([True, False]),
]


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}{array.shape}")
def test_arrays_come_back_as_they_were(array: np.ndarray, protocol: int) -> None:
    value = {"a": array, "b": [(array, "text", 1.5)], "c": None}
    read = load_arrays(pickle.dumps(value, protocol))
    for found in (read["a"], read["b"][0][0]):
        assert found.dtype == array.dtype
        assert found.shape == array.shape
        assert found.tolist() == array.tolist()
    assert read["b"][0][1:] == ("text", 1.5)


def test_names_of_older_numpy_are_known() -> None:
    content = pickle.dumps([np.float32(2.5), np.arange(3)], 4)
    old = content.replace(b"\x8c\x16numpy._core.multiarray", b"\x8c\x15numpy.core.multiarray")
    assert b"numpy.core.multiarray" in old  # NumPy 1 still writes it
    # The frame is one byte shorter for each name that was replaced.
    old = old[:3] + (len(old) - 11).to_bytes(8, "little") + old[11:]
    number, array = load_arrays(old)
    assert number == 2.5
    assert array.tolist() == [0, 1, 2]


class _Runs:
    def __init__(self, target: Any, *arguments: Any) -> None:
        self._call = (target, arguments)

    def __reduce__(self) -> Any:
        return self._call


@pytest.mark.parametrize("save", [pickle.dumps, lambda value: _saved(value)], ids=["pickle", "torch"])
@pytest.mark.parametrize("wrap", [lambda bad: bad, lambda bad: [{"verb_output": bad}], lambda bad: {"a": (bad,)}])
def test_a_pickle_that_runs_something_is_refused_and_runs_nothing(tmp_path: Path, wrap: Any, save: Any) -> None:
    trace = tmp_path / "trace"
    load = load_arrays if save is pickle.dumps else load_torch
    for bad in (
        _Runs(os.system, f"touch {trace}"),
        _Runs(eval, f"open({str(trace)!r}, 'w')"),
        _Runs(open, str(trace), "w"),
        _Runs(getattr, "text", "upper"),
    ):
        with pytest.raises(UnsafePickleError):
            load(save(wrap(bad)))
    assert not trace.exists()


def _saved(value: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]), "records may hide pointers"),
        (np.array([np.float32], dtype=object), "an array of objects may hold a class"),
        (Path("a"), "a class of the standard library is no container"),
        (np.datetime64("2020-01-01"), "a type that no score has"),
        (torch.zeros(2), "a tensor in a plain pickle is rebuilt by functions that load more"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_plain_array_is_refused(value: Any, why: str) -> None:
    with pytest.raises(UnsafePickleError):
        load_arrays(pickle.dumps(value))
    assert why


def test_forged_objects_from_bytes_are_refused() -> None:
    # Bytes that would be taken for addresses, if an array of objects were made of them.
    array = pickle.dumps(np.arange(3, dtype=np.int64), 4)
    forged = array.replace(b"\x8c\x02i8", b"\x8c\x02O8")
    assert forged != array
    with pytest.raises(ValueError, match=r"reshape|damaged"):
        load_arrays(forged)


class _Forged:
    """A plain type that says of itself that it has fields, as a pickle can be written to say."""

    def __init__(self, *state: Any) -> None:
        self._state = state

    def __reduce__(self) -> Any:
        return np.dtype, ("i8", False, True), self._state


@pytest.mark.parametrize(
    "state",
    [
        (3, "<", None, ("a", "b"), {"a": (np.dtype("i4"), 0), "b": (np.dtype("i4"), 4)}, 8, 1, 0),
        (3, "<", None, ("a",), None, 8, 1, 0),
        (3, "<", (np.dtype("i4"), (2,)), None, None, 8, 1, 0),
    ],
    ids=["fields", "names alone", "an array in each item"],
)
def test_a_plain_type_that_turns_into_records_is_refused(state: tuple[object, ...]) -> None:
    (function, empty, (version, shape, _, by_column, data)) = np.arange(3, dtype=np.int64).__reduce__()

    class Array:
        def __reduce__(self) -> Any:
            return function, empty, (version, shape, _Forged(*state), by_column, data)

    with pytest.raises(UnsafePickleError):
        load_arrays(pickle.dumps(Array()))


@pytest.mark.parametrize("wrap", [lambda value: [value], lambda value: {"a": value}, lambda value: (value, 1)])
def test_what_nests_deeper_than_any_predictions_is_a_value_error(wrap: Any) -> None:
    value: Any = np.arange(3)
    for depth in range(1, 40):
        value = wrap(value)
        if depth <= 4:
            load_arrays(pickle.dumps(value))
    with pytest.raises(ValueError, match="nests too deeply"):
        load_arrays(pickle.dumps(value))


def test_lists_in_lists_without_end_are_a_value_error() -> None:
    """A pickle of a few bytes for each level, deeper than Python's own recursion reaches."""
    with pytest.raises(ValueError, match=r"nests too deeply|damaged"):
        load_arrays(b"\x80\x04" + b"](" * 100_000 + b"e" * 100_000 + b".")


@given(cut=st.integers(0, 400), junk=st.binary(max_size=8))
def test_a_damaged_pickle_is_a_value_error(cut: int, junk: bytes) -> None:
    whole = pickle.dumps({"verb_output": np.zeros((2, 97), np.float32), "narration_id": ["a", "b"]})
    if whole.startswith(whole[:cut] + junk):
        return
    try:
        load_arrays(whole[:cut] + junk + whole[cut + len(junk) :])
    except ValueError:
        return


@pytest.mark.parametrize("legacy", [False, True])
def test_tensors_of_torch_save(legacy: bool) -> None:
    stream = io.BytesIO()
    value = [{"verb_output": torch.arange(3.0), "narration_id": "P01_11_0"}]
    torch.save(value, stream, _use_new_zipfile_serialization=not legacy)
    (entry,) = load_torch(stream.getvalue())
    assert entry["verb_output"].tolist() == [0, 1, 2]
    assert entry["narration_id"] == "P01_11_0"


def test_arrays_of_torch_save() -> None:
    (entry,) = load_torch(_saved([{"verb_output": np.arange(3.0), "narration_id": "P01_11_0"}]))
    assert entry["verb_output"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("content", [b"PK\x03\x04", b"\x80\x04nothing", b"", b"text"])
def test_what_is_no_file_of_torch_is_a_value_error(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"damaged|no file of torch"):
        load_torch(content)
