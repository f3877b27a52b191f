"""Networks over features in time: padding and holes change nothing, sizes are as published."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tadacli.models.dropout import set_noise_seeds
from tadacli.models.pyramid import AtPoints, Pyramid, SgpBlock, known_points, points
from tadacli.models.temporal_head import TemporalHead

T = 24


def make(kind: str, **arguments: float) -> TemporalHead | Pyramid:
    torch.manual_seed(0)
    if kind == "temporal":
        network: TemporalHead | Pyramid = TemporalHead(in_channels=6, num_classes=3, width=8, **arguments)  # type: ignore[arg-type]
    else:
        bins = 5 if kind == "trident" else 0
        network = Pyramid(in_channels=6, num_classes=3, width=32, num_levels=4, num_bins=bins, **arguments)  # type: ignore[arg-type]
    for parameter in network.parameters():  # not the small scales of the start
        if parameter.requires_grad and parameter.ndim == 1:
            nn.init.normal_(parameter, 0.5, 0.5)
    return network.eval()


def said(network: TemporalHead | Pyramid, x: Tensor, known: Tensor) -> Tensor:
    """Everything that a network says of known steps or points, in a row for each sample."""
    with torch.no_grad():
        found = network(x, known)
    if isinstance(found, Tensor):
        return (found * known[:, None]).flatten(1)
    at: AtPoints = found[""]
    counted = known_points(known, 4)[:, :, None]
    return torch.cat([at.logits * counted, at.distances.flatten(2) * counted], dim=2).flatten(1)


@pytest.mark.parametrize("kind", ["temporal", "pyramid", "trident"])
def test_what_is_not_known_changes_nothing(kind: str) -> None:
    network = make(kind)
    x, known = torch.randn(2, 6, T), torch.rand(2, T) > 0.3
    other = torch.where(known[:, None], x, 100 * torch.randn(2, 6, T))
    assert torch.allclose(said(network, x, known), said(network, other, known), atol=1e-5)
    assert not torch.allclose(said(network, x, known), said(network, x + 0.1, known), atol=1e-3)


@pytest.mark.parametrize("kind", ["temporal", "pyramid", "trident"])
def test_padding_and_other_samples_change_nothing(kind: str) -> None:
    network = make(kind)
    x, known = torch.randn(2, 6, T), torch.ones(2, T, dtype=torch.bool)
    known[1, T - 5 :] = False
    alone = network(x[:1], known[:1])
    longer = torch.cat([x, torch.full((2, 6, 16), 7.0)], dim=2)
    more = network(longer, torch.cat([known, torch.zeros(2, 16, dtype=torch.bool)], dim=1))
    if isinstance(alone, Tensor):
        assert torch.allclose(more[:1, :, :T], alone, atol=1e-5)
        return
    first = points(T, 4)
    longer_at = points(T + 16, 4)
    kept = torch.cat([(longer_at.strides == stride) & (longer_at.places < T) for stride in (1, 2, 4, 8)]).view(4, -1)
    rows = kept.any(dim=0)
    assert torch.equal(longer_at.places[rows], first.places)
    assert torch.allclose(more[""].logits[0, rows], alone[""].logits[0], atol=1e-4)
    assert torch.allclose(more[""].distances[0, rows], alone[""].distances[0], atol=1e-4)


def test_the_block_is_the_published_one() -> None:
    """Against its formulas, written with the functions of torch."""
    torch.manual_seed(1)
    block = SgpBlock(32, hidden=48, window=1.5, drop_path=0.1).eval()
    for scale in (block.drop_path_out.scale, block.drop_path_mlp.scale):
        nn.init.normal_(scale)
    x = torch.randn(2, 32, 20)
    f = torch.nn.functional
    out = f.layer_norm(x.transpose(1, 2), (32,)).transpose(1, 2)

    def conv(layer: nn.Conv1d) -> Tensor:
        return f.conv1d(out, layer.weight, layer.bias, padding=layer.kernel_size[0] // 2, groups=32)

    assert (block.convw.kernel_size, block.convkw.kernel_size) == ((3,), (7,))
    mean = out.mean(dim=2, keepdim=True)
    phi = torch.relu(f.conv1d(mean, block.global_fc.weight, block.global_fc.bias, groups=32))
    mixed = conv(block.fc) * phi + (conv(block.convw) + conv(block.convkw)) * conv(block.psi) + out
    mixed = x + block.drop_path_out.scale[:, None] * mixed
    normed = f.group_norm(mixed, 16, block.gn.weight, block.gn.bias)
    expected = mixed + block.drop_path_mlp.scale[:, None] * block.mlp(normed)
    assert torch.allclose(block(x, torch.ones(2, 20, dtype=torch.bool)), expected, atol=1e-4)


def test_points_and_their_ranges() -> None:
    at = points(8, 3)
    assert at.places.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 0, 2, 4, 6, 0, 4]
    assert at.strides.tolist() == [1] * 8 + [2] * 4 + [4] * 2
    assert [tuple(each) for each in at.ranges[[0, 8, 12]].tolist()] == [(0, 4), (2, 8), (4, float("inf"))]


def test_size_as_counted_for_the_published_settings() -> None:
    """18.2 and 19.1 million parameters for 97 verbs and 300 nouns over 2048 channels by TriDet with its boundaries."""
    for num_classes, size in ((97, 18.2e6), (300, 19.1e6)):
        with torch.device("meta"):
            network = Pyramid(in_channels=2048, num_classes=num_classes, num_bins=16)
        assert sum(each.numel() for each in network.parameters()) == pytest.approx(size, abs=0.05e6)


@pytest.mark.parametrize("kind", ["temporal", "pyramid", "trident"])
def test_noise_belongs_to_the_sample(kind: str) -> None:
    network = make(kind, noise=0.5, dropout=0.3).train()
    x, known, seeds = torch.randn(3, 6, T), torch.ones(3, T, dtype=torch.bool), torch.tensor([5, 6, 7])
    set_noise_seeds(network, seeds)
    together = said(network, x, known)
    set_noise_seeds(network, seeds[2:])
    assert torch.allclose(said(network, x[2:], known[2:]), together[2:], atol=1e-5)
    set_noise_seeds(network, seeds + 1)
    assert not torch.allclose(said(network, x, known), together, atol=1e-3)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [({"width": 40}, "16 groups"), ({"num_levels": 0}, "1 to 16 levels"), ({"noise": -1.0}, "standard deviation")],
)
def test_a_pyramid_that_cannot_be_is_refused(arguments: dict[str, float], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Pyramid(in_channels=4, num_classes=2, **{"width": 16, **arguments})  # type: ignore[arg-type]


def test_a_pyramid_says_what_lengths_it_takes() -> None:
    with pytest.raises(ValueError, match="not a multiple of 8"):
        make("pyramid")(torch.zeros(1, 6, 20), torch.ones(1, 20, dtype=torch.bool))
