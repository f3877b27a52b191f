"""A mirror of published files in a folder: what a lab fetches once, and serves to all of its machines."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tadacli.errors import FetchError, OutputError
from tadacli.files import new_file, write_new
from tadacli.zoo import store
from tadacli.zoo.fetching import Fetched, NotFetched, fetch_each
from tadacli.zoo.mirror_lists import LIST_FILE, SUMS_FILE, MirroredFile, list_content, read_list, sums_content


def fill_mirror(
    specs: Sequence[Any], folder: Path, *, keep_original: bool = False, **how: Any
) -> Iterator[Fetched | NotFetched]:
    """Fetch models, and put their published files into a folder with a list of them and their hashes.

    The folder is whole after each model: stopped at any time it serves what it has, and the next run goes on. A file
    that is there and in the list, with the size and hash that every later one is held to, is not fetched again.

    Args:
        specs: The models, as for `fetching.fetch_each`.
        folder: The mirror, which is made if it is not there.
        keep_original: Whether the published files stay in the store, too.
        **how: The other arguments of `fetching.fetch_each`.

    Yields:
        What came of each model; "mirrored" for one whose file was there.

    Raises:
        FetchError: The list in the folder is damaged.
        OutputError: The folder cannot be written.
        TadaError: What `fetch_each` raises.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made: {error.strerror or error}", hint="give another folder") from error
    files = read_list(folder / LIST_FILE, name=str(folder / LIST_FILE)) if (folder / LIST_FILE).is_file() else {}
    missing = [spec for spec in specs if not _is_there(spec.name, folder, files)]
    for spec in specs:
        if spec not in missing:
            yield Fetched(spec.name, "mirrored", None)
    kept_before = {spec.name for spec in missing if store.original_path(spec.name).is_file()}
    for result in fetch_each(missing, keep_original=True, **how):
        if isinstance(result, Fetched) and result.weights is not None:
            licence = next(spec.source.licence for spec in missing if spec.name == result.name)
            files |= _placed(result, folder, licence)
            write_new(folder / SUMS_FILE, sums_content(files), replace=True)
            write_new(folder / LIST_FILE, list_content(files), replace=True)
            if not keep_original and result.name not in kept_before:
                for original in store.original_files(result.name):
                    original.unlink(missing_ok=True)
        yield result


def _is_there(name: str, folder: Path, files: dict[str, MirroredFile]) -> bool:
    """Whether the mirror has the published file of a model, as the list and the store's lock file know it."""
    expected = {f"{name}.pyth": store.locked(name)}
    if (configuration := store.locked(store.configuration_name(name))) is not None:
        expected[store.original_configuration_path(name).name] = configuration
    for file, locked in expected.items():
        listed, path = files.get(file), folder / file
        if listed is None or not path.is_file() or path.stat().st_size != listed.size_bytes:
            return False
        if locked not in (None, listed.original) or store.hash_file(path) != listed.original:
            return False
    return True


def _placed(fetched: Fetched, folder: Path, licence: str) -> dict[str, MirroredFile]:
    """Put the originals of a model into the mirror; what they are by their names there."""
    assert fetched.weights is not None
    placed = {}
    for original in store.original_files(fetched.name):
        target = folder / original.name
        _copy(original, target)
        found = store.hash_file(target)
        is_weights = target.name == f"{fetched.name}.pyth"
        if is_weights and found.sha256 != fetched.weights.original_sha256:
            raise FetchError(
                f"{original} is not the file that {fetched.name} was made from", hint="remove it, and fetch it again"
            )
        source = fetched.weights.source if "://" in fetched.weights.source else ""
        placed[target.name] = MirroredFile(found.size_bytes, found.sha256, source if is_weights else "", licence)
    return placed


def _copy(original: Path, target: Path) -> None:
    """The same bytes under another name; without taking room twice where the disk allows it."""
    target.unlink(missing_ok=True)
    try:
        os.link(original, target)
    except OSError:
        with original.open("rb") as stream, new_file(target, replace=True) as copy:
            shutil.copyfileobj(stream, copy)
