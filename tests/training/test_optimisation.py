"""The learning rate over a run, and which parameters decay and learn faster, as tables."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tadacli.errors import UsageError
from tadacli.models import BUILDERS, build
from tadacli.models.tadaformer import TAdaFormer
from tadacli.training.optimisation import (
    build_optimizer,
    describe_groups,
    learning_rate_at,
    parameter_groups,
    set_rates,
)
from tadacli.training.settings import Optimisation

TOLERANCE = 1e-9  # of rates, relative

K400 = Optimisation(
    optimizer="sgd", learning_rate=0.24, weight_decay=1e-4, schedule="cosine", warmup_epochs=8, warmup_start_rate=0.01
)
SSV2 = dataclasses.replace(K400, learning_rate=0.48, warmup_epochs=4, warmup_start_rate=1e-4)
FORMER = Optimisation(
    optimizer="adamw",
    learning_rate=5e-5,
    weight_decay=0.05,
    schedule="cosine_after_warmup",
    warmup_epochs=5,
    warmup_start_rate=1e-6,
    final_rate=1e-6,
)
PLAIN = Optimisation(optimizer="adamw", learning_rate=1e-3, weight_decay=0.02, schedule="constant")
FACTORS = dataclasses.replace(
    PLAIN, route_rate_factor=5.0, route_bias_rate_factor=10.0, head_rate_factor=4.0, head_bias_rate_factor=8.0
)

NETWORKS: dict[str, dict[str, Any]] = {
    "tada2d_r50": {"stem_width": 8, "stage_depths": (1, 1, 1, 1)},
    "r2plus1d_tiny": {"widths": (8, 8)},
}


@pytest.mark.parametrize(
    ("settings", "num_epochs", "epoch", "rate"),
    [
        # TAda2D K400 8x8: the cosine over 100 epochs has 0.24 * cos(0.04 pi)^2 after 8.
        (K400, 100, 0, 0.01),
        (K400, 100, 4, (0.01 + 0.24 * math.cos(0.04 * math.pi) ** 2) / 2),
        (K400, 100, 8, 0.24 * 0.984291580564),
        (K400, 100, 50, 0.12),
        (K400, 100, 75, 0.24 * 0.146446609407),
        (K400, 100, 100, 0.0),
        # TAda2D SSV2: 4 of 64 epochs of warm-up.
        (SSV2, 64, 0, 1e-4),
        (SSV2, 64, 4, 0.48 * 0.990392640202),
        (SSV2, 64, 32, 0.24),
        (SSV2, 64, 64, 0.0),
        # TAdaFormer-B/16 K400: to the full rate after 5 of 30 epochs, then a cosine of 25 epochs down to 1e-6.
        (FORMER, 30, 0, 1e-6),
        (FORMER, 30, 2.5, 2.55e-5),
        (FORMER, 30, 5, 5e-5),
        (FORMER, 30, 17.5, 2.55e-5),
        (FORMER, 30, 30, 1e-6),
        # Rounding at the end of a run does not turn the cosine back up.
        (FORMER, 30, 30.5, 1e-6),
        # Constant, with and without a warm-up.
        (PLAIN, 2, 0, 1e-3),
        (PLAIN, 2, 1.9, 1e-3),
        (dataclasses.replace(PLAIN, warmup_epochs=1), 2, 0.25, 2.5e-4),
        (dataclasses.replace(PLAIN, warmup_epochs=1), 2, 1, 1e-3),
    ],
)
def test_rates_by_hand(settings: Optimisation, num_epochs: float, epoch: float, rate: float) -> None:
    found = learning_rate_at(epoch, num_epochs=num_epochs, settings=settings)
    assert found == pytest.approx(rate, rel=TOLERANCE, abs=1e-15)


@given(
    settings=st.sampled_from([K400, SSV2, FORMER]),
    final=st.sampled_from([0.0, 1e-6]),
    steps_per_epoch=st.integers(1, 7),
    num_epochs=st.integers(20, 40),
)
def test_a_whole_run_against_increments(
    settings: Optimisation, final: float, steps_per_epoch: int, num_epochs: int
) -> None:
    settings = dataclasses.replace(settings, final_rate=final)
    rates = [
        learning_rate_at(step / steps_per_epoch, num_epochs=num_epochs, settings=settings)
        for step in range(num_epochs * steps_per_epoch + 1)
    ]
    warmup_steps = int(settings.warmup_epochs * steps_per_epoch)
    total = num_epochs * steps_per_epoch
    first = warmup_steps if settings.schedule == "cosine_after_warmup" else 0
    # The square of a cosine over a quarter turn is the raised cosine over half of one.
    expected = [
        final + (settings.learning_rate - final) * math.cos(math.pi / 2 * (step - first) / (total - first)) ** 2
        for step in range(warmup_steps, total + 1)
    ]
    increment = (expected[0] - settings.warmup_start_rate) / warmup_steps
    rising = [settings.warmup_start_rate + increment * step for step in range(warmup_steps)]
    assert rates == pytest.approx(rising + expected, rel=1e-7, abs=1e-12)
    assert max(rates) == pytest.approx(rates[warmup_steps])


def test_the_published_warm_up_ends_below_the_base_rate() -> None:
    before, after = (learning_rate_at(epoch, num_epochs=100, settings=K400) for epoch in (8 - 1e-9, 8))
    assert before == pytest.approx(after, rel=1e-6)
    assert after < K400.learning_rate
    assert learning_rate_at(5, num_epochs=30, settings=FORMER) == FORMER.learning_rate


def test_a_warm_up_as_long_as_the_run_is_refused() -> None:
    with pytest.raises(UsageError, match="warmup_epochs is 8, but the run has 8 epochs"):
        learning_rate_at(0, num_epochs=8, settings=K400)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("learning_rate", 0.0),
        ("learning_rate", math.nan),
        ("learning_rate", math.inf),
        ("momentum", 1.0),
        ("weight_decay", -1e-4),
        ("weight_decay", math.nan),
        ("warmup_epochs", -1.0),
        ("warmup_start_rate", 0.25),  # above the rate it leads to
        ("final_rate", 0.25),
        ("route_rate_factor", 0.0),
        ("route_bias_rate_factor", -1.0),
        ("head_rate_factor", math.inf),
        ("head_bias_rate_factor", 0.0),
        ("layer_decay", 0.0),
        ("layer_decay", 1.1),
        ("max_grad_norm", -1.0),
        ("ema_decay", 1.0),
    ],
)
def test_values_that_cannot_be_meant(key: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{key} is .*, expected "):
        dataclasses.replace(K400, **{key: value})  # type: ignore[arg-type]


def expected_group(name: str, parameter: nn.Parameter) -> tuple[float, float]:
    """Decay and factor under FACTORS by the names that these two networks use."""
    is_bias = name.endswith(".bias")
    decay = 0.0 if is_bias or parameter.ndim == 1 else 0.02
    if name.startswith("head."):
        return decay, 8.0 if is_bias else 4.0
    if "_rf." in name:
        return decay, 10.0 if is_bias else 5.0
    return decay, 1.0


@pytest.mark.parametrize("architecture", NETWORKS)
def test_every_parameter_is_in_its_one_group(architecture: str) -> None:
    network = build(architecture, num_classes=3, **NETWORKS[architecture])
    groups = parameter_groups(network, FACTORS)
    parameters = dict(network.named_parameters())
    assert sorted(name for group in groups for name in group["names"]) == sorted(parameters)
    found = {name: (group["weight_decay"], group["rate_factor"]) for group in groups for name in group["names"]}
    assert found == {name: expected_group(name, parameter) for name, parameter in parameters.items()}
    assert len(set(found.values())) == len(groups) == 7
    for group in groups:
        assert [id(parameter) for parameter in group["params"]] == [id(parameters[name]) for name in group["names"]]
    again = parameter_groups(build(architecture, num_classes=3, **NETWORKS[architecture]), FACTORS)
    assert [group["names"] for group in again] == [group["names"] for group in groups]


def test_no_bias_decays_whatever_its_shape() -> None:
    """Those of a TAdaConv have three dimensions, as they were published."""
    shapes = set()
    for architecture in BUILDERS:
        with torch.device("meta"):
            network = build(architecture, num_classes=3)
        parameters = dict(network.named_parameters())
        groups = parameter_groups(network, PLAIN)
        decaying = {name for group in groups if group["weight_decay"] > 0 for name in group["names"]}
        biases = {name for name in parameters if name.endswith("bias")}
        shapes |= {parameters[name].ndim for name in biases}
        assert not decaying & biases, architecture
        assert decaying == {name for name in set(parameters) - biases if parameters[name].ndim > 1}, architecture
    assert shapes == {1, 3}


def test_groups_that_do_not_differ_are_one() -> None:
    network = build("tada2d_r50", num_classes={"verb": 3, "noun": 4}, **NETWORKS["tada2d_r50"])
    groups = parameter_groups(network, PLAIN)
    assert [(group["weight_decay"], group["rate_factor"], group["label"]) for group in groups] == [
        (0.02, 1.0, "trunk, routing, head"),
        (0.0, 1.0, "trunk, routing, head"),
    ]
    weights = parameter_groups(network, dataclasses.replace(PLAIN, head_rate_factor=10.0))
    head = {name for group in weights if group["rate_factor"] == 10.0 for name in group["names"]}
    assert head == {f"head.linear{number}.{leaf}" for number in (1, 2) for leaf in ("weight", "bias")}


def test_layers_learn_slower_with_their_distance_from_the_head() -> None:
    network = build("tada2d_r50", num_classes=3, stem_width=8, stage_depths=(2, 1, 1, 1))
    groups = parameter_groups(network, dataclasses.replace(FACTORS, layer_decay=0.5))
    found = {name: group["rate_factor"] for group in groups for name in group["names"]}
    for name, factor in {
        "backbone.conv1.a.weight": 0.5**5,
        "backbone.conv2.res_1.conv_branch.a.weight": 0.5**4,
        "backbone.conv2.res_2.conv_branch.a.weight": 0.5**3,
        "backbone.conv4.res_1.conv_branch.a_bn.bias": 0.5,
        "backbone.conv4.res_1.conv_branch.b_rf.a.weight": 0.5 * 5,
        "backbone.conv4.res_1.conv_branch.b_rf.a.bias": 0.5 * 10,
        "backbone.conv5.res_1.conv_branch.c.weight": 1.0,
        "head.out.weight": 4.0,
        "head.out.bias": 8.0,
    }.items():
        assert found[name] == pytest.approx(factor), name
    assert sorted(found) == sorted(dict(network.named_parameters()))


def test_layer_factors_of_tadaformer_are_the_published_ones() -> None:
    """Of 3 blocks: 0.7^4 for what comes before them, 0.7^3 to 0.7 for the blocks, 1 for the last norm."""
    with torch.device("meta"):
        network = TAdaFormer(4, width=256, num_layers=3, patch_size=16)
    settings = dataclasses.replace(PLAIN, layer_decay=0.7, route_rate_factor=10.0, head_rate_factor=10.0)
    groups = parameter_groups(network, settings)
    found = {name: group["rate_factor"] for group in groups for name in group["names"]}
    for name, factor in {
        "backbone.class_embedding": 0.7**4,
        "backbone.conv1.weight": 0.7**4,
        "backbone.ln_pre.bias": 0.7**4,
        "backbone.layers.0.ln_1.weight": 0.7**3,
        "backbone.layers.2.ln_2.weight": 0.7,
        "backbone.layers.2.tada.tadaconv.rf_func.b.weight": 7.0,
        "backbone.ln_post.weight": 1.0,
        "head.out.weight": 10.0,
    }.items():
        assert found[name] == pytest.approx(factor), name


class Nested(nn.Module):
    """Prefixes inside one another, ones that begin alike, and a parameter in no layer."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Module()
        self.trunk.position = nn.Parameter(torch.zeros(2, 2))
        self.trunk.block1, self.trunk.block10 = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
        self.attention = nn.MultiheadAttention(2, 1)
        self.header = nn.Linear(2, 2, bias=False)

    def layers(self) -> list[str]:
        return ["trunk.", "trunk.block1", "trunk.block10."]


def test_the_longest_prefix_counts() -> None:
    groups = parameter_groups(Nested(), dataclasses.replace(PLAIN, layer_decay=0.5, head_rate_factor=9.0))
    found = {name: group["rate_factor"] for group in groups for name in group["names"]}
    assert found["trunk.position"] == 0.25
    assert found["trunk.block1.weight"] == 0.5
    assert found["trunk.block10.weight"] == 1
    assert found["header.weight"] == 1  # begins like the head, and is none
    decays = {name: group["weight_decay"] for group in groups for name in group["names"]}
    assert {name for name, decay in decays.items() if decay == 0} == {
        "attention.in_proj_bias",
        "attention.out_proj.bias",
    }


def test_layer_decay_of_a_network_that_does_not_tell_its_layers() -> None:
    network = nn.Module()
    network.layers = nn.ModuleList([nn.Linear(2, 2)])  # a module of this name is no answer
    with pytest.raises(UsageError, match="layer_decay cannot be used"):
        parameter_groups(network, dataclasses.replace(PLAIN, layer_decay=0.9))
    assert len(parameter_groups(network, PLAIN)) == 2


def test_frozen_parameters_are_left_out() -> None:
    network = build("tada2d_r50", num_classes=3, **NETWORKS["tada2d_r50"])
    network.backbone.requires_grad_(False)
    groups = parameter_groups(network, FACTORS)
    assert [group["names"] for group in groups] == [["head.out.weight"], ["head.out.bias"]]
    network.requires_grad_(False)
    with pytest.raises(UsageError, match="every parameter is frozen"):
        build_optimizer(parameter_groups(network, FACTORS), FACTORS)


def test_the_table_counts_every_parameter_once() -> None:
    network = build("tada2d_r50", num_classes=3, **NETWORKS["tada2d_r50"])
    header, *rows = describe_groups(parameter_groups(network, FACTORS)).splitlines()
    assert header.split() == ["parameters", "of", "tensors", "parameters", "weight", "decay", "rate", "factor"]
    cells = [row.rsplit(maxsplit=4) for row in rows]
    assert sum(int(row[1]) for row in cells) == len(list(network.parameters()))
    assert sum(int(row[2].replace(",", "")) for row in cells) == sum(p.numel() for p in network.parameters())
    assert [(row[0].strip(), row[3], row[4]) for row in cells] == [
        ("trunk", "0.02", "1"),
        ("trunk", "0", "1"),
        ("routing", "0.02", "5"),
        ("routing", "0", "10"),
        ("routing", "0", "5"),
        ("head", "0.02", "4"),
        ("head", "0", "8"),
    ]


def test_rates_are_the_base_rate_times_the_factor() -> None:
    network = build("r2plus1d_tiny", num_classes=3, **NETWORKS["r2plus1d_tiny"])
    groups = parameter_groups(network, FACTORS)
    optimizer = build_optimizer(groups, FACTORS)
    assert [group["lr"] for group in optimizer.param_groups] == [1e-3 * group["rate_factor"] for group in groups]
    set_rates(optimizer, 0.5)
    assert [group["lr"] for group in optimizer.param_groups] == [0.5 * group["rate_factor"] for group in groups]
    assert all("lr" not in group for group in groups)


def test_a_restored_optimizer_keeps_its_factors() -> None:
    network = build("r2plus1d_tiny", num_classes=3, **NETWORKS["r2plus1d_tiny"])
    groups = parameter_groups(network, FACTORS)
    state = build_optimizer(groups, FACTORS).state_dict()
    restored = build_optimizer(groups, FACTORS)
    restored.load_state_dict(state)
    set_rates(restored, 1.0)
    assert [group["lr"] for group in restored.param_groups] == [group["rate_factor"] for group in groups]


def test_sgd_steps_are_those_of_nesterov_momentum() -> None:
    """Two steps of f(w) = w^2 / 2 with decay, by hand: g = w + decay w; v = 0.9 v + g; w -= rate (g + 0.9 v)."""
    network = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        network.weight.fill_(1.0)
    settings = Optimisation(optimizer="sgd", learning_rate=0.1, weight_decay=0.5, schedule="constant")
    optimizer = build_optimizer(parameter_groups(network, settings), settings)
    weight, velocity = 1.0, 0.0
    for _ in range(2):
        network.weight.grad = network.weight.detach().clone()
        optimizer.step()
        gradient = weight + 0.5 * weight
        velocity = 0.9 * velocity + gradient
        weight -= 0.1 * (gradient + 0.9 * velocity)
        assert network.weight.item() == pytest.approx(weight, rel=1e-6)


def test_adamw_decays_weights_and_spares_biases() -> None:
    network = nn.Linear(2, 2)
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    settings = Optimisation(optimizer="adamw", learning_rate=0.1, weight_decay=0.5, schedule="constant")
    optimizer = build_optimizer(parameter_groups(network, settings), settings)
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    torch.testing.assert_close(network.weight.detach(), before["weight"] * (1 - 0.1 * 0.5))
    assert torch.equal(network.bias, before["bias"])
