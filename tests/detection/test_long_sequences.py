"""Heads over sequences that go through in pieces: they say what they say of the whole sequence at once."""

from __future__ import annotations

import resource
from contextlib import closing

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn

from tadacli.detection import head_decoding, long_sequences
from tadacli.detection.feature_grid import FeatureGrid, grid_in_pieces, grid_of
from tadacli.detection.head_decoding import (
    MOST_CANDIDATES,
    Head,
    find_candidates,
    find_spans,
    spans_of_curves,
    spans_of_points,
)
from tadacli.detection.long_sequences import MOST_AT_ONCE, STEPS_IN_PIECE, pieces_of_levels, score_steps
from tadacli.detection.row_files import RowFile
from tadacli.errors import OutputError
from tadacli.models.ensemble import Ensemble
from tadacli.models.pyramid import AtPoints, Pyramid, known_points
from tadacli.models.temporal_head import TemporalHead

CHANNELS = 6
# Of float32, whose sums are taken in another order: of logits and distances, relative and absolute.
TOLERANCE = 1e-4


def make(kind: str, num_classes: dict[str, int] | int = 3, *, num_blocks: int = 7, num_bins: int = 0) -> Head:
    torch.manual_seed(0)
    if kind == "temporal":
        head: Head = TemporalHead(in_channels=CHANNELS, num_classes=3, width=8, num_blocks=num_blocks)
    else:
        size = {"width": 16, "num_levels": 5, "num_stem_blocks": 1}
        head = Pyramid(in_channels=CHANNELS, num_classes=num_classes, num_bins=num_bins, **size)  # type: ignore[arg-type]
    for parameter in head.parameters():  # not the small scales of the start
        if parameter.requires_grad and parameter.ndim == 1:
            nn.init.normal_(parameter, 0.5, 0.5)
    return head.eval()


def sequence(num_steps: int) -> FeatureGrid:
    """Noise that is different at the end, with single steps missing, and many of them in a row."""
    random = np.random.default_rng(0)
    values = random.normal(size=(num_steps, CHANNELS)).astype(np.float32)
    values[-num_steps // 3 :] += 2
    known = random.random(num_steps) > 0.05
    known[num_steps // 2 : num_steps // 2 + 300] = False
    return FeatureGrid(np.where(known[:, None], values, 0), known, 0.5, 0.25, num_steps / 4 + 1)


def whole(head: Head, grid: FeatureGrid) -> tuple[torch.Tensor, torch.Tensor]:
    """A sequence as a network takes it at once."""
    num_steps = -(-len(grid) // head.step_multiple) * head.step_multiple
    values = np.zeros((1, CHANNELS, num_steps), dtype=np.float32)
    values[0, :, : len(grid)] = grid.values.T
    known = np.zeros((1, num_steps), dtype=np.bool_)
    known[0, : len(grid)] = grid.known
    return torch.from_numpy(values), torch.from_numpy(known)


def pieces(features: torch.Tensor) -> list[NDArray[np.float32]]:
    return [each[0].T.numpy() for each in features.split(STEPS_IN_PIECE, dim=2)]


@pytest.mark.parametrize(
    ("num_steps", "num_blocks"),
    [
        (3 * STEPS_IN_PIECE + 1, 3),  # a rest that is shorter than what the layers look at
        (3 * STEPS_IN_PIECE, 3),  # no rest
        (5 * STEPS_IN_PIECE, 12),  # layers that look further than a piece
    ],
)
def test_steps_are_scored_as_those_of_the_whole_sequence(num_steps: int, num_blocks: int) -> None:
    head, grid = make("temporal", num_blocks=num_blocks), sequence(num_steps)
    assert isinstance(head, TemporalHead)
    features, known = whole(head, grid)
    with torch.inference_mode():
        expected = head.scores(features, known)[0].numpy()
    with score_steps([head], pieces(features), known[0].numpy()) as scores:
        found = np.concatenate(list(scores.pieces(1000))).T
    assert expected.std() > 0.01
    np.testing.assert_allclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("kind", ["temporal", "pyramid"])
def test_several_heads_find_in_pieces_what_they_find_at_once(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is found in a long sequence is what is found where it may go through at once."""
    heads, grid = [make(kind) for _ in range(3)], sequence(5 * STEPS_IN_PIECE)
    random = torch.Generator().manual_seed(1)
    for head in heads[1:]:
        for parameter in head.parameters():
            if parameter.requires_grad:
                parameter.data += 0.1 * torch.randn(parameter.shape, generator=random)
    head = Ensemble(heads).eval()  # type: ignore[arg-type]
    rows = [grid.values[first : first + STEPS_IN_PIECE] for first in range(0, len(grid), STEPS_IN_PIECE)]
    found = find_candidates(head, grid, rows).spans
    alone = find_candidates(heads[0], grid, rows).spans
    for module in (long_sequences, head_decoding):
        monkeypatch.setattr(module, "MOST_AT_ONCE", len(grid))
    at_once = find_candidates(head, grid, [grid.values]).spans
    assert len(found) == len(at_once) > 100
    np.testing.assert_allclose(np.sort(found.scores), np.sort(at_once.scores), rtol=1e-3, atol=1e-4)
    assert len(alone) != len(found) or not np.allclose(np.sort(alone.scores), np.sort(found.scores), atol=1e-2)


@pytest.mark.parametrize("num_bins", [0, 16])
def test_points_say_what_they_say_of_the_whole_sequence(num_bins: int) -> None:
    head, grid = make("pyramid", {"verb": 3, "noun": 4}, num_bins=num_bins), sequence(3 * STEPS_IN_PIECE + 1)
    assert isinstance(head, Pyramid)
    features, known = whole(head, grid)
    with torch.inference_mode():
        expected = head(features, known)
    parts = list(pieces_of_levels([head], pieces(features), known[0].numpy()))
    there = torch.cat([part.known for part in parts])
    assert torch.equal(there, known_points(known, head.num_levels)[0])
    assert [part.level for part in parts if part.first == 0] == list(range(head.num_levels))
    for name, at in expected.items():
        for which in AtPoints._fields:
            one, other = (
                each[there]
                for each in (torch.cat([getattr(part.said[name], which) for part in parts]), getattr(at, which)[0])
            )
            assert other.std() > 0.1
            torch.testing.assert_close(one, other, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("kind", ["temporal", "pyramid"])
def test_the_best_spans_are_those_of_the_whole_sequence(kind: str) -> None:
    head, grid = make(kind), sequence(MOST_AT_ONCE + 500)
    features, known = whole(head, grid)
    with torch.inference_mode():
        if isinstance(head, TemporalHead):
            curves = head.scores(features, known)[0].double().numpy()
            expected = spans_of_curves(curves, grid.known)
        else:
            said = {name: AtPoints(*(part[0] for part in at)) for name, at in head(features, known).items()}
            expected = spans_of_points(said, known_points(known, 5)[0], num_levels=5)
            assert len(expected) > 2 * MOST_CANDIDATES  # more points are likely than are asked
    found = find_spans(head, grid)
    assert len(found) > 100
    seconds = np.clip(grid.seconds_of(expected.seconds), 0, grid.duration_seconds)
    assert set(found.classes) == set(expected.classes)
    for number in set(found.classes):  # of the best span of a class soft-NMS takes nothing
        of_class = found.classes == number
        best = np.argmax(np.where(expected.classes == number, expected.scores, -1))
        assert found.scores[of_class].max() == pytest.approx(expected.scores[best], rel=TOLERANCE)
        np.testing.assert_allclose(found.seconds[of_class][0], seconds[best], atol=1e-3)


@pytest.mark.parametrize("kind", ["temporal", "pyramid"])
def test_a_sequence_that_goes_through_at_once_needs_no_file(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    head, grid = make(kind), sequence(500)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    assert len(find_spans(head, grid)) > 0


def test_features_of_another_number_are_refused() -> None:
    head, grid = make("temporal"), sequence(100)
    with pytest.raises(ValueError, match="90 features"):
        find_candidates(head, grid, [grid.values[:90]])


# --- grids and rows in pieces ----------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0.6, 9.0), min_size=1, max_size=40),
    st.integers(1, 12),
    st.lists(st.integers(1, 12), min_size=1, max_size=5),
)
def test_a_grid_in_pieces_is_the_grid(distances: list[float], size: int, lengths: list[int]) -> None:
    centres = np.cumsum(distances)
    values = np.arange(2 * len(centres), dtype=np.float32).reshape(-1, 2)
    expected = grid_of(values, centres, stride_seconds=1.0, duration_seconds=400.0)
    cuts = np.cumsum(lengths)
    parts = np.split(values, cuts[cuts < len(values)])
    found = list(grid_in_pieces(parts, centres, stride_seconds=1.0, size=size))
    assert np.array_equal(np.concatenate(found), expected.values)
    assert {len(each) for each in found[:-1]} <= {size}
    with pytest.raises(ValueError, match="make no grid"):
        list(grid_in_pieces([values, values], centres, stride_seconds=1.0, size=size))


def test_rows_come_back_while_more_are_added() -> None:
    with RowFile() as rows, closing(rows.pieces(2)) as coming:
        rows.append(np.arange(6, dtype=np.float32).reshape(3, 2))
        assert next(coming).tolist() == [[0, 1], [2, 3]]
        assert [len(each) for each in rows.pieces(2)] == [2, 1]
        with pytest.raises(ValueError, match="rows of 2"):
            rows.append(np.zeros((1, 3), np.float32))


def test_a_full_disk_is_an_error_that_says_where() -> None:
    """Also where the last bytes come to the disk only when the file is read or closed."""

    def fill(num_rows: int) -> None:
        with RowFile() as rows:
            rows.append(np.zeros((num_rows, 2), np.float32))
            list(rows.pieces(10))

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        for num_rows in (200, 200_000):
            with pytest.raises(OutputError, match="cannot hold what is worked out") as caught:
                fill(num_rows)
            assert "TMPDIR" in caught.value.hint
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
