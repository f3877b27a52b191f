"""Pairs of classes that a mirror swaps."""

from __future__ import annotations

import pytest

from tadacli.camera_motion.scenes import CAMERA_MOTIONS
from tadacli.specs import label_list
from tadacli.training.mirroring import mirrored_pairs

TABLE = [
    (["sit", "stand"], (), (), "no sides"),
    (["Push left", "Push right", "lift"], (("Push left", "Push right"),), (), "a pair"),
    (["a_left_b", "a_right_b"], (("a_left_b", "a_right_b"),), (), "underscores"),
    (["turn left", "stop"], (), ("turn left",), "the opposite is missing"),
    (["leftover food", "bright"], (), (), "only whole words count"),
    (["from left to right", "from right to left"], (("from left to right", "from right to left"),), (), "two words"),
    (["spin clockwise", "spin anticlockwise"], (("spin clockwise", "spin anticlockwise"),), (), "turning"),
    (["left and right"], (), ("left and right",), "the order of words counts"),
]


@pytest.mark.parametrize(("labels", "pairs", "unpaired", "why"), TABLE, ids=[row[3] for row in TABLE])
def test_pairs(labels: list[str], pairs: object, unpaired: object, why: str) -> None:
    assert mirrored_pairs(labels) == (pairs, unpaired), why


def test_published_pairs_of_something_something_are_found() -> None:
    labels = label_list("ssv2")
    pairs, unpaired = mirrored_pairs(labels)
    assert {(labels.index(a), labels.index(b)) for a, b in pairs} == {(86, 87), (93, 94), (166, 167)}
    # A word that is no side here; whoever trusts the rule alone mirrors nothing, which is safe.
    assert unpaired == ("Plugging something into something but pulling it right out as you remove your hand",)


def test_camera_motions() -> None:
    pairs, unpaired = mirrored_pairs(CAMERA_MOTIONS)
    assert pairs == (("pan left", "pan right"), ("roll clockwise", "roll counter-clockwise"))
    assert unpaired == ()
