"""Whether weights can be stored, and whether the stored ones are what they were."""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tadacli.doctor.findings import Finding
from tadacli.errors import CheckpointError, FetchError, OutputError
from tadacli.models import BUILDERS
from tadacli.zoo import store
from tadacli.zoo.image_weights import IMAGE_WEIGHTS
from tadacli.zoo.loading import usable_models
from tadacli.zoo.manifest import cards

_OTHER_FOLDER = "export TADA_HOME=FOLDER  (one of yours that can be written)"


def check_store() -> Iterator[Finding]:
    """The folder of fetched weights, the room in it, and every file against the hash that was written down."""
    folder = store.store_folder()
    try:
        os.stat(folder)
    except (FileNotFoundError, NotADirectoryError):
        pass  # one that is not there yet, or cannot be made
    except OSError as error:
        yield Finding("store", "folder", "problem", _said(folder, f"cannot be read: {error.strerror}"), _OTHER_FOLDER)
        return
    yield _folder(folder)
    yield _room(folder)
    try:
        store.locked("")  # reads the whole file
    except FetchError as error:
        fix = f"rm {shlex.quote(str(store.lock_file()))}  (what is fetched next is then trusted anew)"
        yield Finding("store", "lock.json", "problem", error.message, fix)
    except OutputError as error:
        yield Finding("store", "lock.json", "problem", error.message, _OTHER_FOLDER)
    kept = store.all_stored()
    for weights in kept:
        try:
            store.verify(weights)
        except CheckpointError as error:
            yield Finding("store", weights.name, "problem", error.message, _fetch_again(weights.name, [weights.path]))
        else:
            found = f"{weights.size_bytes / 1e6:.1f} MB, SHA-256 {weights.sha256} as when it was stored"
            yield Finding("store", weights.name, "ok", found)
    strays = _strays(folder / "models", {weights.name for weights in kept})
    yield from strays
    if not kept and not strays:
        yield Finding("store", "contents", "ok", "no fetched weights; tada models says which there are")


def _folder(folder: Path) -> Finding:
    """Can weights be stored? Nothing is left behind, and nothing created that `tada fetch` would create."""
    present = [each for each in (folder, folder / "models", folder / "downloads") if each.exists()]
    try:
        for each in present or [_nearest(folder)]:
            with tempfile.TemporaryFile(dir=each):
                pass
    except OSError as error:
        found = _said(folder, f"cannot be written: {error.strerror or error}")
        return Finding("store", "folder", "problem", found, _OTHER_FOLDER)
    return Finding("store", "folder", "ok", _said(folder, "" if present else "is made by the first tada fetch"))


def _said(folder: Path, what: str) -> str:
    """The folder, where it comes from, and what is the matter with it."""
    return f"{folder}{' ($TADA_HOME)' if os.environ.get('TADA_HOME') else ''} {what}".rstrip()


def _room(folder: Path) -> Finding:
    """Is there room for the largest model? A download needs twice its size, for itself and for what is made of it."""
    needed = 2 * max(cards()[name].about_bytes or 0 for name in usable_models())
    free = shutil.disk_usage(_nearest(folder)).free
    if free < needed:
        found = f"{free / 1e6:.0f} MB free; the largest model needs {needed / 1e6:.0f} MB while it is fetched"
        return Finding("store", "space", "note", found, "export TADA_HOME=FOLDER_ON_ANOTHER_DISK")
    return Finding("store", "space", "ok", f"{free / 1e9:.1f} GB free")


def _nearest(folder: Path) -> Path:
    """The folder, or the nearest above it that exists."""
    return next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())


def _strays(folder: Path, names: set[str]) -> list[Finding]:
    """Weights without a readable description, and descriptions without weights: neither can be used."""
    found = []
    files = sorted(file for file in folder.glob("*") if file.suffix in (".safetensors", ".json"))
    for name in sorted({file.stem for file in files} - names):
        partners = [file for file in files if file.stem == name]
        what = f"only {partners[0].name}" if len(partners) == 1 else f"{name}.json, which is damaged,"
        said = f"{what} is in {folder}; its weights cannot be used"
        found.append(Finding("store", name, "problem", said, _fetch_again(name, partners)))
    return found


def _fetch_again(name: str, files: Sequence[Path]) -> str:
    """The command that puts weights right; what this version does not know can only be removed."""
    if name in IMAGE_WEIGHTS or (name in cards() and cards()[name].architecture in BUILDERS):
        return f"tada fetch {name}"
    return shlex.join(["rm", *map(str, files)])
