"""How a network learns: the rate over a run, which parameters decay, and which learn faster than others."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import TypedDict

import torch
from torch import nn

from tadacli.errors import UsageError
from tadacli.training.settings import Optimisation

_HEAD = re.compile(r"(members\.\d+\.)?head\.")  # of a network, or of one of several that are one


class Group(TypedDict):
    """Parameters that are trained alike: `rate_factor` multiplies the base rate; `label` says what they are."""

    names: list[str]
    params: list[nn.Parameter]
    weight_decay: float
    rate_factor: float
    label: str


def learning_rate_at(epoch: float, *, num_epochs: float, settings: Optimisation) -> float:
    """The base learning rate after `epoch` epochs.

    "cosine" falls from `learning_rate` to `final_rate` over the whole run, the warm-up included, and the warm-up
    rises in a line to the value that the cosine has at its end, which is a little below `learning_rate`: the
    schedule of the published TAda2D and TAdaConvNeXt configurations. "cosine_after_warmup" rises to `learning_rate`
    and falls over what is left (`cosine_v2` of the TAdaFormer configurations). "constant" stays after the warm-up.

    Args:
        epoch: Passes over the data so far: 0 before the first step, fractions within an epoch.
        num_epochs: Of the whole run.
        settings: The schedule.

    Returns:
        The rate, before the factors of layers, routing and head.

    Raises:
        UsageError: The warm-up is not shorter than the run.
    """
    warmup = settings.warmup_epochs
    if not warmup < num_epochs:
        raise UsageError(
            f"warmup_epochs is {warmup:g}, but the run has {num_epochs:g} epochs", hint="shorten the warm-up"
        )
    if epoch < warmup:
        start, end = settings.warmup_start_rate, _scheduled_rate(warmup, num_epochs, settings)
        return start + (end - start) * epoch / warmup
    return _scheduled_rate(min(epoch, num_epochs), num_epochs, settings)


def _scheduled_rate(epoch: float, num_epochs: float, settings: Optimisation) -> float:
    if settings.schedule == "constant":
        return settings.learning_rate
    start = settings.warmup_epochs if settings.schedule == "cosine_after_warmup" else 0.0
    fraction = (1 + math.cos(math.pi * (epoch - start) / (num_epochs - start))) / 2
    return settings.final_rate + (settings.learning_rate - settings.final_rate) * fraction


def parameter_groups(network: nn.Module, settings: Optimisation) -> list[Group]:
    """The trainable parameters of `network` as groups for an optimiser, in the order of the network.

    Parameters of at most one dimension and biases do not decay. Routing parameters are those inside a module whose
    class says `is_routing = True`; head parameters those of `network.head`. For a `layer_decay` below 1 the network has
    a method `layers()`: the prefixes of the trunk's parameter names in order of depth, of which the longest that fits a
    name counts. The last layer has the factor 1, as the head has, and every other one `layer_decay` times that of the
    layer after it; parameters outside all layers have 1, too. The factors of routing and head come on top.

    Args:
        network: What is trained.
        settings: Decay and factors.

    Returns:
        Groups that differ in weight decay or in the factor of the rate.

    Raises:
        UsageError: There is a layer decay, and the network does not name its layers.
    """
    routing = {
        id(parameter)
        for module in network.modules()
        if getattr(type(module), "is_routing", False)
        for parameter in module.parameters()
    }
    layers = _layer_factors(network, settings.layer_decay)
    groups: dict[tuple[float, float], Group] = {}
    labels: dict[tuple[float, float], list[str]] = {}
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        is_head = _HEAD.match(name) is not None
        label, factor = ("head", 1.0) if is_head else _layer_of(name, layers)
        if is_head:
            factor *= _factor(name, settings.head_rate_factor, settings.head_bias_rate_factor)
        elif id(parameter) in routing:
            label = "routing" if not layers else f"routing of {label}"
            factor *= _factor(name, settings.route_rate_factor, settings.route_bias_rate_factor)
        decay = 0.0 if parameter.ndim <= 1 or _is_bias(name) else settings.weight_decay
        key = (decay, factor)
        group = groups.setdefault(key, Group(names=[], params=[], weight_decay=decay, rate_factor=factor, label=""))
        group["names"].append(name)
        group["params"].append(parameter)
        if label not in labels.setdefault(key, []):
            labels[key].append(label)
    for key, group in groups.items():
        group["label"] = ", ".join(labels[key])
    return list(groups.values())


def _is_bias(name: str) -> bool:
    # Attention of torch calls one of its biases in_proj_bias.
    leaf = name.rsplit(".", 1)[-1]
    return leaf == "bias" or leaf.endswith("_bias")


def _factor(name: str, factor: float, bias_factor: float | None) -> float:
    return bias_factor if bias_factor is not None and _is_bias(name) else factor


def _layer_factors(network: nn.Module, decay: float) -> dict[str, float]:
    """Factor of each layer by the prefix of its parameter names; nothing if all layers learn alike."""
    if decay == 1:
        return {}
    tell = getattr(type(network), "layers", None)
    if not callable(tell):
        raise UsageError(
            f"layer_decay cannot be used: {type(network).__name__} does not tell the order of its layers",
            hint="set layer_decay = 1",
        )
    layers = [prefix.rstrip(".") for prefix in tell(network)]
    return {prefix: decay ** (len(layers) - 1 - depth) for depth, prefix in enumerate(layers)}


def _layer_of(name: str, factors: Mapping[str, float]) -> tuple[str, float]:
    fitting = [prefix for prefix in factors if name.startswith(f"{prefix}.")]
    if not fitting:
        return "trunk", 1.0
    layer = max(fitting, key=len)
    return layer, factors[layer]


def describe_groups(groups: Sequence[Group]) -> str:
    """The groups as a text table: what is in each, tensors, parameters, weight decay and rate factor."""
    rows = [("parameters of", "tensors", "parameters", "weight decay", "rate factor")]
    for group in groups:
        count = sum(parameter.numel() for parameter in group["params"])
        decay, factor = f"{group['weight_decay']:g}", f"{group['rate_factor']:.4g}"
        rows.append((group["label"], str(len(group["params"])), f"{count:,}", decay, factor))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *(row[column].rjust(widths[column]) for column in range(1, 5))])
        for row in rows
    )


def build_optimizer(groups: Sequence[Group], settings: Optimisation) -> torch.optim.Optimizer:
    """The torch optimiser of the settings, at the rates of `learning_rate`.

    Args:
        groups: Those of `parameter_groups`.
        settings: Which optimiser, and how.

    Returns:
        The optimiser.

    Raises:
        UsageError: There is nothing to train.
    """
    if not any(group["params"] for group in groups):
        raise UsageError("there is nothing to train: every parameter is frozen", hint='set freeze = "nothing"')
    optimizer: torch.optim.Optimizer
    copies = [dict(group) for group in groups]  # torch adds its own settings to what it is given
    if settings.optimizer == "adamw":
        optimizer = torch.optim.AdamW(copies, lr=settings.learning_rate)
    else:
        momentum = settings.momentum
        optimizer = torch.optim.SGD(copies, lr=settings.learning_rate, momentum=momentum, nesterov=momentum > 0)
    set_rates(optimizer, settings.learning_rate)
    return optimizer


def set_rates(optimizer: torch.optim.Optimizer, base_rate: float) -> None:
    """Sets the rate of each group to the base rate times the group's own factor."""
    for group in optimizer.param_groups:
        group["lr"] = base_rate * group["rate_factor"]
