"""`tada finetune` of a network on clips: what is shown of the run, and what it ends with."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import typer

from tadacli.cli import exits, options
from tadacli.cli.console import showing
from tadacli.cli.weights import image_weights_here, model_here, whole_name

if TYPE_CHECKING:
    from pathlib import Path

    from tadacli.profiling import Profile
    from tadacli.training import Init
    from tadacli.training.data import FinetuneData
    from tadacli.training.session import FinetuneOptions


def start_of_training(model: str | None, weights: str | None, *, init: Init, fetch: bool) -> tuple[str, str | None]:
    """The model that training starts from, and the weights for it; those that are missing are fetched if wanted."""
    if init == "weights":
        name, weights = options.model_and_weights(model, weights)
        return model_here(name, weights=weights, fetch=fetch, or_network=True), weights
    # The weights are those of an image network.
    name = whole_name(options.model_and_weights(model, None)[0], or_network=True)
    if init != "random" and weights is None:
        image_weights_here(name, init=init)
    return name, weights


def train_network(
    load: Callable[[int], FinetuneData],
    chosen: FinetuneOptions,
    *,
    output: Path | None,
    views: str | None,
    cache_bytes: int,
    tensorboard: bool,
    resume: bool,
    is_dry: bool,
    profile: Profile | None,
) -> None:
    """Train a network and say how good it is, or show the plan of it; without a folder there is only the plan."""
    from tadacli.cli.finetune_output import RunView
    from tadacli.cli.finetune_plan import print_plan
    from tadacli.training import session

    view = RunView(output, is_dry=output is None or is_dry)
    chosen = {**chosen, "listener": view.listener}
    with showing(profile, unit="clip"), view:
        if output is None or is_dry:
            name = output.resolve().name if output is not None else "mine"
            found = session.dry_run(load, name=name, **chosen)
            if found is not None:  # in the first process
                print_plan(found, output=output)
            return
        command = ["tada", *sys.argv[1:]]
        result = session.finetune(
            load,
            output=output,
            views=views,
            cache_bytes=cache_bytes,
            tensorboard=tensorboard,
            resume=resume,
            command=command,
            **chosen,
        )
    view.say_result(result)
    if result.report.unscored:
        raise typer.Exit(exits.SOME_FAILED)
