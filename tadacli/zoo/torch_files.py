"""Files of torch.save, opened as tensors and plain containers: a file can neither run code nor fill the memory."""

from __future__ import annotations

import io
import os
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch


class PackedFileError(ValueError):
    """A file of torch.save that claims more than it holds: torch packs nothing."""


def load_torch_file(file: str | os.PathLike[str] | bytes) -> Any:
    """The value in a file of torch.save, or in the content of one, on the CPU.

    Args:
        file: Path or content.

    Returns:
        Tensors, containers, text and numbers.

    Raises:
        PackedFileError: Its members are compressed, or larger than the file.
        Exception: It names what could run code (`pickle.UnpicklingError`), or torch fails over it in another way.
    """
    source = io.BytesIO(file) if isinstance(file, bytes) else Path(file)
    _check_members(source)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's advice to the writer of the file is of no use here
        return torch.load(source, map_location="cpu", weights_only=True)


def member_of_torch_file(content: bytes, suffix: str) -> bytes:
    """The one member whose name ends so. Raises `PackedFileError` or `ValueError` where there is no such member."""
    source = io.BytesIO(content)
    _check_members(source)
    try:
        with zipfile.ZipFile(source) as archive:
            (name,) = (name for name in archive.namelist() if name.endswith(suffix))
            return archive.read(name)
    except (ValueError, zipfile.BadZipFile) as error:
        raise ValueError("it is no file of torch.save") from error


def _check_members(source: io.BytesIO | Path) -> None:
    """Raises `PackedFileError` for a zip that unpacks to more than it is; leaves `source` at its beginning."""
    members = []
    if zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            members = archive.infolist()
    size = source.stat().st_size if isinstance(source, Path) else len(source.getbuffer())
    if isinstance(source, io.BytesIO):
        source.seek(0)
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise PackedFileError("its members are compressed")
    if sum(member.file_size for member in members) > size:
        raise PackedFileError("its members are larger than the file")
