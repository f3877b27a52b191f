"""Weights in a TorchScript archive, such as those of CLIP: tensors by name, without running what the archive holds.

An archive has code beside its weights. Neither the code nor anything that the pickle of the weights names is run: the
few names that a tree of modules is made of stand for stand-ins of our own, every other one is refused.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tadacli.strict_tables import in_one_line

_MOST_PICKLE_BYTES = 1 << 26  # that of a network of ten thousand layers is smaller
_MOST_LEVELS, _MOST_TENSORS = 32, 100_000
_DTYPES: Mapping[str, torch.dtype] = {
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "BoolStorage": torch.bool,
}
_LISTS = ("build_intlist", "build_doublelist", "build_boollist", "build_tensorlist")


class TorchScriptError(ValueError):
    """An archive that holds something else than modules, tensors, text and numbers, or is damaged."""


def is_torch_script(file: Path) -> bool:
    """Whether a file is a TorchScript archive: a zip with code beside its weights."""
    if not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        root = _root(archive)
        return root is not None and f"{root}/constants.pkl" in archive.NameToInfo


def read_torch_script(file: Path) -> dict[str, Tensor]:
    """The parameters and buffers in a TorchScript archive, by their names in the module, on the CPU.

    Args:
        file: The archive. Of its members only the pickle of the weights and the numbers that it names are read; they
            must be stored as they are, as PyTorch does it.

    Returns:
        Tensors of the archive's number types.

    Raises:
        TorchScriptError: It is no such archive, is damaged, or names anything that no weights need.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            root = _root(archive)
            if root is None:
                raise TorchScriptError("it has no weights")
            content = _member(archive, f"{root}/data.pkl", most=_MOST_PICKLE_BYTES)
            tree = _Unpickler(content, archive, root).load()
    except TorchScriptError:
        raise
    except Exception as error:  # a damaged archive can fail in any way
        raise TorchScriptError(f"it is damaged: {in_one_line(str(error) or type(error).__name__)}") from error
    if not isinstance(tree, _Module):
        raise TorchScriptError("it holds no module")
    found: dict[str, Tensor] = {}
    for name, tensor in _tensors(tree, level=1):
        found[name] = tensor
        if len(found) > _MOST_TENSORS:
            raise TorchScriptError(f"it has more than {_MOST_TENSORS:,} tensors")
    return found


def _root(archive: zipfile.ZipFile) -> str | None:
    """The folder of the archive that has all members; None where there is no such one, or several."""
    roots = [name.removesuffix("/data.pkl") for name in archive.NameToInfo if name.count("/") == 1]
    named = [root for root in roots if f"{root}/data.pkl" in archive.NameToInfo]
    return named[0] if len(named) == 1 else None


def _member(archive: zipfile.ZipFile, name: str, *, most: int | None = None) -> bytes:
    info = archive.NameToInfo.get(name)
    if info is None:
        raise TorchScriptError(f"it has no member {in_one_line(name)}")
    if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
        raise TorchScriptError(f"its member {in_one_line(name)} is compressed")
    if most is not None and info.file_size > most:
        raise TorchScriptError(f"its member {in_one_line(name)} has {info.file_size:,} bytes")
    return archive.read(info)


class _Module:
    """Stands for a module: its attributes by name."""

    def __init__(self) -> None:
        self.attributes: Mapping[str, Any] = {}

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
            raise TorchScriptError("a module has a state without names")
        self.attributes = state


def _tensors(module: _Module, *, level: int, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    if level > _MOST_LEVELS:
        raise TorchScriptError("its modules nest too deeply")
    for name, value in module.attributes.items():
        if isinstance(value, Tensor):
            yield prefix + name, value
        elif isinstance(value, _Module):
            yield from _tensors(value, level=level + 1, prefix=f"{prefix}{name}.")


class _Unpickler(pickle._Unpickler):  # the one in Python: its memory does not grow with a number in the file
    def __init__(self, content: bytes, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(io.BytesIO(content))
        self._archive, self._root = archive, root
        self._storages: dict[str, Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Our stand-in for a name; raises `TorchScriptError` for any other name."""
        if module == "__torch__" or module.startswith("__torch__."):
            return _Module
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda *arguments: _rebuilt(*arguments)
        if (module, name) == ("collections", "OrderedDict"):
            return lambda: {}
        if module == "torch.jit._pickle" and name in _LISTS:
            return lambda values: values
        raise TorchScriptError(f"it names {in_one_line(f'{module}.{name}')}")

    def persistent_load(self, pid: Any) -> Tensor:
        """The numbers that the pickle refers to, in a row."""
        kind, dtype, key, _, size = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype) or not str(key).isalnum():
            raise TorchScriptError("it refers to something that is no numbers")
        if key not in self._storages:
            content = bytearray(_member(self._archive, f"{self._root}/data/{key}"))
            self._storages[key] = torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)
        found = self._storages[key]
        if found.dtype != dtype or found.numel() != size:
            raise TorchScriptError(f"its numbers {key} are {found.numel()} of {found.dtype}, not {size} of {dtype}")
        return found


def _rebuilt(storage: object, offset: int, shape: tuple[int, ...], stride: tuple[int, ...], *_: object) -> Tensor:
    """A tensor of a row of numbers, with memory of its own."""
    if not isinstance(storage, Tensor) or len(shape) != len(stride) or min((offset, *shape, *stride)) < 0:
        raise TorchScriptError("a tensor has a shape that cannot be")
    needed = torch.Size(shape).numel()
    last = offset + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
    if needed > storage.numel() or (needed and last >= storage.numel()):
        raise TorchScriptError("a tensor has more numbers than there are")
    return storage.as_strided(shape, stride, offset).contiguous().clone()
