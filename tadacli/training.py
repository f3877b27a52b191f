"""One training loop for any network: seeded, resumable to the same weights, stopped by bad numbers."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tadacli.errors import CheckpointError, TadaError, UsageError

BatchOf = Callable[[int], tuple[Tensor, Any]]
LossOf = Callable[[Any, Any], Tensor]


@dataclass(frozen=True)
class TrainingSettings:
    """How to train; what a checkpoint must agree on before it is resumed.

    The learning rate rises linearly over `warmup_steps`, then falls along a cosine to
    `final_fraction` of itself. `ema_decay` 0 turns the average of weights off, `max_grad_norm` 0 the
    clipping of gradients.
    """

    steps: int
    learning_rate: float
    warmup_steps: int = 0
    final_fraction: float = 0.0
    optimizer: Literal["adamw", "sgd"] = "adamw"
    weight_decay: float = 0.0
    momentum: float = 0.9
    label_smoothing: float = 0.0
    ema_decay: float = 0.0
    max_grad_norm: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class StepReport:
    """What the progress callback hears after each step; `loss` is that step's own."""

    step: int
    steps: int
    loss: float
    learning_rate: float
    elapsed_seconds: float


@dataclass(frozen=True)
class TrainingResult:
    """`first_step` is not 0 if the run was resumed; `loss` is the mean over about the last 50 steps."""

    steps: int
    first_step: int
    loss: float
    elapsed_seconds: float


def learning_rate_at(step: int, settings: TrainingSettings) -> float:
    """Learning rate of `step`, counted from 0."""
    if step < settings.warmup_steps:
        return settings.learning_rate * (step + 1) / settings.warmup_steps
    span = max(1, settings.steps - settings.warmup_steps)
    cosine = (1 + math.cos(math.pi * (step - settings.warmup_steps) / span)) / 2
    return settings.learning_rate * (settings.final_fraction + (1 - settings.final_fraction) * cosine)


def parameter_groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Two optimiser groups: weights that decay; norms and biases, which do not."""
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            is_free = parameter.ndim <= 1 or name.rsplit(".", 1)[-1] == "bias"
            (free if is_free else decayed).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}]


def train(
    network: nn.Module,
    batch_at: BatchOf,
    settings: TrainingSettings,
    *,
    loss: LossOf | None = None,
    device: str = "cpu",
    checkpoint: Path | None = None,
    checkpoint_every: int = 0,
    progress: Callable[[StepReport], None] | None = None,
) -> TrainingResult:
    """Trains `network` in place and leaves it in eval mode, with the averaged weights if there are any.

    `batch_at(step)` gives clips and targets of that step, the same ones whenever it is asked. `loss`
    takes what the network returns and the targets; without it, cross-entropy on class indices. A
    `checkpoint` that exists is resumed; it is written every `checkpoint_every` steps and at the end.
    On a CPU a resumed run ends with the same bits as one that was never interrupted.

    Raises `TadaError` when the loss or a gradient is not finite; the network then holds the weights
    and statistics from before that step. Raises `CheckpointError` for a checkpoint of other settings.
    """
    if settings.steps < 1:
        raise UsageError(f"training needs at least one step, got {settings.steps}")
    run = _Run(network.to(device), settings)
    first_step = run.resume(checkpoint) if checkpoint is not None and checkpoint.is_file() else 0
    loss_of = loss or (lambda logits, y: F.cross_entropy(logits, y, label_smoothing=settings.label_smoothing))
    start = time.monotonic()
    network.train()
    for step in range(first_step, settings.steps):
        clips, targets = _move(batch_at(step), device)
        value = run.step(step, clips, targets, loss_of)
        done = step + 1
        if checkpoint is not None and (done == settings.steps or (checkpoint_every and done % checkpoint_every == 0)):
            run.save(checkpoint, done)
        if progress is not None:
            rate = learning_rate_at(step, settings)
            progress(StepReport(done, settings.steps, value, rate, time.monotonic() - start))
    if run.average is not None:
        network.load_state_dict(run.average.state_dict())
    network.eval()
    return TrainingResult(settings.steps, first_step, run.mean_loss, time.monotonic() - start)


class _Run:
    """The state that a checkpoint must hold: network, optimiser, averaged weights, running loss."""

    def __init__(self, network: nn.Module, settings: TrainingSettings) -> None:
        self.network, self.settings = network, settings
        groups = parameter_groups(network, settings.weight_decay)
        self.optimizer: torch.optim.Optimizer
        if settings.optimizer == "adamw":
            self.optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate)
        else:
            momentum = settings.momentum
            self.optimizer = torch.optim.SGD(
                groups, lr=settings.learning_rate, momentum=momentum, nesterov=momentum > 0
            )
        self.average = copy.deepcopy(network).requires_grad_(False) if settings.ema_decay else None
        self.mean_loss = math.nan

    def step(self, step: int, clips: Tensor, targets: Any, loss_of: LossOf) -> float:
        """One update; returns the loss. Nothing has changed if it raises."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate_at(step, self.settings)
        # Batch-norm statistics move in the forward pass, before the loss is known to be sound.
        buffers = [buffer.clone() for buffer in self.network.buffers()]
        self.optimizer.zero_grad(set_to_none=True)
        with torch.random.fork_rng(devices=[]):
            # Dropout draws by step, so that a resumed run draws the same.
            torch.manual_seed(self.settings.seed * 1_000_003 + step)
            loss = loss_of(self.network(clips), targets)
        loss.backward()  # type: ignore[no-untyped-call]
        value = float(loss.detach())
        limit = self.settings.max_grad_norm or math.inf
        norm = float(nn.utils.clip_grad_norm_(self.network.parameters(), limit))
        if not (math.isfinite(value) and math.isfinite(norm)):
            for buffer, before in zip(self.network.buffers(), buffers, strict=True):
                buffer.copy_(before)
            self.network.eval()
            raise TadaError(
                f"training stopped at step {step + 1}: loss {value}, gradient norm {norm}",
                hint="the network keeps its last good weights; lower the learning rate or clip gradients",
            )
        self.optimizer.step()
        self._average(step)
        self.mean_loss = value if math.isnan(self.mean_loss) else self.mean_loss + 0.02 * (value - self.mean_loss)
        return value

    @torch.no_grad()
    def _average(self, step: int) -> None:
        if self.average is None:
            return
        # A short memory at first, so that the average does not drag the initial weights along.
        decay = min(self.settings.ema_decay, (1 + step) / (10 + step))
        current = self.network.state_dict()
        for name, mean in self.average.state_dict().items():
            if mean.is_floating_point():
                mean.lerp_(current[name], 1 - decay)
            else:
                mean.copy_(current[name])

    def save(self, path: Path, step: int) -> None:
        state = {
            "step": step,
            "settings": asdict(self.settings),
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "mean_loss": self.mean_loss,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(path.name + ".tmp")
        torch.save(state, unfinished)
        unfinished.replace(path)

    def resume(self, path: Path) -> int:
        """Loads a checkpoint; returns the step to go on with."""
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            saved = state["settings"]
        except Exception as error:  # torch reports damage in a dozen ways
            raise CheckpointError(f"cannot resume from {path}: {error}", hint="delete it to start anew") from error
        if saved != asdict(self.settings):
            raise CheckpointError(f"{path} was made with other settings: {saved}", hint="delete it to start anew")
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.mean_loss = float(state["mean_loss"])
        return int(state["step"])


def _move(batch: tuple[Tensor, Any], device: str) -> tuple[Tensor, Any]:
    clips, targets = batch
    if isinstance(targets, dict):
        return clips.to(device), {name: target.to(device) for name, target in targets.items()}
    return clips.to(device), targets.to(device)


def _use_one_core() -> None:
    torch.get_num_threads()  # a thread asks for the process's number once, on first use, which must be over
    torch.set_num_threads(1)


class Ahead:
    """`batch_at` for steps taken in order, the next batch being made in a thread meanwhile.

    That thread computes on one core: small tensors gain nothing from more, and training needs them.
    """

    def __init__(self, batch_at: BatchOf) -> None:
        self._batch_at = batch_at
        self._worker = ThreadPoolExecutor(1)
        num_threads = torch.get_num_threads()
        self._worker.submit(_use_one_core).result()
        torch.set_num_threads(num_threads)  # the number set last holds for all threads that start later
        self._next: tuple[int, Future[tuple[Tensor, Any]]] | None = None

    def __call__(self, step: int) -> tuple[Tensor, Any]:
        if self._next is not None and self._next[0] == step:
            batch = self._next[1].result()
        else:
            batch = self._worker.submit(self._batch_at, step).result()
        self._next = (step + 1, self._worker.submit(self._batch_at, step + 1))
        return batch

    def __enter__(self) -> Ahead:
        return self

    def __exit__(self, *_: object) -> None:
        self._worker.shutdown(cancel_futures=True)
