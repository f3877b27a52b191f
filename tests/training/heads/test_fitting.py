"""Heads learn planted actions, to the same bits each time, also when they are stopped and go on."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.planted_actions import Planted, linear_precision, split
from tadacli.detection.feature_grid import FeatureGrid
from tadacli.detection.head_decoding import Head, find_spans
from tadacli.errors import CheckpointError, SpecError, TadaError, UsageError
from tadacli.models.ensemble import Ensemble
from tadacli.training.heads.fitting import Fitted, Progress, build_head, fit_head, precision_of
from tadacli.training.heads.sequences import LabelledSequence
from tadacli.training.heads.settings import HeadSettings, head_settings
from tadacli.training.loop import StepReport
from tests.training.heads.spans import check_spans

PLANTED = Planted(num_videos=40, num_classes=3, num_channels=8, steps=(100, 200), lengths=(4, 40), strength=3.9)
VIDEOS = PLANTED.videos(0)
SMALL: Mapping[str, dict[str, Any]] = {
    "temporal": {"width": 16, "num_blocks": 3, "warmup_epochs": 1, "batch_size": 4, "members": 1},
    "pyramid": {
        "width": 16, "num_levels": 4, "warmup_epochs": 1, "batch_size": 4, "members": 1, "learning_rate": 5e-3,
    },
}  # fmt: skip
TRIDENT = {"num_bins": 8}
SEVERAL = {"members": 2}


def settings_of(kind: Any, **changes: Any) -> HeadSettings:
    return head_settings(kind, {**SMALL[kind], "tiou": (0.5,), **changes})


def fit(settings: HeadSettings, **options: Any) -> tuple[dict[str, Tensor], Fitted, Head]:
    """The best weights by name, the end of the training, and the network with the best weights."""
    train, validation, _ = split(VIDEOS)
    head = build_head(settings, in_channels=8, num_classes={"": 3})
    best: dict[str, Tensor] = {}

    def keep(network: Head) -> None:
        best.update({name: tensor.clone() for name, tensor in network.state_dict().items()})

    fitted = fit_head(head, train, validation, settings, keep=keep, **options)
    head.load_state_dict(best)
    return best, fitted, head


@pytest.mark.parametrize(
    ("kind", "changes", "least"),
    [
        ("temporal", {"epochs": 20}, 0.8),
        ("temporal", {"epochs": 20, **SEVERAL}, 0.8),
        ("pyramid", {"epochs": 12}, 0.8),
        ("pyramid", {"epochs": 12, **TRIDENT}, 0.8),
    ],
)
def test_a_head_finds_what_single_steps_do_not_show(kind: str, changes: dict[str, Any], least: float) -> None:
    train, _, test = split(VIDEOS)
    (by_step,) = linear_precision(train, test, tiou=(0.5,))
    _, fitted, head = fit(settings_of(kind, **changes))
    found = precision_of(head, test, tiou=(0.5,)).average
    assert found >= least
    assert found > by_step + 0.1
    assert fitted.precision >= least - 0.1
    check_spans(head, test)


class StoppedError(Exception):
    pass


@pytest.mark.parametrize(
    ("kind", "changes"), [("temporal", {}), ("temporal", SEVERAL), ("pyramid", TRIDENT), ("pyramid", SEVERAL)]
)
def test_a_training_that_goes_on_ends_with_the_same_bits(kind: str, changes: dict[str, Any], tmp_path: Path) -> None:
    settings = settings_of(kind, epochs=4, evaluate_every_epochs=1, most_steps=96, **changes)
    whole, at_once, _ = fit(settings)
    kept: dict[str, Tensor] = {}

    def stop(report: StepReport) -> None:
        if report.step == 20:
            raise StoppedError

    train, validation, _ = split(VIDEOS)
    file = tmp_path / "checkpoint.pt"
    for options in ({"on_step": stop}, {}):
        head = build_head(settings, in_channels=8, num_classes={"": 3})
        try:
            again = fit_head(
                head,
                train,
                validation,
                settings,
                keep=lambda network: kept.update({n: t.clone() for n, t in network.state_dict().items()}),
                checkpoint=file,
                **options,  # type: ignore[arg-type]
            )
        except StoppedError:
            assert file.is_file()
    assert again == at_once
    assert kept.keys() == whole.keys()
    assert all(torch.equal(kept[name], whole[name]) for name in whole)
    other = dataclasses.replace(settings, seed=1)
    with pytest.raises(CheckpointError, match=r"head\.seed was 0, is 1"):
        fit(other, checkpoint=file)


def test_members_learn_with_noise_of_their_own() -> None:
    """Two heads that begin alike and see the same batches: but for their noise they would end alike."""
    settings = settings_of("temporal", epochs=2, **SEVERAL)
    head = build_head(settings, in_channels=8, num_classes={"": 3})
    assert isinstance(head, Ensemble)
    one, other = head.members
    assert not torch.equal(one.embedding.weight, other.embedding.weight)
    other.load_state_dict(one.state_dict())
    begun = one.embedding.weight.detach().clone()
    train, validation, _ = split(VIDEOS)
    fit_head(head, train, validation, settings, keep=lambda _: None)
    assert torch.equal(one.scaling.mean, other.scaling.mean)
    assert float(one.scaling.mean.abs().max()) > 0
    assert not torch.equal(one.embedding.weight, other.embedding.weight)
    for member in (one, other):
        assert not torch.equal(member.embedding.weight, begun)


def test_one_head_is_trained_as_before_there_were_several(tmp_path: Path) -> None:
    settings, file = settings_of("temporal", epochs=2), tmp_path / "checkpoint.pt"
    names, _, _ = fit(settings, checkpoint=file)
    assert not any(name.startswith("members") for name in names)
    assert "members" not in torch.load(file, weights_only=True)["identity"]["head"]
    with pytest.raises(CheckpointError, match="members") as refused:
        fit(dataclasses.replace(settings, members=2), checkpoint=file)
    assert "it trains 1 head: add --set members=1" in str(refused.value.hint)


def test_what_is_kept_is_the_best_by_validation() -> None:
    seen: list[Progress] = []
    _, fitted, head = fit(settings_of("temporal", epochs=6, evaluate_every_epochs=1), on_evaluation=seen.append)
    best = max(seen, key=lambda each: (each.precision, each.step))
    assert (fitted.best_step, fitted.precision) == (best.step, best.precision)
    assert precision_of(head, split(VIDEOS)[1], tiou=(0.5,)).average == pytest.approx(best.precision)
    assert [each.is_best for each in seen].count(True) >= 1


def test_verbs_and_nouns_are_fused_to_actions() -> None:
    named = [
        dataclasses.replace(video, classes={"verb": video.classes[""] // 2, "noun": video.classes[""] % 2})
        for video in VIDEOS
    ]
    train, validation, _ = split(named)
    settings = settings_of("pyramid", epochs=8, evaluate_every_epochs=4)
    head = build_head(settings, in_channels=8, num_classes={"verb": 2, "noun": 3})  # one noun never occurs
    fitted = fit_head(head, train, validation, settings, keep=lambda _: None)
    assert fitted.precision > 0.3
    found = find_spans(head, validation[0].grid)
    assert found.pair_scores is not None
    assert len(found.pair_scores) == len(found)
    best = found.classes[0]
    assert 0 <= best < 6
    with pytest.raises(SpecError, match="one kind of label"):
        build_head(settings_of("temporal"), in_channels=8, num_classes={"verb": 2, "noun": 3})


def test_unsound_data_and_settings_are_refused() -> None:
    train, validation, _ = split(VIDEOS)
    settings = settings_of("temporal", epochs=2)
    head = build_head(settings, in_channels=8, num_classes={"": 3})

    def refused(train: Any, validation: Any, settings: HeadSettings = settings) -> str:
        with pytest.raises(UsageError) as error:
            fit_head(head, train, validation, settings, keep=lambda _: None)
        return error.value.message

    empty = [dataclasses.replace(each, spans=each.spans[:0], classes={"": each.classes[""][:0]}) for each in validation]
    assert "no segments of validation videos" in refused(train, empty)
    grid = train[0].grid
    wide = dataclasses.replace(grid, values=np.zeros((len(grid), 9), dtype=np.float32))
    assert "9 channels" in refused([*train, dataclasses.replace(train[0], grid=wide)], validation)
    slow = dataclasses.replace(grid, stride_seconds=1.0)
    assert "1 s apart" in refused([*train, dataclasses.replace(train[0], grid=slow)], validation)
    with pytest.raises(UsageError, match="warmup_epochs is 2, expected less than the 2 epochs"):
        settings_of("temporal", epochs=2, warmup_epochs=2)
    for changes, message in (
        ({"epochs": 0}, "epochs is 0"),
        ({"epochs": 6.5}, "epochs"),
        ({"seed": "abc"}, "seed"),
        ({"tiou": 0.5}, "tiou"),
        ({"learning_rate": "abc"}, "learning_rate"),
        ({"optimizer": "foo"}, "optimizer"),
    ):
        with pytest.raises(UsageError, match=message):
            head_settings("temporal", changes)


@pytest.mark.parametrize(
    ("kind", "arguments", "said"),
    [
        ("temporal", {"depth": 3}, "unknown key depth"),
        ("temporal", {"width": "abc"}, 'width has the wrong type or value, got "abc"'),
        ("temporal", {"width": 16.5}, "width has the wrong type or value, got 16.5"),
        ("temporal", {"exclusive": 1}, "exclusive has the wrong type or value, got 1"),
        ("temporal", {"width": -1}, "width is -1"),
        ("temporal", {"width": 10**9}, "width is 1000000000"),
        ("temporal", {"in_channels": 4}, "in_channels is that of the features"),
        ("pyramid", {"hidden": 0}, "hidden is 0"),
        ("pyramid", {"hidden": True}, "hidden has the wrong type or value, got true"),
        ("pyramid", {"window": float("nan")}, "window is nan"),
        ("pyramid", {"num_levels": None}, "num_levels has the wrong type or value, got null"),
    ],
)
def test_arguments_that_are_none_of_a_head_are_said(kind: str, arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError) as error:
        build_head(settings_of(kind, **arguments), in_channels=8, num_classes={"": 3})
    assert said in error.value.message
    assert error.value.hint


def test_features_that_are_no_numbers_stop_the_training() -> None:
    train, validation, _ = split(VIDEOS)
    grid = train[0].grid
    values = grid.values.copy()
    values[3] = np.nan
    broken = dataclasses.replace(train[0], grid=dataclasses.replace(grid, values=values))
    settings = settings_of("temporal", epochs=2)
    head = build_head(settings, in_channels=8, num_classes={"": 3})
    with pytest.raises(TadaError, match=r"video 0.*not numbers"):
        fit_head(head, [broken, *train[1:]], validation, settings, keep=lambda _: None)


def test_segments_must_be_segments() -> None:
    grid = FeatureGrid(np.zeros((4, 2), np.float32), np.ones(4, np.bool_), 0.0, 1.0, 4.0)
    for spans in ([[2.0, 2.0]], [[3.0, 1.0]], [[0.0, float("nan")]]):
        with pytest.raises(ValueError, match="ends before it starts"):
            LabelledSequence("a", grid, np.array(spans), {"": np.array([0])}, np.empty((0, 2)))
