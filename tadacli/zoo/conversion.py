"""Published weights made our own: opened safely, checked against the network, written with their spec inside."""

from __future__ import annotations

import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path, PurePosixPath, PureWindowsPath

from tadacli.errors import CheckpointError
from tadacli.strict_tables import refusing
from tadacli.zoo.checkpoints import empty_network, load_weights, read_checkpoint, write_checkpoint
from tadacli.zoo.completing import Completed, complete
from tadacli.zoo.manifest import Known
from tadacli.zoo.stated import NOTHING_DECIDED, Decided, StatedSettings
from tadacli.zoo.store import FileHash

_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"7z\xbc\xaf": "7-zip", b"Rar!": "rar"}


def convert(
    file: Path,
    target: Path,
    *,
    spec: Known,
    original: FileHash,
    decided: Decided = NOTHING_DECIDED,
    configuration: StatedSettings | None = None,
) -> Completed:
    """Write published weights as safetensors, with the spec and labels inside, and the hash of the original in it.

    The same file gives the same bytes.

    Args:
        file: The published weights.
        target: The file to write, replaced if it is there.
        spec: The model that they are of, or the card of one whose settings come with the file.
        original: What the published file was when it was looked at before.
        decided: What a person says of its settings, as for `completing.complete`.
        configuration: What lies beside the file and states its settings, in place of what it states itself.

    Returns:
        The settings that were written.

    Raises:
        CheckpointError: The file is unsafe, damaged, an archive, or made for another model; then nothing is written.
        UndecidedError: As `completing.complete` raises it.
        UsageError: As `completing.complete` raises it.
    """
    refuse_archive(file)
    checkpoint = read_checkpoint(file)
    if checkpoint.sha256 != original.sha256:
        raise CheckpointError(f"{file} changed while it was read", hint="start again once nothing writes to it")
    if checkpoint.spec is not None and checkpoint.spec.name != spec.name:
        raise CheckpointError(
            f"{file} holds {checkpoint.spec.name}, not {spec.name}", hint="give that name, or no file"
        )
    if configuration is not None:
        checkpoint = replace(checkpoint, stated=configuration)
    completed = complete(spec, checkpoint, decided=decided)
    with refusing(file, CheckpointError):  # a file may state any sizes
        network = empty_network(completed.spec)
        load_weights(network, checkpoint)
    noted = replace(completed.spec.source, sha256=original.sha256, size_bytes=original.size_bytes)
    write_checkpoint(target, network.state_dict(), replace(completed.spec, source=noted), stated=completed.stated)
    return completed


def refuse_archive(file: Path) -> None:
    """Raise `CheckpointError` for an archive that is not PyTorch's own zip, and for one whose checksums are wrong.

    Nothing is ever unpacked. PyTorch does not look at the checksums, which show most damage done in a transfer.
    """
    with file.open("rb") as stream:
        start = stream.read(8)
    for magic, kind in _COMPRESSED.items():
        if start.startswith(magic):
            raise _archive(file, kind, [])
    try:
        with tarfile.open(file, "r:") as tar:
            raise _archive(file, "tar", tar.getnames())
    except tarfile.TarError:
        pass
    if zipfile.is_zipfile(file):  # after the tar, at whose end a zip may lie
        _check_zip(file)


def _check_zip(file: Path) -> None:
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            is_stored = all(member.compress_type == zipfile.ZIP_STORED for member in archive.infolist())
            if (
                any(map(_leads_outside, names))
                or not any(name.endswith("/data.pkl") for name in names)
                or not is_stored
            ):
                raise _archive(file, "zip", names)
            damaged = archive.testzip()
    except (zipfile.BadZipFile, EOFError, ValueError, OSError, RuntimeError) as error:
        raise CheckpointError(f"{file} is damaged: {error}", hint="fetch it again") from error
    if damaged is not None:
        raise CheckpointError(f"{file} is damaged: the checksum of {damaged} is wrong", hint="fetch it again")


def _archive(file: Path, kind: str, names: list[str]) -> CheckpointError:
    outside = next(filter(_leads_outside, names), None)
    if outside is not None:
        return CheckpointError(
            f"{file} is a {kind} archive with the member {outside!r}, which leads outside of it",
            hint="nothing was unpacked; do not unpack it, and get the weights from elsewhere",
        )
    return CheckpointError(
        f"{file} is a {kind} archive, not a weights file",
        hint="nothing was unpacked; unpack it and give the weights file itself: tada fetch --from FILE NAME",
    )


def _leads_outside(name: str) -> bool:
    windows = PureWindowsPath(name)
    return (
        name.startswith(("/", "\\"))
        or ".." in PurePosixPath(name).parts
        or ".." in windows.parts
        or bool(windows.drive)
    )
