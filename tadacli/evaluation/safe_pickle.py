"""Reads arrays and tensors out of a pickle without running any code it names.

A pickle is a program that may call anything. Here the few names that an array is made of stand for stand-ins of
our own, whose arrays have plain types; every other name is refused.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

_PLAIN_KINDS = "biufUSO"


class UnsafePickleError(ValueError):
    """A pickle that needs more than arrays, containers, text and numbers."""


def load_arrays(content: bytes) -> Any:
    """The value of a pickle of numpy arrays, built-in containers, text and numbers.

    Raises `UnsafePickleError` for a pickle that names anything else, and `ValueError` for one that is damaged.
    """
    try:
        return _finished(_Unpickler(io.BytesIO(content)).load(), depth=0)
    except ValueError:
        raise
    except Exception as error:  # a damaged pickle can fail in any way
        raise ValueError(f"the pickle is damaged: {error}") from error


def load_torch(content: bytes) -> Any:
    """The value of a file of torch.save, of tensors or of numpy arrays (not both), containers, text and numbers.

    Raises `UnsafePickleError` and `ValueError` as `load_arrays` does.
    """
    import torch

    try:
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        return load_arrays(_pickle_in(content))  # numpy arrays, which torch does not take for weights
    except Exception as error:  # a damaged file can fail in any way
        raise ValueError(f"it is damaged ({str(error)[:120]})") from error


def _pickle_in(content: bytes) -> bytes:
    """The pickle in a file of torch.save; older files are one themselves."""
    if not content.startswith(b"PK"):
        return content
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            (name,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
            return archive.read(name)
    except (ValueError, zipfile.BadZipFile) as error:
        raise ValueError("it is no file of torch.save") from error


class _Dtype:
    """Stands for numpy.dtype: a plain type by its code, then its byte order."""

    def __init__(self, code: object, *_: object) -> None:
        self.dtype = np.dtype(str(code))
        if self.dtype.kind not in _PLAIN_KINDS or self.dtype.subdtype is not None:
            raise UnsafePickleError(f"an array of type {self.dtype}")

    def __setstate__(self, state: Sequence[Any]) -> None:
        order, subtype, names, fields = state[1:5]
        if subtype is not None or names or fields:
            raise UnsafePickleError("an array of records")
        self.dtype = self.dtype.newbyteorder(order)


class _Array:
    """Stands for an array; its values come after it, as its state."""

    def __init__(self, *_: object) -> None:
        self.values: Any = None

    def __setstate__(self, state: Sequence[Any]) -> None:
        _, shape, dtype, by_column, data = state
        self.values = _array(data, dtype, shape, "F" if by_column else "C")


class _ArrayType:
    """Stands for numpy.ndarray, which is only ever handed to `_reconstruct`."""


def _array(data: Any, dtype: _Dtype, shape: Sequence[int], order: str) -> Any:
    if dtype.dtype.kind == "O":
        values = np.empty(len(data), dtype=object)
        values[:] = [_finished(value, depth=1) for value in data]
    else:
        values = np.frombuffer(_bytes(data), dtype=dtype.dtype)
    return values.reshape(tuple(shape), order="F" if order == "F" else "C")


def _from_buffer(data: Any, dtype: _Dtype, shape: Sequence[int], order: str, *_: object) -> _Array:
    array = _Array()
    array.values = _array(data, dtype, shape, order)
    return array


def _scalar(dtype: _Dtype, data: Any = b"") -> Any:
    if dtype.dtype.kind == "O":
        raise UnsafePickleError("a number that is an object")
    return np.frombuffer(_bytes(data), dtype=dtype.dtype)[0]


def _bytes(data: Any) -> bytes:
    # Python 2 wrote bytes as text of the same code points.
    return data.encode("latin1") if isinstance(data, str) else bytes(memoryview(data))


def _encode(text: str, encoding: str = "latin1") -> bytes:
    if encoding != "latin1":
        raise UnsafePickleError(f"text in the encoding {encoding}")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """What old protocols call for empty bytes."""
    return b""


_NAMES: dict[tuple[str, str], Callable[..., Any] | type] = {
    ("numpy", "ndarray"): _ArrayType,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,
    ("builtins", "bytes"): _no_bytes,
    ("__builtin__", "bytes"): _no_bytes,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _Array for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _from_buffer for core in ("core", "_core")},
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _NAMES:
            raise UnsafePickleError(f"it names {module}.{name}")
        return _NAMES[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise UnsafePickleError(f"it refers to {str(pid)[:40]!r} outside of the file")


def _finished(value: Any, *, depth: int) -> Any:
    """The value with arrays in place of their stand-ins."""
    if depth > 6:
        raise ValueError("the pickle nests too deeply")
    if isinstance(value, _Array):
        return value.values
    if isinstance(value, dict):
        return {key: _finished(each, depth=depth + 1) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_finished(each, depth=depth + 1) for each in value)
    return value
