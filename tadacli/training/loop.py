"""One training loop for any network: one process or several, resumable to the same bits, stopped by bad numbers."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint as recomputed

from tadacli.distributed import Processes
from tadacli.errors import CheckpointError, TadaError, UsageError
from tadacli.files import new_file
from tadacli.models.dropout import set_noise_seeds
from tadacli.results import counted
from tadacli.training.losses import Loss, cross_entropy
from tadacli.training.optimisation import build_optimizer, learning_rate_at, parameter_groups, set_rates
from tadacli.training.settings import Freeze, Optimisation
from tadacli.zoo import DtypeName

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class TrainingBatch:
    """Clips (B, 3, T, H, W) and what they show, by head: class indices (B,) or probabilities (B, num_classes).

    A network with one head has the name "". `noise_seeds`, int64 (B,), are what dropout is drawn from. For a head over
    features in time, `clips` are these, (B, C, T), `known` (B, T) says which of them are there, and the targets are
    what its own loss asks for.
    """

    clips: Tensor
    targets: Mapping[str, Tensor]
    noise_seeds: Tensor | None = None
    known: Tensor | None = None

    def on(self, device: torch.device) -> TrainingBatch:
        """The batch on a device."""
        targets = {head: target.to(device, non_blocking=True) for head, target in self.targets.items()}
        seeds = None if self.noise_seeds is None else self.noise_seeds.to(device)
        known = None if self.known is None else self.known.to(device)
        return TrainingBatch(self.clips.to(device, non_blocking=True), targets, seeds, known)

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """What the network takes."""
        return (self.clips,) if self.known is None else (self.clips, self.known)


BatchesOf = Callable[[int], Sequence[TrainingBatch]]


@dataclass(frozen=True)
class TrainingSettings:
    """How to train; what a checkpoint must agree on before it is resumed.

    `freeze="trunk"` trains the head alone; `freeze_norms` keeps statistics, gains and biases of batch norms as they
    are. `recompute` computes activations of each layer again in the backward pass instead of keeping them.
    """

    num_steps: int
    optimisation: Optimisation
    steps_per_epoch: float = 1.0
    label_smoothing: float = 0.0
    precision: DtypeName = "float32"
    freeze: Freeze = "nothing"
    freeze_norms: bool = False
    recompute: bool = False

    def learning_rate_at(self, step: int) -> float:
        """The base rate of `step`, counted from 0."""
        num_epochs = self.num_steps / self.steps_per_epoch
        return learning_rate_at(step / self.steps_per_epoch, num_epochs=num_epochs, settings=self.optimisation)


@dataclass(frozen=True)
class StepReport:
    """What a step did: its own mean loss over all clips, the norm of its gradient before clipping, its base rate."""

    step: int
    num_steps: int
    loss: float
    grad_norm: float
    learning_rate: float
    elapsed_seconds: float


@dataclass(frozen=True)
class TrainingResult:
    """`first_step` is not 0 if the run was resumed; `loss` is the mean over about the last 50 steps."""

    num_steps: int
    first_step: int
    loss: float
    elapsed_seconds: float


def train(
    network: nn.Module,
    batches_of: BatchesOf,
    settings: TrainingSettings,
    *,
    device: str | torch.device = "cpu",
    checkpoint: Path | None = None,
    checkpoint_every: int = 0,
    progress: Callable[[StepReport], None] | None = None,
) -> TrainingResult:
    """Trains `network` in place and leaves it in eval mode, with the averaged weights if there are any.

    Args:
        network: With one head or several named ones.
        batches_of: Gives the batches that make up a step, from 0, the same ones whenever it is called.
        settings: How to train.
        device: What to train on.
        checkpoint: A file to resume from if it exists; it is written at the end.
        checkpoint_every: And after so many steps each; 0: not.
        progress: Is called after each step.

    Returns:
        Steps, mean loss and seconds.

    Raises:
        TadaError: The loss or a gradient is not finite.
        CheckpointError: The checkpoint is damaged, or of other settings.
    """
    trainer = Trainer(network, settings, device=torch.device(device))
    if checkpoint is not None and checkpoint.is_file():
        trainer.load(checkpoint)
    first_step, start = trainer.step, time.monotonic()
    for step in range(first_step, settings.num_steps):
        report = trainer.run_step(batches_of(step))
        is_last = report.step == settings.num_steps
        if checkpoint is not None and (is_last or (checkpoint_every and report.step % checkpoint_every == 0)):
            trainer.save(checkpoint)
        if progress is not None:
            progress(report)
    trainer.keep_average()
    return TrainingResult(settings.num_steps, first_step, trainer.mean_loss, time.monotonic() - start)


class Trainer:
    """A network while it is trained: its optimiser, its averaged weights, and how far it has come.

    On a CPU a resumed run ends with the same bits as one that was never interrupted. Of several processes each
    takes its own batches of a step; gradients and batch-norm statistics are averaged, so that the result is that of
    one process which takes them all. A step of several batches moves the statistics once, by the mean of the batches.

    Raises `TadaError` when the loss or a gradient is not finite; the network then holds the weights and statistics
    from before that step. Raises `CheckpointError` for a checkpoint of other settings.
    """

    def __init__(
        self,
        network: nn.Module,
        settings: TrainingSettings,
        *,
        device: torch.device | None = None,
        processes: Processes | None = None,
        identity: Mapping[str, object] | None = None,
        loss: Loss | None = None,
    ) -> None:
        if settings.num_steps < 1:
            raise UsageError(f"training needs at least one step, got {settings.num_steps}")
        self.settings = settings
        self._loss = loss or partial(cross_entropy, smoothing=settings.label_smoothing)
        self.device = device or torch.device("cpu")
        self.network = network.to(self.device)
        self.step = 0
        self.mean_loss = math.nan
        self._identity = {"settings": asdict(settings), **(identity or {})}
        self._processes = processes or Processes()
        self._start = time.monotonic()
        _freeze(network, settings)
        if settings.recompute:
            recompute_layers(network)
        self.optimizer = build_optimizer(parameter_groups(network, settings.optimisation), settings.optimisation)
        self._scaler = torch.amp.GradScaler(self.device.type, enabled=settings.precision == "float16")
        state = network.state_dict()
        self._average = {n: t.detach().clone() for n, t in state.items()} if settings.optimisation.ema_decay else None
        self._replica: nn.Module = network
        if self._processes.are_many:
            self._replica = DistributedDataParallel(network, broadcast_buffers=False)

    def run_step(self, batches: Sequence[TrainingBatch]) -> StepReport:
        """One update from the batches of the next step; returns what it did. Nothing has changed if it raises."""
        rate = self.settings.learning_rate_at(self.step)
        set_rates(self.optimizer, rate)
        _set_mode(self.network, self.settings)
        statistics = _Statistics(self.network, self._processes)
        self.optimizer.zero_grad(set_to_none=True)
        losses = [
            self._backward(batch.on(self.device), statistics, share=1 / len(batches), is_last=number == len(batches))
            for number, batch in enumerate(batches, start=1)
        ]
        set_noise_seeds(self.network, None)
        loss = float(self._processes.mean(torch.stack(losses).mean()))
        self._scaler.unscale_(self.optimizer)
        limit = self.settings.optimisation.max_grad_norm or math.inf
        norm = float(nn.utils.clip_grad_norm_(self.network.parameters(), limit))
        self._check(loss, norm)
        self._scaler.step(self.optimizer)
        self._scaler.update()
        statistics.keep()
        self.step += 1
        self._update_average()
        self.mean_loss = loss if math.isnan(self.mean_loss) else self.mean_loss + 0.02 * (loss - self.mean_loss)
        elapsed = time.monotonic() - self._start
        return StepReport(self.step, self.settings.num_steps, loss, norm, rate, elapsed)

    def _backward(self, batch: TrainingBatch, statistics: _Statistics, *, share: float, is_last: bool) -> Tensor:
        """Adds a batch's gradient, times its share of the step; returns its loss."""
        set_noise_seeds(self.network, batch.noise_seeds)
        waits = isinstance(self._replica, DistributedDataParallel) and not is_last
        with self._replica.no_sync() if waits else nullcontext():  # type: ignore[operator]
            dtype = _DTYPES[self.settings.precision]
            with torch.autocast(self.device.type, dtype=dtype, enabled=dtype is not torch.float32):
                found = self._replica(*batch.inputs)
            loss = self._loss(found, batch.targets)
            statistics.take()
            self._scaler.scale(loss * share).backward()  # type: ignore[no-untyped-call]
        statistics.restore()
        return loss.detach()

    def _check(self, loss: float, norm: float) -> None:
        # With float16, a gradient beyond its range is usual at first: the scaler skips that step.
        lost = math.isfinite(loss) and self._scaler.is_enabled() and self._scaler.get_scale() > 1
        if lost or (math.isfinite(loss) and math.isfinite(norm)):
            return
        self.network.eval()
        raise TadaError(
            f"training stopped at step {self.step + 1}: loss {loss}, gradient norm {norm}",
            hint="the network keeps its last good weights; lower the learning rate or clip gradients",
        )

    @torch.no_grad()
    def _update_average(self) -> None:
        if self._average is None:
            return
        # A short memory at first, so that the average does not drag the initial weights along.
        decay = min(self.settings.optimisation.ema_decay, self.step / (9 + self.step))
        current = self.network.state_dict()
        for name, mean in self._average.items():
            if mean.is_floating_point():
                mean.lerp_(current[name], 1 - decay)
            else:
                mean.copy_(current[name])

    def keep_average(self) -> None:
        """Puts the averaged weights, if there are any, into the network, and leaves it in eval mode."""
        if self._average is not None:
            self.network.load_state_dict(self._average)
        self.network.eval()

    @contextmanager
    def result(self) -> Iterator[nn.Module]:
        """The network in eval mode as it would be if training ended now; afterwards training can go on."""
        current = {name: tensor.detach().clone() for name, tensor in self.network.state_dict().items()}
        self.keep_average()
        try:
            yield self.network
        finally:
            self.network.load_state_dict(current)

    # --- checkpoints ---------------------------------------------------------------------------------------

    def save(self, path: Path, *, notes: Mapping[str, object] | None = None) -> None:
        """Writes everything that is needed to go on, all or nothing.

        Args:
            path: The file, which is replaced if it is there.
            notes: What the caller wants back from `load`.

        Raises:
            OutputError: It cannot be written; what was there before stays.
        """
        state = {
            "identity": self._identity,
            "step": self.step,
            "mean_loss": self.mean_loss,
            "notes": dict(notes or {}),
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
            "average": self._average,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        with new_file(path, replace=True) as stream:
            try:
                torch.save(state, stream)
            except RuntimeError as error:  # what torch makes of a disk that refuses a part of its archive
                cause = error.__context__
                raise cause if isinstance(cause, OSError) else OSError(str(error)) from error

    def load(self, path: Path) -> Mapping[str, object]:
        """Goes on from a checkpoint; returns the notes that were saved with it."""
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            identity = state["identity"]
        except Exception as error:  # torch reports damage in a dozen ways
            raise CheckpointError(f"cannot resume from {path}: {error}", hint="delete it to start anew") from error
        if identity != self._identity:
            raise CheckpointError(
                f"{path} was made with other settings: {_difference(identity, self._identity)}",
                hint=f"{_how_it_began(identity, self._identity)}, or delete it to start anew",
            )
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])
        if self._average is not None:
            self._average = {name: tensor.to(self.device) for name, tensor in state["average"].items()}
        self.step, self.mean_loss = int(state["step"]), float(state["mean_loss"])
        return dict(state["notes"])


def _difference(there: Any, here: Any, name: str = "") -> str:
    """What two descriptions differ in first."""
    if isinstance(there, Mapping) and isinstance(here, Mapping):
        for key in [*there, *(key for key in here if key not in there)]:
            if there.get(key) != here.get(key):
                return _difference(there.get(key), here.get(key), f"{name}.{key}" if name else str(key))
    return f"{name} was {there!r}, is {here!r}"


def _how_it_began(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """What to do to go on with a run that was begun in another way."""
    heads = [each.get("head") for each in (there, here)]
    members, now = (head.get("members", 1) if isinstance(head, Mapping) else 1 for head in heads)
    if members != now and isinstance(members, int):
        return f"it trains {counted(members, 'heads')}: add --set members={members}"
    if there.get("multi_label") == here.get("multi_label"):
        return "resume with the settings it was made with"
    if there.get("multi_label"):
        return "it learns labels that hold together: add --multi-label"
    return "it learns one label a span: add --no-multi-label"


class _Statistics:
    """Buffers of a network during a step: every batch starts from the same ones, and their means are kept."""

    def __init__(self, network: nn.Module, processes: Processes) -> None:
        self.network, self.processes = network, processes
        self._before = [buffer.clone() for buffer in network.buffers()]
        self._taken: list[list[Tensor]] = []

    def take(self) -> None:
        """Remembers what the forward pass made of them."""
        self._taken.append([buffer.clone() for buffer in self.network.buffers()])

    def restore(self) -> None:
        """Puts back what was there before the step."""
        for buffer, before in zip(self.network.buffers(), self._before, strict=True):
            buffer.copy_(before)

    def keep(self) -> None:
        """Puts the mean over batches and processes in; counts are those of one batch."""
        for buffer, *taken in zip(self.network.buffers(), *self._taken, strict=True):
            is_mean = buffer.is_floating_point()
            buffer.copy_(self.processes.mean(torch.stack(taken).mean(dim=0)) if is_mean else taken[-1])


def _freeze(network: nn.Module, settings: TrainingSettings) -> None:
    if settings.freeze == "trunk":
        network.requires_grad_(requires_grad=False)
        network.get_submodule("head").requires_grad_(requires_grad=True)
    if settings.freeze_norms:
        for norm in _batch_norms(network):
            norm.requires_grad_(requires_grad=False)


def _set_mode(network: nn.Module, settings: TrainingSettings) -> None:
    """Training mode, but for what is frozen."""
    network.train()
    if settings.freeze == "trunk":
        network.eval()
        network.get_submodule("head").train()
    if settings.freeze_norms:
        for norm in _batch_norms(network):
            norm.eval()


def _batch_norms(network: nn.Module) -> list[nn.Module]:
    return [module for module in network.modules() if isinstance(module, _BatchNorm)]


def recompute_layers(network: nn.Module) -> None:
    """Lets the backward pass compute the activations of each of `network.layers()` again, which saves memory."""
    layers: list[str] = network.layers()  # type: ignore[operator]
    for name in layers:
        if any(other.startswith(f"{name}.") for other in layers):
            continue  # a whole that has its parts in the list
        layer = network.get_submodule(name)
        forward = layer.forward
        layer.forward = partial(_forward, layer, forward)


def _forward(layer: nn.Module, forward: Callable[..., Any], *inputs: Tensor) -> Any:
    if not (layer.training and torch.is_grad_enabled()):
        return forward(*inputs)
    return recomputed(forward, *inputs, use_reentrant=False)


def _use_one_core() -> None:
    torch.get_num_threads()  # a thread asks for the process's number once, on first use, which must be over
    torch.set_num_threads(1)


class Ahead:
    """`batches_of` for steps taken in order, the next batches being made in a thread meanwhile.

    That thread computes on one core: small tensors gain nothing from more, and training needs them.
    """

    def __init__(self, batches_of: BatchesOf) -> None:
        self._batches_of = batches_of
        self._worker = ThreadPoolExecutor(1)
        num_threads = torch.get_num_threads()
        self._worker.submit(_use_one_core).result()
        torch.set_num_threads(num_threads)  # the number set last holds for all threads that start later
        self._next: tuple[int, Future[Sequence[TrainingBatch]]] | None = None

    def __call__(self, step: int) -> Sequence[TrainingBatch]:
        if self._next is not None and self._next[0] == step:
            batches = self._next[1].result()
        else:
            batches = self._worker.submit(self._batches_of, step).result()
        self._next = (step + 1, self._worker.submit(self._batches_of, step + 1))
        return batches

    def __enter__(self) -> Ahead:
        return self

    def __exit__(self, *_: object) -> None:
        self._worker.shutdown(cancel_futures=True)
