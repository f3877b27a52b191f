"""The boundary-matching network trained on features of one's own, and what it finds with a classifier of snippets."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.planted_actions import Planted
from tadacli.detection.feature_grid import FeatureGrid
from tadacli.detection.head_decoding import Head, find_candidates, find_spans
from tadacli.detection.passing_snippets import PassingSnippets
from tadacli.errors import SpecError
from tadacli.models.bmn import BMN
from tadacli.models.bmn_head import BMNHead
from tadacli.training.heads.fitting import Fitted, build_head, fit_head, precision_of
from tadacli.training.heads.proposal_objective import in_bins, overlap_map
from tadacli.training.heads.settings import head_settings
from tadacli.training.loop import StepReport
from tests.training.heads.spans import check_spans

PLANTED = Planted(num_videos=14, num_classes=2, num_channels=8, steps=(60, 90), lengths=(4, 14), strength=8.0)
VIDEOS = PLANTED.videos(0)
TRAIN, VALIDATION = VIDEOS[:10], VIDEOS[10:]
SETTINGS = {"num_bins": 16, "max_duration_bins": 8, "batch_size": 8, "learning_rate": 4e-3, "tiou": (0.5,)}


def fit(epochs: int, classes: dict[str, int] | None = None, **options: Any) -> tuple[dict[str, Tensor], Fitted, Head]:
    """The best weights by name, the end of the training, and the network with the best weights."""
    settings = head_settings("bmn", {**SETTINGS, "epochs": epochs, "evaluate_every_epochs": 1})
    head = build_head(settings, in_channels=8, num_classes=classes or {"": 2})
    best: dict[str, Tensor] = {}

    def keep(network: Head) -> None:
        best.update({name: tensor.clone() for name, tensor in network.state_dict().items()})

    train, validation = TRAIN, VALIDATION
    if classes is not None:
        train, validation = (
            [dataclasses.replace(each, classes={"verb": each.classes[""], "noun": each.classes[""]}) for each in side]
            for side in (TRAIN, VALIDATION)
        )
    fitted = fit_head(head, train, validation, settings, keep=keep, **options)
    head.load_state_dict(best)
    return best, fitted, head


@pytest.fixture(scope="module")
def trained() -> tuple[dict[str, Tensor], Fitted, Head]:
    return fit(3)


def test_it_finds_planted_actions(trained: tuple[dict[str, Tensor], Fitted, Head]) -> None:
    _, fitted, head = trained
    assert fitted.precision >= 0.5
    assert precision_of(head, VALIDATION, tiou=(0.5,)).average == pytest.approx(fitted.precision)
    check_spans(head, VALIDATION)


class StoppedError(Exception):
    pass


def test_a_training_that_goes_on_ends_with_the_same_bits(
    trained: tuple[dict[str, Tensor], Fitted, Head], tmp_path: Path
) -> None:
    whole, at_once, _ = trained
    file = tmp_path / "checkpoint.pt"

    def stop(report: StepReport) -> None:
        if report.step == report.num_steps * 2 // 3 + 1:
            raise StoppedError

    with pytest.raises(StoppedError):
        fit(3, checkpoint=file, on_step=stop)
    assert file.is_file()
    again, fitted, _ = fit(3, checkpoint=file)
    assert fitted == at_once
    assert again.keys() <= whole.keys()
    assert all(torch.equal(again[name], whole[name]) for name in again)


def test_pieces_of_a_long_video_give_what_it_gives_at_once(
    trained: tuple[dict[str, Tensor], Fitted, Head],
) -> None:
    head = trained[2]
    values = np.concatenate([video.grid.values for video in VIDEOS[:4]])
    known = np.ones(len(values), np.bool_)
    known[100:110] = False
    grid = FeatureGrid(values, known, 0.25, 0.5, len(values) / 2)
    whole = find_spans(head, grid)
    pieces = (values[first : first + 7] for first in range(0, len(values), 7))
    parts = find_candidates(head, grid, pieces).suppressed(duration_seconds=grid.duration_seconds)
    assert len(whole) > 10
    np.testing.assert_array_equal(parts.classes, whole.classes)
    np.testing.assert_allclose(parts.seconds, whole.seconds)
    np.testing.assert_allclose(parts.scores, whole.scores, rtol=1e-4)
    other = FeatureGrid(np.where(known[:, None], values, 9.0).astype(np.float32), known, 0.25, 0.5, len(values) / 2)
    np.testing.assert_array_equal(find_spans(head, other).scores, whole.scores)
    with pytest.raises(ValueError, match="are not those of"):
        find_candidates(head, grid, [values[:-1]])


def test_snippets_go_by_once() -> None:
    head = BMNHead(in_channels=8, num_classes=1, num_bins=16, max_duration_bins=8).eval()
    values = VIDEOS[0].grid.values[:40]
    pieces = (values[first : first + 8] for first in range(0, 40, 8))
    with PassingSnippets(head, pieces, np.ones(40, np.bool_)) as snippets:
        torch.testing.assert_close(snippets[0:20], torch.from_numpy(values[:20]))
        torch.testing.assert_close(snippets[16:48], torch.from_numpy(values[16:]))
        with pytest.raises(ValueError, match="row 0 has gone by"):
            snippets[0:20]
        logits = snippets.logits()[""]
        assert (len(logits), tuple(logits[38:50].shape)) == (40, (2, 1, 1))


def test_verbs_and_nouns_are_pairs() -> None:
    _, _, head = fit(2, {"verb": 2, "noun": 3})
    found = find_spans(head, VALIDATION[0].grid)
    assert found.pair_scores is not None
    assert found.pair_scores.shape == (len(found), 2)
    assert 0 <= found.classes.min() <= found.classes.max() < 6
    assert (found.scores <= found.pair_scores.prod(axis=1) + 1e-9).all()


class OneProposal(BMN):
    """Finds one thing in every window: the proposal of four bins from the third one on."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        found = {
            "confidence_map": torch.zeros(len(x), 2, self.max_duration_bins, self.num_bins),
            "start": torch.zeros(len(x), self.num_bins),
            "end": torch.zeros(len(x), self.num_bins),
        }
        found["confidence_map"][:, :, 3, 2] = found["start"][:, 2] = found["end"][:, 6] = 1.0
        return found


def test_bins_are_found_where_their_labels_are() -> None:
    head = BMNHead(in_channels=8, num_classes=1, num_bins=16, max_duration_bins=8).eval()
    head.proposals = OneProposal(in_channels=8, num_bins=16, max_duration_bins=8)
    values, known = np.zeros((20, 8), np.float32), np.ones(20, np.bool_)
    grid = FeatureGrid(values, known, 3.25, 0.5, 13.0, 3.0)  # the first step lasts from 3.0 s to 3.5 s
    found = find_spans(head, grid)
    np.testing.assert_allclose(found.seconds[0], [3.0 + 2 * 1.0, 3.0 + 6 * 1.0])
    assert found.scores[0] == pytest.approx(1.0)
    labels = overlap_map(in_bins(grid.steps_of(found.seconds[:1])), 16, 8)
    assert labels[3, 2] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"max_duration_bins": 9}, "num_bins is 16, max_duration_bins is 9"),
        ({"num_bins": 1024}, "up to 512"),
        ({"width": 3}, "unknown key width"),
    ],
)
def test_arguments_that_are_none_are_said(arguments: dict[str, int], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        build_head(head_settings("bmn", {**SETTINGS, **arguments}), in_channels=8, num_classes={"": 2})
    with pytest.raises(SpecError, match="6 channels cannot be taken in 4 groups"):
        build_head(head_settings("bmn", SETTINGS), in_channels=6, num_classes={"": 2})
