"""Stored weights whose classes a person gives names to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tadacli.zoo import store
from tadacli.zoo.downloading import storing
from tadacli.zoo.manifest import Known
from tadacli.zoo.stated import Decided
from tadacli.zoo.store import FileHash, StoredWeights


def renamed(known: Known, present: StoredWeights, decided: Decided, *, partial: Path) -> StoredWeights:
    """The stored weights of a model with the names that a person gives to its classes; the numbers stay as they are.

    Args:
        known: What is known of the model.
        present: Its weights in the store.
        decided: With the labels.
        partial: Where the new file is until it is whole.

    Returns:
        The weights, as they are where they have these names.

    Raises:
        UsageError: The classes have names, or are not as many as the labels.
        OutputError: The disk is full or cannot be written.
    """
    from tadacli.zoo.checkpoints import read_checkpoint, write_checkpoint
    from tadacli.zoo.completing import complete

    checkpoint = read_checkpoint(present.path)
    heads = complete(known, checkpoint, decided=decided).spec.heads
    if checkpoint.spec is None or heads == checkpoint.spec.heads:
        return present
    with storing(store.store_folder()):
        try:
            spec = replace(checkpoint.spec, heads=heads)
            write_checkpoint(partial, checkpoint.state_dict, spec, stated=checkpoint.stated)
            original = FileHash(present.original_size_bytes, present.original_sha256)
            return store.put(partial, name=present.name, original=original, source=present.source)
        finally:
            partial.unlink(missing_ok=True)
