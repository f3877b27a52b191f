"""The configuration of a model of the hub: fetched before its weights, held to its hash, and read.

The hub's listing states hashes of its files; they count until a file was fetched for the first time. From then on the
lock file does, as for any other file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from tadacli.errors import CheckpointError, FetchError, NoConnectionError, TadaError
from tadacli.specs import ModelFacts
from tadacli.strict_tables import parse_json
from tadacli.zoo import store
from tadacli.zoo.downloading import Limit, OnMessage, Patience, discard, download, storing
from tadacli.zoo.mirror_lists import check_listed
from tadacli.zoo.offers import configuration_sources_of
from tadacli.zoo.sources import Source
from tadacli.zoo.stated import CONFIGURATION, HUB_WEIGHTS, MOST_CHARACTERS, StatedSettings, settings_of_configuration
from tadacli.zoo.store import FileHash

_MOST_LISTED = 4 << 20  # bytes
Facts = TypeVar("Facts", bound=ModelFacts)


@dataclass(frozen=True)
class Configuration:
    """What a configuration states, the bytes of it, and whether they were seen for the first time."""

    stated: StatedSettings
    content: bytes
    original: FileHash


def fetch_configuration(
    spec: Facts, folder: Path, *, mirror: str | None, patience: Patience, on_message: OnMessage
) -> tuple[Facts, Configuration]:
    """The configuration of a model of the hub, and the model with the hash that the hub states of its weights.

    Args:
        spec: What is known of the model.
        folder: Where the download goes on its way; nothing of it stays there.
        mirror: Where to try first.
        patience: How often and how long to wait for a server.
        on_message: Gets what is done or waited for, in words.

    Returns:
        The model, and its configuration.

    Raises:
        FetchError: No source gives it, or one gives another file than before, or than the hub states.
        CheckpointError: It is no configuration of a network that can be built.
        OutputError: The disk is full or cannot be written.
    """
    part = folder / f"{spec.name}.{CONFIGURATION}"
    listed = _listed(spec, folder, patience, on_message)
    sources = configuration_sources_of(spec, mirror=mirror)
    for source in sources:
        on_message(f"{spec.name}: downloading {source.url}")
        try:
            limit = Limit(num_bytes=MOST_CHARACTERS)
            download(source, part, patience=patience, limit=limit, on_message=on_message)
            check_listed(source, part, patience=patience, on_message=on_message)
            found = read_configuration(spec, part, listed=listed.get(CONFIGURATION))
        except (FetchError, CheckpointError) as error:
            if source == sources[-1]:
                raise _with_hint(error, spec.name) from error
            on_message(f"{spec.name}: {error.message}; trying the next source")
        else:
            weights = listed.get(HUB_WEIGHTS)
            if weights is not None and not spec.source.sha256 and store.locked(spec.name) is None:
                stated = replace(spec.source, sha256=weights.sha256, size_bytes=weights.size_bytes)
                spec = replace(spec, source=stated)
            return spec, found
        finally:
            discard(part)
    raise AssertionError  # as every model of the hub has a source


def read_configuration(spec: ModelFacts, file: Path, *, listed: FileHash | None = None) -> Configuration:
    """The configuration in a file on this disk.

    Args:
        spec: What is known of the model.
        file: The file.
        listed: What the hub states of it.

    Returns:
        The configuration.

    Raises:
        FetchError: It is another file than was fetched before, or than the hub states.
        CheckpointError: It is no configuration.
    """
    with storing(file.parent):
        original = store.hash_file(file)
        content = file.read_bytes() if original.size_bytes <= MOST_CHARACTERS else b""
    known = store.locked(store.configuration_name(spec.name))
    wanted, who = (known, "that was first fetched") if known is not None else (listed, "that the hub lists")
    if wanted is not None and wanted.sha256 != original.sha256:
        again = f"remove {store.configuration_name(spec.name)} and {spec.name} from {store.lock_file()}"
        raise FetchError(
            f"{file} is not the {CONFIGURATION} of {spec.name} {who}: its SHA-256 is {original.sha256}, "
            f"not {wanted.sha256}",
            hint=f"if the authors replaced it, and you trust the new one, {again}"
            if known is not None
            else "try again",
        )
    return Configuration(settings_of_configuration(file), content, original)


def _listed(spec: ModelFacts, folder: Path, patience: Patience, on_message: OnMessage) -> dict[str, FileHash]:
    """What the hub states of its files, by their paths; nothing where they were fetched before, or it says nothing."""
    if not spec.source.listing or store.locked(store.configuration_name(spec.name)) is not None:
        return {}
    part = folder / f"{spec.name}.listing"
    try:
        limit = Limit(num_bytes=_MOST_LISTED)
        download(Source(spec.source.listing), part, patience=patience, limit=limit, on_message=on_message)
        return _hashes(parse_json(part.read_bytes()))
    except (FetchError, ValueError) as error:
        reason = error.message if isinstance(error, TadaError) else "it is not JSON"
        on_message(f"{spec.name}: the hub's list of its files says no hashes: {reason}")
        return {}
    finally:
        discard(part)


def _hashes(listing: object) -> dict[str, FileHash]:
    """The hashes in a listing, where it states some."""
    data = listing.get("Data") if isinstance(listing, Mapping) else None
    files = data.get("Files") if isinstance(data, Mapping) else None
    found = {}
    for each in files if isinstance(files, list) else ():
        path, sha256, size = (
            each.get(key) if isinstance(each, Mapping) else None for key in ("Path", "Sha256", "Size")
        )
        is_hash = isinstance(sha256, str) and re.fullmatch(r"[0-9a-fA-F]{64}", sha256)
        if isinstance(path, str) and is_hash:
            found[path] = FileHash(size if isinstance(size, int) and size > 0 else 0, str(sha256).lower())
    return found


def _with_hint(error: TadaError, name: str) -> TadaError:
    """The error, with what to do about it where it is one of the transfer."""
    hint = f"download {CONFIGURATION} and {HUB_WEIGHTS} into one folder, then: tada fetch --from FOLDER {name}"
    if isinstance(error, NoConnectionError):
        hint = f"see whether this machine has a network (HTTPS_PROXY names a proxy); elsewhere {hint}"
    return type(error)(f"{name}: {error.message}", hint=f"{error.hint}; or {hint}" if error.hint else hint)
