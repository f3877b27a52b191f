"""`tada fetch`: published weights, checked, converted and kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tadacli.cli import exits, options
from tadacli.cli.console import Progress, be_quiet, print_error, say
from tadacli.errors import CheckpointError, OutputError, SpecError, TadaError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tadacli.specs import ModelSpec
    from tadacli.zoo.fetching import Fetched


def fetch_command(
    names: Annotated[
        list[str] | None, typer.Argument(help="Models, as tada models lists them.", metavar="NAME", show_default=False)
    ] = None,
    all_tada2d: Annotated[bool, typer.Option("--all-tada2d", help="All TAda2D models.")] = False,
    show_list: Annotated[bool, typer.Option("--list", help="What can be fetched, and what is here.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done; ask no server.")] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Hash what is here again: the models named, or all of them.")
    ] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Check what is here; download nothing.")] = False,
    from_file: Annotated[
        Path | None, typer.Option("--from", help="The published file, downloaded by other means.", metavar="FILE")
    ] = None,
    mirror: Annotated[
        str | None,
        typer.Option(
            help="Try here first: a folder or any fsspec URL, where the published file lies as NAME.pyth.",
            metavar="URL",
            envvar="TADA_MIRROR",
        ),
    ] = None,
    keep_original: Annotated[
        bool, typer.Option("--keep-original", help="Keep the published file beside the converted one.")
    ] = False,
    quiet: options.Quiet = False,
) -> None:
    """Download published weights, check them, and keep them as safetensors.

    They go to $TADA_HOME, or the cache folder of this platform. An
    interrupted download goes on where it stopped.

    Trust on first use: where the authors state no checksum, the first
    file fetched is trusted, and its size and SHA-256 are written to
    lock.json. From then on no other file is taken under that name.
    A file is never run: pickles are opened as plain tensors only.
    """
    if show_list:
        _print_list()
        return
    if verify:
        _verify(names or [])
        return
    specs = _chosen(names or [], all_tada2d=all_tada2d)
    if from_file is not None and len(specs) != 1:
        raise UsageError("--from takes the file of one model", hint="tada fetch --from FILE NAME")
    if dry_run:
        for spec in specs:
            _print_plan(spec, mirror=mirror, offline=offline, from_file=from_file)
        return

    be_quiet(quiet)

    def one(spec: ModelSpec) -> None:
        _fetch(spec, from_file, mirror=mirror, offline=offline, keep_original=keep_original)

    _each(specs, one)


def _chosen(names: Sequence[str], *, all_tada2d: bool) -> list[ModelSpec]:
    from tadacli.zoo.loading import find_spec
    from tadacli.zoo.manifest import cards

    chosen = list(names) + ([name for name in cards() if name.startswith("tada2d_")] if all_tada2d else [])
    if not chosen:
        raise UsageError("no model is named", hint="tada fetch --list says which there are")
    return [find_spec(name) for name in dict.fromkeys(chosen)]


def _each(specs: Sequence[ModelSpec], action: Any) -> None:
    """All of them, even if some fail; then the exit code says so. A full disk ends it at once."""
    num_failed = 0
    for spec in specs:
        try:
            action(spec)
        except TadaError as error:
            if len(specs) == 1 or isinstance(error, OutputError):
                raise
            print_error(error)
            num_failed += 1
    if num_failed:
        raise typer.Exit(1 if num_failed == len(specs) else exits.SOME_FAILED)


def _fetch(spec: ModelSpec, from_file: Path | None, *, mirror: str | None, offline: bool, keep_original: bool) -> None:
    from tadacli.zoo.fetching import fetch, fetch_file

    if spec.source.file:
        say(f"{spec.name} comes with tada; there is nothing to fetch")
        return
    if from_file is not None:
        fetched = fetch_file(spec, from_file, keep_original=keep_original)
    else:
        with Progress(spec.name, unit="B", is_scaled=True) as progress:

            def say_before_going_on(text: str) -> None:
                progress.close()
                say(text)

            fetched = fetch(
                spec,
                mirror=mirror,
                offline=offline,
                keep_original=keep_original,
                on_progress=lambda done, total: progress.reach(done, total, begun_at=done),
                on_message=say_before_going_on,
            )
    _report(fetched)


def _report(fetched: Fetched) -> None:
    from tadacli.zoo.store import lock_file

    weights = fetched.weights
    if fetched.how == "stored":
        say(f"{weights.name} is here, and its hash is right: {weights.path}")
        return
    say(f"{weights.name}: {weights.path} ({size(weights.size_bytes)})")
    if fetched.is_first_use:
        say(
            f"trusted on first use, since no checksum of it is published: SHA-256 {weights.original_sha256} "
            f"({weights.original_size_bytes:,} bytes); {lock_file()} holds every later file to it",
        )
    else:
        say(f"the published file is the known one, SHA-256 {weights.original_sha256}")


def _print_list() -> None:
    from tadacli.zoo.loading import usable_models
    from tadacli.zoo.manifest import cards
    from tadacli.zoo.store import stored

    width = max(map(len, usable_models()))
    for name, spec in usable_models().items():
        weights = stored(name)
        if spec.source.file:
            state = "comes with tada"
        elif weights is not None:
            state = f"here, {size(weights.size_bytes)}"
        else:
            state = f"not here, {_known_size(name)}"
        typer.echo(f"{name:{width}}  {state}")
    num_others = len(cards()) - len(usable_models())
    if num_others:
        say(f"{num_others} more are known and cannot be used yet: tada models lists them")


def _print_plan(spec: ModelSpec, *, mirror: str | None, offline: bool, from_file: Path | None) -> None:
    from tadacli.zoo.fetching import sources_of
    from tadacli.zoo.store import stored, weights_path

    if spec.source.file:
        plan = "comes with tada; there is nothing to fetch"
    elif from_file is not None:
        plan = f"convert {from_file} to {weights_path(spec.name)}"
    elif stored(spec.name) is not None:
        plan = f"here: hash {weights_path(spec.name)} again"
    elif offline:
        plan = "not here, and --offline forbids to download it"
    else:
        places = (
            ", else ".join(source.url for source in sources_of(spec, mirror=mirror)) or "nowhere: no source is known"
        )
        plan = f"download {_known_size(spec.name)} from {places}; convert to {weights_path(spec.name)}"
    typer.echo(f"{spec.name}: {plan}")


def _verify(names: Sequence[str]) -> None:
    from tadacli.zoo.manifest import cards
    from tadacli.zoo.store import all_stored, stored, verify

    unknown = next((name for name in names if name not in cards()), None)
    if unknown is not None:
        raise SpecError(f"unknown model {unknown!r}", hint="tada fetch --list says which there are")
    chosen = list(names) or [weights.name for weights in all_stored()]
    if not chosen:
        say("no weights are in the store")
    is_right = True
    for name in chosen:
        weights = stored(name)
        try:
            if weights is None:
                raise CheckpointError(f"the weights of {name} are not in the store", hint=f"tada fetch {name}")
            verify(weights)
            typer.echo(f"{name}: right, SHA-256 {weights.sha256}")
        except CheckpointError as error:
            print_error(error)
            is_right = False
    if not is_right:
        raise typer.Exit(1)


def _known_size(name: str) -> str:
    from tadacli.zoo.manifest import cards

    num_bytes = cards()[name].about_bytes
    return "a file of unknown size" if num_bytes is None else f"about {size(num_bytes)}"


def size(num_bytes: int) -> str:
    """A number of bytes as people say it: 155 MB."""
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.0f} MB"
