"""`tada fetch`: published weights, checked, converted and kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tadacli.cli import exits, options
from tadacli.cli.console import Progress, be_quiet, print_error, say
from tadacli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tadacli.zoo.fetching import Fetched


def fetch_command(
    names: Annotated[
        list[str] | None, typer.Argument(help="Models, as tada models lists them.", metavar="NAME", show_default=False)
    ] = None,
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
    be_quiet(quiet)
    if verify:
        _verify(names or [])
        return
    from tadacli.zoo.fetching import NotFetched, fetch_each, plan_of
    from tadacli.zoo.loading import find_any_spec

    specs = [find_any_spec(name) for name in dict.fromkeys(names or [])]
    if not specs:
        raise UsageError("no model is named", hint="tada models says which there are")
    if from_file is not None and len(specs) != 1:
        raise UsageError("--from takes the file of one model", hint="tada fetch --from FILE NAME")
    if dry_run:
        for spec in specs:
            typer.echo(f"{spec.name}: {plan_of(spec, file=from_file, mirror=mirror, offline=offline)}")
        return
    num_failed = 0
    with Progress(unit="B", is_scaled=True) as progress:

        def reach(name: str, done: int, total: int | None) -> None:
            progress.rename(name)
            progress.reach(done, total, begun_at=done)

        def say_before_going_on(text: str) -> None:
            progress.close()
            say(text)

        for result in fetch_each(
            specs,
            file=from_file,
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
    if num_failed:
        raise typer.Exit(1 if num_failed == len(specs) else exits.SOME_FAILED)


def _report(fetched: Fetched) -> None:
    from tadacli.zoo.store import lock_file, size_text

    weights = fetched.weights
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


def _verify(names: Sequence[str]) -> None:
    from tadacli.zoo.fetching import NotFetched, verify_each

    results = list(verify_each(names))
    if not results:
        say("no weights are in the store", always=True)
    for result in results:
        if isinstance(result, NotFetched):
            print_error(result.error)
        else:
            typer.echo(f"{result.name}: right, SHA-256 {result.sha256}")
    if any(isinstance(result, NotFetched) for result in results):
        raise typer.Exit(1)
