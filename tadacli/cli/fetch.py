"""`tada fetch`: published weights, checked, converted and kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tadacli.cli import exits, options
from tadacli.cli.console import be_quiet, print_error, say
from tadacli.cli.help import INPUT, MODEL, OUTPUT
from tadacli.cli.weights import MIRROR_VARIABLE, fetch_models
from tadacli.errors import UsageError
from tadacli.zoo import Trust

if TYPE_CHECKING:
    from collections.abc import Sequence


def fetch_command(
    names: Annotated[
        list[str] | None, INPUT.argument(help="Models, as tada models lists them.", metavar="NAME", show_default=False)
    ] = None,
    dry_run: Annotated[bool, OUTPUT.option("--dry-run", help="Say what would be done; ask no server.")] = False,
    verify: Annotated[
        bool, OUTPUT.option("--verify", help="Hash what is here again: the models named, or all of them.")
    ] = False,
    offline: Annotated[bool, INPUT.option("--offline", help="Check what is here; download nothing.")] = False,
    from_file: Annotated[
        Path | None,
        INPUT.option(
            "--from",
            help="The published file, or the hub's two in a folder, downloaded by other means.",
            metavar="FILE",
        ),
    ] = None,
    trust: Annotated[
        Trust | None,
        MODEL.option("--trust", help="Whose settings count where the file states others than are known."),
    ] = None,
    frame_stride: Annotated[
        int | None,
        MODEL.option(
            min=1, help="From one frame of a clip to the next, if neither the file nor tada knows it.", metavar="N"
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        MODEL.option(
            help="Names for classes that have none, one a line; they are kept with the model.", metavar="FILE"
        ),
    ] = None,
    mirror: Annotated[
        str | None,
        INPUT.option(
            help="Try here first: a folder or any fsspec URL with the published file as NAME.pyth (docs/mirrors.md).",
            metavar="URL",
            envvar=MIRROR_VARIABLE,
        ),
    ] = None,
    keep_original: Annotated[
        bool, OUTPUT.option("--keep-original", help="Keep the published file beside the converted one.")
    ] = False,
    every: Annotated[
        bool, INPUT.option("--all", help="Every model that this version can use, and what --init starts from.")
    ] = False,
    mirror_to: Annotated[
        Path | None,
        OUTPUT.option(help="Also put the published files here, as a mirror with their hashes.", metavar="FOLDER"),
    ] = None,
    quiet: options.Quiet = False,
) -> None:
    """Download published weights, check them, and keep them as safetensors.

    They go to $TADA_HOME, or the cache folder of this platform. An
    interrupted download goes on where it stopped.

    Trust on first use: where the authors state no checksum, the first
    file fetched is trusted, and its size and SHA-256 are written to
    lock.json. From then on no other file is taken under that name.
    A file is never run: pickles are opened as plain tensors only.

    The settings that a file states complete what is known of its model,
    and are compared with it; a difference is an error without --trust.
    """
    be_quiet(quiet)
    if verify:
        _verify(names or [])
        return
    from tadacli.zoo.image_weights import IMAGE_WEIGHTS
    from tadacli.zoo.loading import find_known
    from tadacli.zoo.names import fetchable
    from tadacli.zoo.offers import plan_of
    from tadacli.zoo.stated import Decided

    if every and names:
        raise UsageError("--all are all models, and some are named", hint="leave out --all, or the names")
    wanted = fetchable() if every else dict.fromkeys(names or [])
    specs = [IMAGE_WEIGHTS.get(name) or find_known(name) for name in wanted]
    if not specs:
        raise UsageError("no model is named", hint="tada models says which there are; --all takes all of them")
    if from_file is not None and len(specs) != 1:
        raise UsageError("--from takes the file of one model", hint="tada fetch --from FILE NAME")
    if dry_run:
        for spec in specs:
            copied = "" if mirror_to is None else f"; copy the published file to {mirror_to}"
            typer.echo(f"{spec.name}: {plan_of(spec, file=from_file, mirror=mirror, offline=offline)}{copied}")
        return
    names_of_classes = options.label_names(labels)
    if names_of_classes and len(specs) != 1:
        raise UsageError("--labels are those of one model", hint="tada fetch NAME --labels FILE")
    decided = Decided(trust, {} if frame_stride is None else {"frame_stride": frame_stride}, names_of_classes)
    num_failed = fetch_models(
        specs,
        decided=decided,
        file=from_file,
        mirror=mirror,
        offline=offline,
        keep_original=keep_original,
        mirror_to=mirror_to,
    )
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
