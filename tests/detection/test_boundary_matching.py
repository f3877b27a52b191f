"""The published inference by boundary matching, against a plain transcription of it with dense maps."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tadacli.detection import boundary_matching
from tadacli.detection.boundary_matching import action_segments, class_probabilities, propose
from tadacli.models.bmn import BMN
from tests.detection.published_pipeline import SNIPPET_SECONDS, transcription

NUM_BINS, LONGEST = 16, 8
NUM_VERBS, NUM_NOUNS, VIEWS = 12, 33, 3
HEADS = {
    "verb": tuple(f"verb {number}" for number in range(NUM_VERBS)),
    "noun": tuple(f"noun {number}" for number in range(NUM_NOUNS)),
}


def network() -> BMN:
    """A network whose probabilities differ enough to choose by."""
    torch.manual_seed(3)
    made = BMN(in_channels=8, num_bins=NUM_BINS, max_duration_bins=LONGEST).double().eval()
    for parameter in made.parameters():
        parameter.data.mul_(2.5 if parameter.dim() > 1 else 1)
    return made


def video(num_snippets: int, seed: int) -> tuple[torch.Tensor, dict[str, torch.Tensor], float]:
    """Features (N, C), logits (N, V, K) by head, and the length in seconds of a video with so many snippets."""
    draw = torch.Generator().manual_seed(seed)
    features = torch.randn(num_snippets, 8, dtype=torch.float64, generator=draw) * 3
    logits = {
        head: torch.randn(num_snippets, VIEWS, count, dtype=torch.float64, generator=draw)
        for head, count in (("verb", NUM_VERBS), ("noun", NUM_NOUNS))
    }
    return features, logits, (7 + 8 * (num_snippets - 1)) / 60 + 0.05


# --- the tests ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("num_snippets", "seed"), [(45, 0), (64, 1), (9, 3), (400, 1), (400, 4)])
def test_every_detection_is_that_of_the_published_pipeline(num_snippets: int, seed: int) -> None:
    model = network()
    features, logits, seconds = video(num_snippets, seed)
    expected = transcription(model, features, logits, seconds)
    sizes = {"network": model, "duration_seconds": seconds, "snippet_seconds": SNIPPET_SECONDS}
    proposals = propose(features, **sizes, batch_size=2)
    classes = {head: class_probabilities(values, proposals, **sizes) for head, values in logits.items()}
    found = action_segments(proposals, **classes, heads=HEADS)
    assert len(found) == len(expected) > 4
    for segment, (score, verb, noun, start, end) in zip(found, expected, strict=True):
        assert segment.action == f"{verb},{noun}"
        assert segment.label == f"{HEADS['verb'][verb]} {HEADS['noun'][noun]}"
        assert (segment.score, segment.start_seconds, segment.end_seconds) == pytest.approx(
            (score, start, end), rel=1e-9
        )


@pytest.mark.parametrize("tried", [1, 2, 1000])
def test_how_many_candidates_are_tried_at_first_changes_nothing(monkeypatch: pytest.MonkeyPatch, tried: int) -> None:
    model = network()
    features, _, seconds = video(300, 6)
    sizes = {"network": model, "duration_seconds": seconds, "snippet_seconds": SNIPPET_SECONDS}
    usual = propose(features, **sizes)
    monkeypatch.setattr(boundary_matching, "_TRIED", tried)
    found = propose(features, **sizes)
    assert len(found.scores) == int(seconds) + 1
    np.testing.assert_array_equal(found.cells, usual.cells)
    np.testing.assert_array_equal(found.scores, usual.scores)


def test_windows_at_once_change_nothing() -> None:
    model = network()
    features, _, seconds = video(80, 5)
    single, several = (
        propose(features, model, duration_seconds=seconds, snippet_seconds=SNIPPET_SECONDS, batch_size=size)
        for size in (1, 3)
    )
    np.testing.assert_array_equal(single.cells, several.cells)
    np.testing.assert_allclose(single.scores, several.scores, rtol=1e-12)


def test_a_video_of_one_snippet_has_no_proposals() -> None:
    features, logits, seconds = video(1, 0)
    sizes = {"network": network(), "duration_seconds": seconds, "snippet_seconds": SNIPPET_SECONDS}
    proposals = propose(features, **sizes)
    assert len(proposals.spans) == 0
    assert class_probabilities(logits["verb"], proposals, **sizes).shape == (0, NUM_VERBS)


def test_no_features_are_refused() -> None:
    with pytest.raises(ValueError, match="0 snippets"):
        propose(torch.zeros(0, 8), network(), duration_seconds=1, snippet_seconds=SNIPPET_SECONDS)
