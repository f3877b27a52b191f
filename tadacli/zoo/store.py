"""The store of fetched weights: where they lie, what is known about them, whether they are still what they were.

The folder is `$TADA_HOME`, or the platform's cache folder. In it `models/NAME.safetensors` holds weights and
`models/NAME.json` says what they are; `lock.json` keeps the size and SHA-256 that each original had when it was
first fetched. Whatever comes under that name later must be the same file: trust on first use.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import platformdirs
from filelock import FileLock

from tadacli.errors import CheckpointError, FetchError, OutputError
from tadacli.files import write_new
from tadacli.zoo.stated import CONFIGURATION


@dataclass(frozen=True)
class FileHash:
    """What identifies a file: its size and the SHA-256 of its bytes, in hexadecimal."""

    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class StoredWeights:
    """Weights in the store: the converted file, the published one it was made from, and where that came from."""

    name: str
    path: Path
    size_bytes: int
    sha256: str
    original_sha256: str
    original_size_bytes: int
    source: str


def store_folder() -> Path:
    """`$TADA_HOME`, or the folder where this platform keeps caches; it may not exist yet."""
    chosen = os.environ.get("TADA_HOME")
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("tada", appauthor=False)


def weights_path(name: str) -> Path:
    """Where the converted weights of a model lie once they are fetched."""
    return store_folder() / "models" / f"{name}.safetensors"


def original_path(name: str) -> Path:
    """Where the published file of a model lies if it was kept."""
    return store_folder() / "originals" / f"{name}.pyth"


def original_configuration_path(name: str) -> Path:
    """Where the published configuration of a model of the hub lies if it was kept."""
    return original_path(name).with_name(f"{name}.{CONFIGURATION}")


def original_files(name: str) -> list[Path]:
    """The published files of a model that were kept."""
    return [path for path in (original_path(name), original_configuration_path(name)) if path.is_file()]


def configuration_name(name: str) -> str:
    """What the configuration of a model is called in the lock file."""
    return f"{name}/{CONFIGURATION}"


def lock_file() -> Path:
    """The file with the size and hash of every original that was ever fetched."""
    return store_folder() / "lock.json"


def stored(name: str) -> StoredWeights | None:
    """The stored weights of a model, or None. Nothing is hashed: `verify` does that."""
    path = weights_path(name)
    try:
        values = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        weights = StoredWeights(path=path, **values)
    except (OSError, ValueError, TypeError):
        return None
    return weights if path.is_file() else None


def all_stored() -> list[StoredWeights]:
    """All stored weights, by name."""
    names = sorted(file.stem for file in (store_folder() / "models").glob("*.json"))
    return [weights for name in names if (weights := stored(name)) is not None]


def verify(weights: StoredWeights) -> None:
    """Hash the stored file again. Raises `CheckpointError` if it is not what was written."""
    try:
        found = hash_file(weights.path)
    except OSError as error:
        raise CheckpointError(f"{weights.path} cannot be read: {error.strerror}", hint=_again(weights.name)) from error
    if found != FileHash(weights.size_bytes, weights.sha256):
        raise CheckpointError(
            f"{weights.path} is damaged: {found.size_bytes} bytes with SHA-256 {found.sha256}, "
            f"where {weights.size_bytes} bytes with SHA-256 {weights.sha256} were written",
            hint=_again(weights.name),
        )


def hash_file(path: Path) -> FileHash:
    """Size and SHA-256 of a file. Raises `OSError` if it cannot be read."""
    with path.open("rb") as stream:
        return FileHash(os.fstat(stream.fileno()).st_size, hashlib.file_digest(stream, "sha256").hexdigest())


def size_text(num_bytes: int) -> str:
    """A number of bytes as people say it: 155 MB."""
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.0f} MB"


def put(partial: Path, *, name: str, original: FileHash, source: str) -> StoredWeights:
    """Move a finished weights file into the store.

    The description goes first and comes back last, so that one never describes another file, even after a crash.
    """
    path = weights_path(name)
    found = hash_file(partial)
    weights = StoredWeights(
        name=name,
        path=path,
        size_bytes=found.size_bytes,
        sha256=found.sha256,
        original_sha256=original.sha256,
        original_size_bytes=original.size_bytes,
        source=source,
    )
    description = path.with_suffix(".json")
    path.parent.mkdir(parents=True, exist_ok=True)
    description.unlink(missing_ok=True)
    partial.replace(path)
    values = {key: value for key, value in asdict(weights).items() if key != "path"}
    write_new(description, _json(values), replace=True)
    return weights


def locked(name: str) -> FileHash | None:
    """What the original of a model was when it was first fetched, or None. Raises `FetchError`: a damaged lock file."""
    return _read_lock().get(name)


def locked_names(original: FileHash) -> list[str]:
    """The models whose original is this very file."""
    return [name for name, known in _read_lock().items() if known == original]


def lock(name: str, original: FileHash) -> None:
    """Remember the original of a model; from now on no other is taken. Raises `OutputError`."""
    lock_file().parent.mkdir(parents=True, exist_ok=True)
    with FileLock(str(lock_file()) + ".lock"):
        entries = {**_read_lock(), name: original}
        write_new(lock_file(), _json({key: asdict(entries[key]) for key in sorted(entries)}), replace=True)


def _read_lock() -> dict[str, FileHash]:
    file = lock_file()
    try:
        entries = json.loads(file.read_text(encoding="utf-8"))
        return {name: FileHash(int(entry["size_bytes"]), str(entry["sha256"])) for name, entry in entries.items()}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise OutputError(f"{file} cannot be read: {error.strerror}", hint="see who may read it") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise FetchError(
            f"{file}, which says what may be fetched, is damaged",
            hint="restore it; or remove it, and what is fetched next is trusted anew",
        ) from error


def _json(values: Mapping[str, Any]) -> bytes:
    return (json.dumps(values, indent=2) + "\n").encode()


def _again(name: str) -> str:
    return f"tada fetch {name} fetches it again"
