"""`tada fetch`: published weights, checked, converted and kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tadacli.cli import exits, options
from tadacli.cli.console import be_quiet, print_error, say
from tadacli.cli.weights import MIRROR_VARIABLE, fetch_models
from tadacli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence


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
            envvar=MIRROR_VARIABLE,
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
    from tadacli.zoo.loading import find_any_spec
    from tadacli.zoo.offers import plan_of

    specs = [find_any_spec(name) for name in dict.fromkeys(names or [])]
    if not specs:
        raise UsageError("no model is named", hint="tada models says which there are")
    if from_file is not None and len(specs) != 1:
        raise UsageError("--from takes the file of one model", hint="tada fetch --from FILE NAME")
    if dry_run:
        for spec in specs:
            typer.echo(f"{spec.name}: {plan_of(spec, file=from_file, mirror=mirror, offline=offline)}")
        return
    num_failed = fetch_models(specs, file=from_file, mirror=mirror, offline=offline, keep_original=keep_original)
    if num_failed:
        raise typer.Exit(1 if num_failed == len(specs) else exits.SOME_FAILED)


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
