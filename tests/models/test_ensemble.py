"""Several heads as one: what they say together, and what is refused."""

from __future__ import annotations

import pytest
import torch

from tadacli.errors import SpecError
from tadacli.models import build_over_features
from tadacli.models.ensemble import Ensemble, together
from tadacli.models.pyramid import AtPoints
from tadacli.training.heads.settings import head_settings
from tadacli.training.optimisation import parameter_groups

FEATURES, KNOWN = torch.randn(2, 8, 16, generator=torch.Generator().manual_seed(0)), torch.ones(2, 16, dtype=torch.bool)
SMALL: dict[str, dict[str, object]] = {
    "temporal": {"width": 8, "num_blocks": 1},
    "pyramid": {"width": 16, "num_levels": 2, "num_stem_blocks": 0},
}


def ensemble(kind: str, **arguments: object) -> Ensemble:
    torch.manual_seed(0)
    found = build_over_features(kind, in_channels=8, num_classes=3, members=3, **SMALL[kind], **arguments)
    assert isinstance(found, Ensemble)
    return found.eval()


@pytest.mark.parametrize("exclusive", [True, False])
def test_steps_have_the_mean_of_the_probabilities(exclusive: bool) -> None:
    head = ensemble("temporal", exclusive=exclusive)
    with torch.inference_mode():
        of_each = head(FEATURES, KNOWN)
        of_members = [member.scores(FEATURES, KNOWN) for member in head.members]  # type: ignore[operator]
    found = head.combined(of_each)
    assert isinstance(found, torch.Tensor)
    first = head.members[0]
    expected = torch.stack(of_members).mean(dim=0)
    torch.testing.assert_close(first.scores_of(found, KNOWN), expected)  # type: ignore[operator]
    if exclusive:  # they are logarithms of probabilities then
        torch.testing.assert_close(found.exp().sum(dim=1), torch.ones(2, 16))
    assert float((of_each[0] - found).abs().max()) > 0.01  # not that of one


def test_points_say_where_an_action_ends_as_those_do_that_see_it() -> None:
    """At the first point one head is sure of an action, the other of none; at the second both are half sure."""
    sure = AtPoints(torch.tensor([[8.0, -8.0], [0.0, -8.0]]), torch.tensor([[1.0, 2.0], [2.0, 4.0]]))
    other = AtPoints(torch.tensor([[-8.0, -8.0], [0.0, -8.0]]), torch.tensor([[9.0, 9.0], [4.0, 8.0]]))
    found = together([{"": sure}, {"": other}])[""]
    torch.testing.assert_close(found.distances[0], sure.distances[0], atol=0.01, rtol=0)
    torch.testing.assert_close(found.distances[1], torch.tensor([3.0, 6.0]))
    expected = (sure.logits.sigmoid() + other.logits.sigmoid()) / 2
    torch.testing.assert_close(found.logits.sigmoid(), expected)
    alone = together([{"": sure}])[""]
    assert alone is sure


def test_each_class_has_the_ends_of_those_that_see_it() -> None:
    logits = torch.tensor([[8.0, -8.0]])
    one = AtPoints(logits, torch.tensor([[[1.0, 1.0], [5.0, 5.0]]]))
    other = AtPoints(-logits, torch.tensor([[[3.0, 3.0], [7.0, 7.0]]]))
    found = together([{"": one}, {"": other}])[""]
    torch.testing.assert_close(found.distances, torch.tensor([[[1.0, 1.0], [7.0, 7.0]]]), atol=0.01, rtol=0)


def test_what_all_are_sure_of_stays_apart() -> None:
    """Probabilities that single precision cannot tell from 0 and 1 have logits that differ."""
    logits = torch.tensor([[-40.0, -20.0, 15.0, 30.0]])
    nowhere = torch.zeros(1, 2)
    found = together([{"": AtPoints(logits, nowhere)}, {"": AtPoints(logits, nowhere)}])[""].logits
    torch.testing.assert_close(found, logits)


@pytest.mark.parametrize("members", [0, 17, -1, True, "3", 2.0, None, ["x" * 4000]])
def test_a_number_of_members_that_cannot_be_is_refused(members: object) -> None:
    with pytest.raises(SpecError, match="pyramid has 1 to 16 members") as refused:
        build_over_features("pyramid", in_channels=8, num_classes=3, members=members)
    assert len(str(refused.value)) < 300


def test_a_network_that_is_always_one_says_so() -> None:
    with pytest.raises(SpecError, match="bmn_head is always one"):
        build_over_features("bmn_head", in_channels=8, num_classes=3, members=3)
    with pytest.raises(SpecError, match="membres") as refused:
        build_over_features("temporal", in_channels=8, num_classes=3, membres=3)
    assert "members" in str(refused.value.hint)


def test_the_last_layers_of_all_members_have_their_own_rate() -> None:
    settings = head_settings("temporal", {"head_rate_factor": 10.0}).optimisation
    groups = parameter_groups(ensemble("temporal"), settings)
    names = {name for group in groups if group["rate_factor"] == 10 for name in group["names"]}
    assert names >= {f"members.{number}.head.weight" for number in range(3)}
    assert not any("embedding" in name for name in names)
