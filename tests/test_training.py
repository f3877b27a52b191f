"""The training loop learns, resumes to the same bits, spares norms and biases, and stops on bad numbers."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tadacli.errors import CheckpointError, TadaError, UsageError
from tadacli.training import Ahead, StepReport, TrainingSettings, learning_rate_at, parameter_groups, train

SETTINGS = TrainingSettings(
    steps=12, learning_rate=0.01, warmup_steps=2, weight_decay=0.05, ema_decay=0.9, max_grad_norm=1.0
)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv3d(3, 4, 3, padding=1),
        nn.BatchNorm3d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(128, 3),
    )


def batch(step: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(step % 4)
    targets = torch.arange(6) % 3
    clips = torch.rand(6, 3, 2, 4, 4, generator=generator) + targets[:, None, None, None, None]
    return clips, targets


class InterruptedRunError(Exception):
    pass


def stop_at(step: int) -> object:
    def hear(report: StepReport) -> None:
        if report.step == step:
            raise InterruptedRunError

    return hear


def test_overfits_a_small_set() -> None:
    model = network()
    settings = dataclasses.replace(SETTINGS, steps=150, ema_decay=0.0)
    result = train(model, batch, settings)
    clips, targets = batch(0)
    assert not model.training
    assert (model(clips).argmax(1) == targets).all()
    assert result.loss < 0.2
    assert (result.steps, result.first_step) == (150, 0)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_resumed_training_ends_with_the_same_bits(tmp_path: Path, optimizer: str) -> None:
    settings = dataclasses.replace(SETTINGS, optimizer=optimizer)
    whole, broken, resumed = network(), network(), network()
    train(whole, batch, settings)
    checkpoint = tmp_path / "run.pt"
    with pytest.raises(InterruptedRunError):
        train(broken, batch, settings, checkpoint=checkpoint, checkpoint_every=5, progress=stop_at(8))  # type: ignore[arg-type]
    result = train(resumed, batch, settings, checkpoint=checkpoint)
    assert result.first_step == 5
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert not list(tmp_path.glob("*.tmp"))


def test_a_checkpoint_of_other_settings_or_a_damaged_one_is_refused(tmp_path: Path) -> None:
    checkpoint = tmp_path / "run.pt"
    train(network(), batch, SETTINGS, checkpoint=checkpoint)
    with pytest.raises(CheckpointError, match="other settings"):
        train(network(), batch, dataclasses.replace(SETTINGS, steps=13), checkpoint=checkpoint)
    checkpoint.write_bytes(b"not a checkpoint")
    with pytest.raises(CheckpointError, match="cannot resume"):
        train(network(), batch, SETTINGS, checkpoint=checkpoint)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_bad_numbers_stop_it_and_leave_the_last_good_weights(bad: float) -> None:
    good, stopped = network(), network()
    train(good, batch, dataclasses.replace(SETTINGS, ema_decay=0.0), progress=None, loss=None)

    def poisoned(step: int) -> tuple[Tensor, Tensor]:
        clips, targets = batch(step)
        return (clips * bad, targets) if step == 4 else (clips, targets)

    with pytest.raises(TadaError, match="stopped at step 5"):
        train(stopped, poisoned, dataclasses.replace(SETTINGS, ema_decay=0.0))
    short = network()
    with pytest.raises(InterruptedRunError):
        train(short, batch, dataclasses.replace(SETTINGS, ema_decay=0.0), progress=stop_at(4))  # type: ignore[arg-type]
    for name, value in short.state_dict().items():
        assert torch.equal(value, stopped.state_dict()[name]), name


def test_norms_and_biases_do_not_decay() -> None:
    model = network()
    model.register_parameter("calibrated", nn.Parameter(torch.zeros(1, 1, 4)))
    model[0].requires_grad_(False)
    decayed, free = parameter_groups(model, 0.05)
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.05, 0.0)
    assert {id(p) for p in decayed["params"]} == {id(model[5].weight), id(model.calibrated)}
    assert {id(p) for p in free["params"]} == {id(model[1].weight), id(model[1].bias), id(model[5].bias)}


def test_learning_rate_warms_up_and_falls_along_a_cosine() -> None:
    settings = TrainingSettings(steps=110, learning_rate=1.0, warmup_steps=10, final_fraction=0.1)
    rates = [learning_rate_at(step, settings) for step in range(110)]
    assert rates[:3] == pytest.approx([0.1, 0.2, 0.3])
    assert max(rates) == rates[9] == rates[10] == 1.0
    assert rates[60] == pytest.approx(0.55)
    assert 0.1 < rates[-1] < 0.11


def test_named_targets_and_an_own_loss() -> None:
    model = network()

    def named(step: int) -> tuple[Tensor, dict[str, Tensor]]:
        clips, targets = batch(step)
        return clips, {"verb": targets}

    def loss(logits: Tensor, targets: dict[str, Tensor]) -> Tensor:
        return nn.functional.cross_entropy(logits, targets["verb"])

    assert train(model, named, SETTINGS, loss=loss).loss > 0


def test_batches_made_ahead_are_the_same_ones() -> None:
    with Ahead(batch) as ahead:
        for step in (0, 1, 2, 7, 8):
            assert torch.equal(ahead(step)[0], batch(step)[0])


def test_only_the_thread_that_makes_batches_is_held_to_one_core() -> None:
    """torch counts its threads for the whole process; sums in other threads must not come out otherwise."""
    before = torch.get_num_threads()
    with Ahead(lambda step: (torch.tensor(float(torch.get_num_threads())), torch.tensor(step))) as ahead:
        assert int(ahead(0)[0]) == 1
        with ThreadPoolExecutor(1) as other:
            assert other.submit(torch.get_num_threads).result() == before
    assert torch.get_num_threads() == before


def test_no_steps_is_a_usage_error() -> None:
    with pytest.raises(UsageError):
        train(network(), batch, dataclasses.replace(SETTINGS, steps=0))
