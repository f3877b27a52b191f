"""Dropout by sample: numbers that are a function of the sample's seed, the layer and the index."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tadacli.models.dropout import DropPath, SampleDropout, set_noise_seeds

MASK = 2**64 - 1


def splitmix(value: int) -> int:
    """The published generator's output function, in Python's own integers."""
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & MASK
    return value ^ (value >> 31)


def expected_mask(seed: int, layer: int, count: int, rate: float) -> list[float]:
    key = splitmix((seed + layer * 0x9E3779B97F4A7C15) & MASK)
    drawn = [splitmix((key + index * 0x9E3779B97F4A7C15) & MASK) >> 40 for index in range(1, count + 1)]
    return [0.0 if number / 2**24 < rate else 1 / (1 - rate) for number in drawn]


def network(rate: float = 0.3) -> nn.Sequential:
    return nn.Sequential(SampleDropout(rate), DropPath(rate), SampleDropout(rate)).train()


@pytest.mark.parametrize("seed", [0, 1, 12345678901234567, -5, 2**63 - 1])
def test_numbers_are_those_of_the_generator(seed: int) -> None:
    layers = network()
    set_noise_seeds(layers, torch.tensor([seed]))
    x = torch.ones(1, 2, 9)
    assert layers[0](x).flatten().tolist() == pytest.approx(expected_mask(seed, 1, 18, 0.3))
    assert layers[1](x)[0, 0, 0].item() == pytest.approx(expected_mask(seed, 2, 1, 0.3)[0])
    assert layers[2](x).flatten().tolist() == pytest.approx(expected_mask(seed, 3, 18, 0.3))


def test_a_sample_gets_the_same_numbers_in_any_batch() -> None:
    layers, seeds, x = network(), torch.arange(40) * 7919, torch.randn(40, 5, 3)
    set_noise_seeds(layers, seeds)
    whole = layers(x)
    order = torch.randperm(40)
    parts = []
    for part in order.split(7):
        set_noise_seeds(layers, seeds[part])
        parts.append(layers(x[part]))
    assert torch.equal(torch.cat(parts), whole[order])


def test_frames_of_a_clip_share_its_numbers() -> None:
    layer = DropPath(0.5).train()
    set_noise_seeds(layer, torch.arange(16))
    dropped = layer(torch.ones(16 * 4, 2))[:, 0].view(16, 4)
    assert (dropped == dropped[:, :1]).all()
    assert 0 < (dropped[:, 0] == 0).sum() < 16


@pytest.mark.parametrize("layer", [SampleDropout(0.3), DropPath(0.3)], ids=["dropout", "drop path"])
@pytest.mark.parametrize("seeded", [True, False])
def test_the_rate_is_met_and_the_mean_kept(layer: nn.Module, seeded: bool) -> None:
    torch.manual_seed(0)
    set_noise_seeds(layer, torch.arange(20_000) if seeded else None)
    out = layer.train()(torch.ones(20_000, 3))
    assert (out == 0).float().mean().item() == pytest.approx(0.3, abs=0.01)
    assert out.mean().item() == pytest.approx(1, abs=0.02)


def test_nothing_is_dropped_in_evaluation_or_at_rate_0() -> None:
    x = torch.randn(4, 3)
    assert network().eval()(x) is x
    assert network(rate=0.0)(x) is x


def test_seeds_that_do_not_fit_the_rows_are_refused() -> None:
    layers = network()
    set_noise_seeds(layers, torch.arange(3))
    with pytest.raises(ValueError, match="3 noise seeds for 4 rows"):
        layers(torch.ones(4, 2))
    with pytest.raises(ValueError, match=r"a rate of 1\.0"):
        DropPath(1.0)
