"""What a mirror says of its files: a list with the size and SHA-256 of each, and where each came from.

A mirror is any place that has published files as `NAME.pyth`. One that `mirroring.fill_mirror` made has the list, too;
what is downloaded from there must be what the list says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from tadacli.errors import FetchError, NoConnectionError, NotThereError
from tadacli.strict_tables import decode_table, parse_json, refusing
from tadacli.zoo.downloading import Limit, OnMessage, Patience, discard, download
from tadacli.zoo.sources import Source
from tadacli.zoo.store import FileHash, hash_file

LIST_FILE, SUMS_FILE = "mirror.json", "SHA256SUMS"
_FORMAT = "tada mirror 1"
_MOST_BYTES = 1 << 23  # that of ten thousand files is smaller
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


@dataclass(frozen=True)
class MirroredFile:
    """A file of a mirror: what it is, and where it came from, "" where that is not known."""

    size_bytes: int
    sha256: str
    source: str = ""
    licence: str = ""

    def __post_init__(self) -> None:
        """Raises `ValueError` for what is no size or no hash."""
        if self.size_bytes < 0 or not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
            raise ValueError("it has a size or a SHA-256 that is none")

    @property
    def original(self) -> FileHash:
        """What identifies it."""
        return FileHash(self.size_bytes, self.sha256)


@dataclass(frozen=True)
class _List:
    format: str
    files: Mapping[str, MirroredFile]


def mirror_address(mirror: str, file: str) -> str:
    """Where a mirror has a file: below it, or, for hubs with other addresses, where it says `{file}`."""
    return mirror.replace("{file}", file) if "{file}" in mirror else f"{mirror.rstrip('/')}/{file}"


def read_list(file: Path, *, name: str) -> dict[str, MirroredFile]:
    """The files in the list of a mirror, by their names.

    Args:
        file: The list on this disk.
        name: What errors call it.

    Returns:
        The files.

    Raises:
        FetchError: It is no such list, or is damaged.
    """
    with refusing(name, FetchError):
        table = parse_json(file.read_bytes())
    found = decode_table(_List, table, where=name, error=FetchError)
    if found.format != _FORMAT:
        raise FetchError(f"{name} is no list of this version of tada: its format is not {_FORMAT!r}")
    if strange := [each for each in found.files if not _FILE_NAME.fullmatch(each)]:
        raise FetchError(f"{name} names a file {strange[0]!r}, which is no name of one")
    return dict(found.files)


def list_content(files: Mapping[str, MirroredFile]) -> bytes:
    """The bytes of a list; the same files give the same bytes."""
    table = {"format": _FORMAT, "files": {name: asdict(files[name]) for name in sorted(files)}}
    return (json.dumps(table, indent=2, ensure_ascii=False) + "\n").encode()


def sums_content(files: Mapping[str, MirroredFile]) -> bytes:
    """The hashes in the form that `sha256sum --check` reads."""
    return "".join(f"{files[name].sha256}  {name}\n" for name in sorted(files)).encode()


def check_listed(source: Source, file: Path, *, patience: Patience, on_message: OnMessage) -> None:
    """Check a file against the list of the mirror that it came from, where that has a list which names it.

    Args:
        source: Where the file came from.
        file: The file on this disk; the list goes beside it on its way.
        patience: How often and how long to wait for the server.
        on_message: Gets what is waited for, in words.

    Raises:
        FetchError: It is not what the list says, the list is damaged, or the mirror cannot be reached any more.
    """
    listed = _listed_hash(source, file.parent, patience, on_message) if source.mirror else None
    if listed is not None and (found := hash_file(file)) != listed:
        raise FetchError(
            f"{source.url} is not the file that its mirror lists: its SHA-256 is {found.sha256} "
            f"({found.size_bytes:,} bytes), not {listed.sha256} ({listed.size_bytes:,} bytes)"
        )


def _listed_hash(source: Source, folder: Path, patience: Patience, on_message: OnMessage) -> FileHash | None:
    """What a mirror says of a file, None where it has no list or the list does not name the file."""
    address = mirror_address(source.mirror, LIST_FILE)
    part = folder / f"{source.file}.{LIST_FILE}"
    try:
        listing, limit = Source(address, credentials=source.credentials), Limit(num_bytes=_MOST_BYTES)
        download(listing, part, patience=patience, limit=limit, on_message=on_message)
    except NoConnectionError:
        raise
    except NotThereError:  # a mirror without a list
        return None
    except FetchError as error:  # some servers refuse what they do not have
        on_message(f"{source.url} is not compared with the list of its mirror: {error.message}")
        return None
    else:
        if not part.read_bytes().lstrip().startswith(b"{"):  # what some servers give for any name
            return None
        found = read_list(part, name=address).get(source.file)
        return None if found is None else found.original
    finally:
        discard(part)
