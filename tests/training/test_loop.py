"""The training loop learns, resumes to the same bits, is the same in parts and processes, and stops on bad numbers."""

from __future__ import annotations

import copy
import dataclasses
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from tadacli.distributed import joined
from tadacli.errors import CheckpointError, TadaError, UsageError
from tadacli.models import build
from tadacli.models.dropout import SampleDropout
from tadacli.training.loop import Ahead, StepReport, Trainer, TrainingBatch, TrainingSettings, train
from tadacli.training.settings import Optimisation

OPTIMISATION = Optimisation(
    optimizer="adamw",
    learning_rate=0.01,
    weight_decay=0.05,
    schedule="cosine_after_warmup",
    warmup_epochs=2,
    ema_decay=0.9,
    max_grad_norm=1.0,
)
SETTINGS = TrainingSettings(num_steps=12, optimisation=OPTIMISATION)


def changed(settings: TrainingSettings = SETTINGS, **changes: Any) -> TrainingSettings:
    """Settings with other values, of the loop or of its optimisation."""
    own = {name: value for name, value in changes.items() if hasattr(settings, name)}
    others = {name: value for name, value in changes.items() if name not in own}
    return dataclasses.replace(settings, optimisation=dataclasses.replace(settings.optimisation, **others), **own)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv3d(3, 4, 3, padding=1),
        nn.BatchNorm3d(4),
        nn.ReLU(),
        nn.Flatten(),
        SampleDropout(0.2),
        nn.Linear(128, 3),
    )


def batch(step: int) -> list[TrainingBatch]:
    generator = torch.Generator().manual_seed(step % 4)
    targets = torch.arange(6) % 3
    clips = torch.rand(6, 3, 2, 4, 4, generator=generator) + targets[:, None, None, None, None]
    return [TrainingBatch(clips, {"": targets}, torch.arange(6) + 6 * step)]


def part(whole: TrainingBatch, start: int, end: int) -> TrainingBatch:
    assert whole.noise_seeds is not None
    targets = {head: target[start:end] for head, target in whole.targets.items()}
    return TrainingBatch(whole.clips[start:end], targets, whole.noise_seeds[start:end])


class InterruptedRunError(Exception):
    pass


def stop_at(step: int) -> Any:
    def hear(report: StepReport) -> None:
        if report.step == step:
            raise InterruptedRunError

    return hear


def assert_same(one: nn.Module, other: nn.Module) -> None:
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


def largest_difference(one: nn.Module, other: nn.Module) -> float:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return max(float((a.double() - b.double()).abs().max()) for a, b in pairs)


def test_overfits_a_small_set() -> None:
    model = network()
    result = train(model, batch, changed(num_steps=150, ema_decay=0.0))
    clips = batch(0)[0]
    assert not model.training
    assert (model(clips.clips).argmax(1) == clips.targets[""]).all()
    assert result.loss < 0.2
    assert (result.num_steps, result.first_step) == (150, 0)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_resumed_training_ends_with_the_same_bits(tmp_path: Path, optimizer: str) -> None:
    settings = changed(optimizer=optimizer)
    whole, broken, resumed = network(), network(), network()
    train(whole, batch, settings)
    checkpoint = tmp_path / "run.pt"
    with pytest.raises(InterruptedRunError):
        train(broken, batch, settings, checkpoint=checkpoint, checkpoint_every=5, progress=stop_at(8))
    result = train(resumed, batch, settings, checkpoint=checkpoint)
    assert result.first_step == 5
    assert_same(whole, resumed)
    assert not list(tmp_path.glob("*.tmp"))


def test_a_checkpoint_of_other_settings_or_a_damaged_one_is_refused(tmp_path: Path) -> None:
    checkpoint = tmp_path / "run.pt"
    train(network(), batch, SETTINGS, checkpoint=checkpoint)
    with pytest.raises(CheckpointError, match=r"settings\.num_steps was 12, is 13"):
        train(network(), batch, changed(num_steps=13), checkpoint=checkpoint)
    other = Trainer(network(), SETTINGS, identity={"data": {"train": "abc"}})
    with pytest.raises(CheckpointError, match="data was None"):
        other.load(checkpoint)
    checkpoint.write_bytes(b"not a checkpoint")
    with pytest.raises(CheckpointError, match="cannot resume"):
        train(network(), batch, SETTINGS, checkpoint=checkpoint)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_bad_numbers_stop_it_and_leave_the_last_good_weights(bad: float) -> None:
    settings, stopped, short = changed(ema_decay=0.0), network(), network()

    def poisoned(step: int) -> list[TrainingBatch]:
        (good,) = batch(step)
        return [dataclasses.replace(good, clips=good.clips * bad)] if step == 4 else [good]

    with pytest.raises(TadaError, match="stopped at step 5"):
        train(stopped, poisoned, settings)
    with pytest.raises(InterruptedRunError):
        train(short, batch, settings, progress=stop_at(4))
    assert_same(short, stopped)


# --- parts of a step, and processes -------------------------------------------------------------------------


def tiny_tada() -> nn.Module:
    torch.manual_seed(0)
    return build("tada2d_r50", num_classes=3, stage_depths=(1, 1, 1, 1), stem_width=8, dropout=0.3)


def tada_batch(step: int) -> TrainingBatch:
    generator = torch.Generator().manual_seed(step)
    clips = torch.randn(8, 3, 3, 32, 32, generator=generator)
    return TrainingBatch(clips, {"": torch.arange(8) % 3}, torch.arange(8) + 8 * step)


TADA_SETTINGS = changed(optimizer="sgd", num_steps=4, warmup_epochs=0.0, learning_rate=0.05)


def in_parts(count: int) -> Any:
    size = 8 // count
    return lambda step: [part(tada_batch(step), first, first + size) for first in range(0, 8, size)]


def test_a_step_in_parts_is_the_step_of_the_whole_when_norms_are_frozen() -> None:
    settings = changed(TADA_SETTINGS, freeze_norms=True)
    whole, parted = tiny_tada(), tiny_tada()
    train(whole, in_parts(1), settings)
    train(parted, in_parts(4), settings)
    assert largest_difference(tiny_tada(), whole) > 0
    assert largest_difference(whole, parted) < 1e-5


def test_the_loss_of_a_step_is_the_mean_over_its_parts() -> None:
    settings = changed(TADA_SETTINGS, freeze_norms=True)
    whole, *parted = (Trainer(tiny_tada(), settings).run_step(in_parts(count)(0)).loss for count in (1, 2, 4, 8))
    assert parted == pytest.approx([whole] * 3, rel=1e-5)


def test_statistics_move_once_a_step_by_the_mean_of_its_parts() -> None:
    trained = tiny_tada()
    Trainer(trained, TADA_SETTINGS).run_step(in_parts(2)(0))
    expected = []
    for clips in in_parts(2)(0):
        single = tiny_tada().train()
        single(clips.clips)
        expected.append(dict(single.named_buffers()))
    for name, buffer in trained.named_buffers():
        if buffer.is_floating_point():
            assert torch.allclose(buffer, (expected[0][name] + expected[1][name]) / 2, atol=1e-6), name
        else:
            assert buffer == 1, name


def test_recomputing_activations_changes_nothing() -> None:
    kept, recomputed = tiny_tada(), tiny_tada()
    train(kept, in_parts(2), TADA_SETTINGS)
    train(recomputed, in_parts(2), changed(TADA_SETTINGS, recompute=True))
    assert largest_difference(kept, recomputed) < 1e-6


PROGRAM = """
import sys, torch
from tadacli.distributed import joined
from tadacli.training.loop import Trainer
from tests.training.test_loop import TADA_SETTINGS, changed, part, tada_batch, tiny_tada
torch.set_num_threads(1)
with joined(torch.device("cpu")) as processes:
    settings = changed(TADA_SETTINGS, freeze_norms=sys.argv[2] == "frozen")
    trainer = Trainer(tiny_tada(), settings, processes=processes)
    size = 8 // processes.count
    for step in range(settings.num_steps):
        report = trainer.run_step([part(tada_batch(step), processes.rank * size, (processes.rank + 1) * size)])
    losses = processes.gathered([report.loss])
    assert losses == [losses[0]] * processes.count and processes.from_first(processes.rank) == 0
    if processes.is_first:
        trainer.save(__import__("pathlib").Path(sys.argv[1]))
"""


@pytest.mark.parametrize("norms", ["frozen", "trained"])
def test_two_processes_are_one(tmp_path: Path, norms: str) -> None:
    """With frozen norms they equal one process with the whole batch, else one that takes their parts."""
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0"]
    command += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]
    command += [str(tmp_path / "program.py"), str(tmp_path / "two.pt"), norms]
    root = Path(__file__).parents[2]
    env = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    one = tiny_tada()
    trainer = Trainer(one, changed(TADA_SETTINGS, freeze_norms=norms == "frozen"))
    for step in range(TADA_SETTINGS.num_steps):
        trainer.run_step(in_parts(1 if norms == "frozen" else 2)(step))
    two = Trainer(tiny_tada(), changed(TADA_SETTINGS, freeze_norms=norms == "frozen"))
    two.load(tmp_path / "two.pt")
    assert largest_difference(one, two.network) < 1e-5
    assert largest_difference(one, tiny_tada()) > 1e-3


# --- what is frozen, precision, heads -----------------------------------------------------------------------


def test_a_frozen_trunk_keeps_weights_and_statistics() -> None:
    model = tiny_tada()
    train(model, in_parts(1), changed(TADA_SETTINGS, freeze="trunk"))
    for name, value in tiny_tada().state_dict().items():
        assert torch.equal(value, model.state_dict()[name]) != name.startswith("head."), name


def test_frozen_norms_stay_and_the_rest_learns() -> None:
    model = tiny_tada()
    train(model, in_parts(1), changed(TADA_SETTINGS, freeze_norms=True))
    names = {
        f"{name}." for name, module in model.named_modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm3d)
    }
    assert len(names) > 10
    for name, value in tiny_tada().state_dict().items():
        is_norm = name.rpartition(".")[0] + "." in names
        assert not is_norm or torch.equal(value, model.state_dict()[name]), name
    assert not torch.equal(model.state_dict()["head.out.weight"], tiny_tada().state_dict()["head.out.weight"])


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_lower_precision_goes_nearly_the_same_way(precision: str) -> None:
    settings = changed(TADA_SETTINGS, num_steps=3, learning_rate=0.01)
    exact, rough = tiny_tada(), tiny_tada()
    first = train(exact, in_parts(1), settings)
    second = train(rough, in_parts(1), changed(settings, precision=precision))
    assert second.loss == pytest.approx(first.loss, rel=0.05)
    assert 0 < largest_difference(exact, rough) < 0.1
    assert all(value.dtype == torch.float32 for value in rough.parameters())


def test_resumed_training_in_float16_goes_on_with_the_scale_it_had(tmp_path: Path) -> None:
    """Gradients are scaled, less where they leave the range of the type; a resumed run need not learn that again."""
    settings = changed(precision="float16", ema_decay=0.0, warmup_epochs=0.0)

    def steep() -> nn.Module:
        model = network()
        with torch.no_grad():
            model.get_parameter("5.weight").mul_(20)
        return model

    whole, broken, resumed = steep(), steep(), steep()
    norms: list[float] = []
    again: list[float] = []
    train(whole, batch, settings, progress=lambda report: norms.append(report.grad_norm))
    assert not math.isfinite(norms[0])
    assert all(map(math.isfinite, norms[6:]))
    checkpoint = tmp_path / "run.pt"
    with pytest.raises(InterruptedRunError):
        train(broken, batch, settings, checkpoint=checkpoint, checkpoint_every=6, progress=stop_at(6))
    train(resumed, batch, settings, checkpoint=checkpoint, progress=lambda report: again.append(report.grad_norm))
    assert again == norms[6:]
    assert_same(whole, resumed)


def test_losses_of_several_heads_add_up_and_soft_targets_are_taken() -> None:
    torch.manual_seed(0)
    model = build("r2plus1d_tiny", num_classes={"verb": 3, "noun": 5}, widths=(4, 4, 4, 4), dropout=0.0)
    verbs, nouns = torch.tensor([0, 2]), torch.tensor([[0.5, 0.5, 0, 0, 0], [0, 0, 0, 0.25, 0.75]])
    clips = torch.randn(2, 3, 2, 8, 8)
    logits = copy.deepcopy(model).train()(clips)
    by_verb = -logits["verb"].log_softmax(1)[[0, 1], verbs].mean()
    by_noun = -(nouns * logits["noun"].log_softmax(1)).sum(1).mean()
    found = Trainer(model, SETTINGS).run_step([TrainingBatch(clips, {"verb": verbs, "noun": nouns})])
    assert found.loss == pytest.approx((by_verb + by_noun).item(), rel=1e-5)


def test_the_result_is_seen_without_ending_the_training() -> None:
    watched, left = Trainer(network(), SETTINGS), Trainer(network(), SETTINGS)
    for step in range(12):
        watched.run_step(batch(step))
        left.run_step(batch(step))
        before = copy.deepcopy(watched.network.state_dict())
        with watched.result() as seen:
            assert not seen.training
            is_same = torch.equal(seen.state_dict()["0.weight"], before["0.weight"])
            assert is_same == (step == 0)  # at the rate 0; later the average lags behind
    left.keep_average()
    watched.keep_average()
    assert_same(left.network, watched.network)


# --- batches made ahead -------------------------------------------------------------------------------------


def clips_of(batches: Sequence[TrainingBatch]) -> Tensor:
    (only,) = batches
    return only.clips


def test_batches_made_ahead_are_the_same_ones() -> None:
    with Ahead(batch) as ahead:
        for step in (0, 1, 2, 7, 8):
            assert torch.equal(clips_of(ahead(step)), clips_of(batch(step)))


def test_only_the_thread_that_makes_batches_is_held_to_one_core() -> None:
    """torch counts its threads for the whole process; sums in other threads must not come out otherwise."""
    before = torch.get_num_threads()
    with Ahead(lambda _: [TrainingBatch(torch.tensor(float(torch.get_num_threads())), {})]) as ahead:
        assert int(clips_of(ahead(0))) == 1
        with ThreadPoolExecutor(1) as other:
            assert other.submit(torch.get_num_threads).result() == before
    assert torch.get_num_threads() == before


def test_no_steps_is_a_usage_error() -> None:
    with pytest.raises(UsageError):
        train(network(), batch, changed(num_steps=0))


def test_processes_that_are_joined_already_stay_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Ray Train joins them."""
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "3"}.items():
        monkeypatch.setenv(name, value)
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        with joined(torch.device("cpu")) as processes:
            assert (processes.rank, processes.count, processes.local_rank) == (0, 1, 3)
        assert dist.is_initialized()
    finally:
        dist.destroy_process_group()
