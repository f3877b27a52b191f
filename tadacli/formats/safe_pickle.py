"""Reads arrays and tensors out of a pickle without running any code it names.

A pickle is a program that may call anything. Here the few names that an array is made of stand for stand-ins of
our own, whose arrays have plain types; every other name is refused.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tadacli.strict_tables import in_one_line

_PLAIN_KINDS = "biufUSO"
_MOST_SPARE_PLACES = 1 << 16
# Written out, with what it holds more than once counted each time: scores of all actions of EPIC-KITCHENS-100 as plain
# numbers are eight million values.
_MOST_VALUES, _MOST_LEVELS = 50_000_000, 7


class UnsafePickleError(ValueError):
    """A pickle that needs more than arrays, containers, text and numbers."""


def load_arrays(content: bytes) -> Any:
    """The value of a pickle of numpy arrays, built-in containers, text and numbers.

    Raises `UnsafePickleError` for a pickle that names anything else, and `ValueError` for one that is damaged.
    """
    try:
        _check_places(content)
        return _finished(_Unpickler(io.BytesIO(content)).load())
    except ValueError:
        raise
    except Exception as error:  # a damaged pickle can fail in any way
        raise ValueError(f"the pickle is damaged: {error}") from error


def load_torch(content: bytes) -> Any:
    """The value of a file of torch.save, of tensors or of numpy arrays (not both), containers, text and numbers.

    Raises `UnsafePickleError` and `ValueError` as `load_arrays` does.
    """
    from tadacli.zoo.torch_files import load_torch_file, member_of_torch_file

    try:
        return _finished(load_torch_file(content))
    except pickle.UnpicklingError:  # numpy arrays, which torch does not take for weights
        return load_arrays(member_of_torch_file(content, "/data.pkl") if content.startswith(b"PK") else content)
    except Exception as error:  # a damaged file can fail in any way
        raise ValueError(f"it is damaged ({str(error)[:120]})") from error


def _check_places(content: bytes) -> None:
    """Raises `UnsafePickleError` for a place to remember a value at that is far beyond those in use.

    The unpickler would make room for all places up to it.
    """
    num_puts = 0
    try:
        for code, argument, _ in pickletools.genops(content):
            if code.name in ("PUT", "BINPUT", "LONG_BINPUT"):
                num_puts += 1
                if int(str(argument)) > 2 * num_puts + _MOST_SPARE_PLACES:
                    raise UnsafePickleError(f"it remembers a value at place {argument}")
    except UnsafePickleError:
        raise
    except ValueError as error:
        raise ValueError(f"the pickle is damaged: {error}") from error


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
        values[:] = [_finished(value) for value in data]
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


class _Name:
    """What a name of a pickle becomes: it can be called as the pickle asks, and nothing else can be done to it."""

    __slots__ = ("_make",)
    _make: Callable[..., Any]

    def __init__(self, make: Callable[..., Any]) -> None:
        object.__setattr__(self, "_make", make)

    def __call__(self, *arguments: Any) -> Any:
        return self._make(*arguments)

    def __setattr__(self, name: str, _: object) -> None:
        raise UnsafePickleError(f"it changes {name} of what it names")

    def __setstate__(self, _: object) -> None:
        raise UnsafePickleError("it changes what it names")


_NAMES: dict[tuple[str, str], _Name] = {
    ("numpy", "ndarray"): _Name(_ArrayType),
    ("numpy", "dtype"): _Name(_Dtype),
    ("_codecs", "encode"): _Name(_encode),
    ("builtins", "bytes"): _Name(_no_bytes),
    ("__builtin__", "bytes"): _Name(_no_bytes),
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _Name(_Array) for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _Name(_scalar) for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _Name(_from_buffer) for core in ("core", "_core")},
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _NAMES:
            raise UnsafePickleError(f"it names {in_one_line(f'{module}.{name}')}")
        return _NAMES[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise UnsafePickleError(f"it refers to {str(pid)[:40]!r} outside of the file")


def _finished(value: Any) -> Any:
    """The value with arrays in place of their stand-ins. Raises `ValueError` for more than a file of scores needs."""
    return _Finishing().finish(value, level=1)[0]


class _Finishing:
    """Goes once through each container, also through one that is held in many places."""

    def __init__(self) -> None:
        self._done: dict[int, tuple[Any, int]] = {}
        self._kept: list[Any] = []  # else another one could get the place in memory that one is known by

    def finish(self, value: Any, *, level: int) -> tuple[Any, int]:
        """The value, and how many values it is when written out."""
        if isinstance(value, _Array):
            return value.values, 1
        if isinstance(value, (_Name, _Dtype, _ArrayType)):
            raise UnsafePickleError("it hands out what it names")
        if not isinstance(value, dict | list | tuple):
            _check_tensor(value)
            return value, 1
        if level > _MOST_LEVELS:
            raise ValueError("the pickle nests too deeply")
        if id(value) not in self._done:
            self._kept.append(value)
            held = value.values() if isinstance(value, dict) else value
            parts = [self.finish(each, level=level + 1) for each in held]
            size = 1 + sum(each for _, each in parts)
            if size > _MOST_VALUES:
                raise ValueError(f"it unfolds to more than {_MOST_VALUES:,} values")
            values = [each for each, _ in parts]
            whole = dict(zip(value, values, strict=True)) if isinstance(value, dict) else type(value)(values)
            self._done[id(value)] = whole, size
        return self._done[id(value)]


def _check_tensor(value: Any) -> None:
    """Raises `ValueError` for a tensor that shows few numbers as many."""
    if hasattr(value, "untyped_storage") and value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise ValueError("a tensor shows the same numbers more than once")
