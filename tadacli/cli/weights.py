"""The weights that a command needs: fetched before it goes on, if the person says so."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from tadacli.cli.console import is_quiet, print_error, say, say_note
from tadacli.cli.printable import printable
from tadacli.cli.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tadacli.specs import ModelFacts
    from tadacli.training import Init
    from tadacli.zoo.fetching import Fetchable, Fetched
    from tadacli.zoo.stated import Decided

MIRROR_VARIABLE = "TADA_MIRROR"


def whole_name(model: str, *, takes_features: bool = False, or_network: bool = False) -> str:
    """The whole name of a model, or its path; says which it is where only the beginning of a name was given.

    Args:
        model: A name, the beginning of one, or a path.
        takes_features: Whether the model takes features, not video.
        or_network: Whether the name of a network stands for it.

    Returns:
        The name or path.

    Raises:
        SpecError: Several names begin so.
    """
    from tadacli.models import BUILDERS
    from tadacli.zoo.names import meant_model

    if or_network and model in BUILDERS:
        return model
    meant = meant_model(model, takes_features=takes_features)
    if meant.reason:
        say(f"model {meant.name}: {meant.reason}")
    return meant.name


def model_here(
    model: str,
    *,
    weights: str | None = None,
    fetch: bool = False,
    labels: Sequence[str] = (),
    takes_features: bool = False,
    or_network: bool = False,
) -> str:
    """The whole name of a model, or its path; its weights are fetched if they are missing and that is wanted.

    On a terminal the person is asked once.

    Args:
        model: A name, the beginning of one, or a path.
        weights: A file of weights, with which none are fetched.
        fetch: Whether to fetch without asking.
        labels: Names for classes that nobody has named.
        takes_features: As for `whole_name`.
        or_network: As for `whole_name`.

    Returns:
        The name or path.

    Raises:
        CheckpointError: The weights are missing, and nobody wants them.
        UsageError: The classes have names, or are not as many as the labels.
        TadaError: The name is the beginning of several, or the weights cannot be fetched.
    """
    from tadacli.models import BUILDERS, OVER_FEATURES
    from tadacli.zoo.class_names import check_labels
    from tadacli.zoo.manifest import cards
    from tadacli.zoo.names import is_here
    from tadacli.zoo.offers import not_here

    name = whole_name(model, takes_features=takes_features, or_network=or_network)
    card = cards().get(name)
    if card is not None:
        check_labels(card.spec or card, labels)
    if weights is not None or card is None or is_here(name) or card.takes_features != takes_features:
        return name
    if card.obstacles({*BUILDERS, *OVER_FEATURES}):
        return name
    mirror = os.environ.get(MIRROR_VARIABLE) or None
    if not fetch and not _is_wanted(card, mirror):
        raise not_here(card)
    fetch_models([card.spec or card], mirror=mirror)
    return name


def image_weights_here(model: str, *, init: Init) -> None:
    """Fetch the published image weights that a model starts from, unless they are here; --init has asked for them."""
    from tadacli.training.starting_point import image_weights_for
    from tadacli.zoo.image_weights import earlier_file
    from tadacli.zoo.store import stored

    known = image_weights_for(model, init=init)
    if stored(known.name) is None:
        fetch_models([known], file=earlier_file(known), mirror=os.environ.get(MIRROR_VARIABLE) or None)


def _is_wanted(spec: ModelFacts, mirror: str | None) -> bool:
    """Asks, where a person can answer: not in a pipe, not with --quiet, and not one of several processes."""
    from tadacli.zoo.offers import offer_of

    if is_quiet() or "WORLD_SIZE" in os.environ or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    say(f"{spec.name} is not on this machine yet.")
    with suppress(OSError):
        print(printable(f"{offer_of(spec, mirror=mirror)}; fetch now? [Y/n]"), end=" ", file=sys.stderr, flush=True)
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):  # the end of the input is no answer
        say("")
        return False
    return answer.strip().lower() in ("", "y", "yes")


def fetch_models(
    specs: Sequence[Fetchable],
    *,
    decided: Decided | None = None,
    file: Path | None = None,
    mirror: str | None = None,
    offline: bool = False,
    keep_original: bool = False,
    mirror_to: Path | None = None,
) -> int:
    """Fetch models with a bar for each, and say what came of them; the arguments are those of `fetching.fetch_each`.

    With `mirror_to` the published files go into that folder, too, see `mirroring.fill_mirror`.

    Returns:
        How many could not be fetched; why is said.

    Raises:
        TadaError: The only model cannot be fetched, or the disk takes nothing.
    """
    from tadacli.zoo.fetching import NotFetched, fetch_each
    from tadacli.zoo.mirroring import fill_mirror
    from tadacli.zoo.stated import NOTHING_DECIDED

    num_failed = 0
    with Progress(unit="B", is_scaled=True) as progress:

        def reach(name: str, done: int, total: int | None) -> None:
            progress.rename(name)
            progress.reach(done, total, begun_at=done)

        def say_before_going_on(text: str) -> None:
            progress.close()
            say(text)

        fetch = fetch_each if mirror_to is None else partial(fill_mirror, folder=mirror_to)
        for result in fetch(
            specs,
            decided=decided or NOTHING_DECIDED,
            file=file,
            mirror=mirror,
            offline=offline,
            keep_original=keep_original,
            on_progress=reach,
            on_message=say_before_going_on,
        ):
            progress.close()
            if isinstance(result, NotFetched):
                print_error(result.error)
                num_failed += 1
            else:
                _report(result)
    return num_failed


def _report(fetched: Fetched) -> None:
    from tadacli.zoo.store import lock_file, size_text

    weights = fetched.weights
    if fetched.how == "mirrored":
        say(f"{fetched.name} is in the mirror, and its hash is right")
        return
    if weights is None:
        say(f"{fetched.name} comes with tada; there is nothing to fetch")
        return
    if fetched.how == "stored":
        say(f"{weights.name} is here, and its hash is right: {weights.path}")
        return
    say(f"{weights.name}: {weights.path} ({size_text(weights.size_bytes)})")
    if fetched.is_first_use:
        say(
            f"trusted on first use, since no checksum of it is published: SHA-256 {weights.original_sha256} "
            f"({weights.original_size_bytes:,} bytes); {lock_file()} holds every later file to it",
        )
    else:
        say(f"the published file is the known one, SHA-256 {weights.original_sha256}")
    for note in fetched.notes:
        say_note(note)
