"""What TAdaConv gains over plain convolutions: networks with and without it, trained and tested alike.

    python -m benchmarks.experiment --task camera --minutes 5 --output results.json
    python -m benchmarks.experiment --task actions --minutes 1.75 --folds 5 --output results.json
    python -m benchmarks.experiment --task r3d_18 --minutes 8 --output results.json
    python -m benchmarks.experiment --task lite0_order --minutes 4 --seeds 5 --footage DIR --output results.json
    python -m benchmarks.experiment --task lite0_actions --minutes 4 --seeds 5 --output results.json
    python -m benchmarks.experiment --table results.json

TSN, TAda2D, R(2+1)D, and R(2+1)D with TAdaConv, all from random weights, name (a) the motion of a virtual camera and
(b) what a person does in segments of real video (`untrimmed_actions` in TADA_SHARED), where every video is held out in
one of the folds. (c) is (a) with easy clips alone, at half the width and height, for torchvision's r3d_18 and what
`add_tadaconv` with its defaults makes of it, both from random weights behind a first layer of moving gratings, without
which r3d_18 stays at chance for long. (d) is EfficientNet-Lite0 with real ImageNet weights, frame by frame, and what
`add_tadaconv` makes of it: its first three stages stay as they are, the next two are trained, with and without TAdaConv
in their depthwise convolutions; on clips whose order alone says what happens, and on (b). Each is also tested on the
clips played backwards: a network that ignores order scores the same.

Every training gets the same CPU time of one thread, `--minutes`: a first measurement on this machine says how many
steps that is, so that the learning rate comes to its end; other work on the machine costs nobody steps. The time that
was really taken stands in the result file. Several trainings run at once, one a core. The file grows by each training
that ends; what it has is not trained again.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import dataclasses
import itertools
import json
import math
import multiprocessing
import os
import platform
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.video import r3d_18

from benchmarks import efficientnet_lite0
from benchmarks import experiment_table as table
from benchmarks.experiment_data import (
    ACTION_VIEW,
    CAMERA_VIEW,
    CLIP_FRAMES,
    EASY_SHARE,
    R3D_VIEW,
    ClipStore,
    Part,
    TrainingOrder,
    action_store,
    camera_stores,
    k_folds,
)
from benchmarks.experiment_order import order_stores
from benchmarks.experiment_table import Run, read_runs
from tadacli.camera_motion.clips import MEAN, STD
from tadacli.files import write_new
from tadacli.models import add_tadaconv, build
from tadacli.models.layers import FrameConv2d
from tadacli.models.plug_in import FrameNetwork
from tadacli.models.r2plus1d_tiny import Block
from tadacli.training.loop import Trainer, TrainingSettings
from tadacli.training.settings import Optimisation

# The channels of the 3x3 convolutions in the four stages; one block a stage. The bottlenecks of TSN and TAda2D put out
# four times as many.
WIDTHS = (16, 32, 64, 128)
DROPOUT = 0.3
# For all networks alike, and tuned for none; but r3d_18 and its twin have a rate at which the plain one learns.
LEARNING_RATE, R3D_LEARNING_RATE, WEIGHT_DECAY = 2e-3, 3e-4, 0.05
LITE0_VIEWS = {"lite0_order": (64, 64), "lite0_actions": (64, 88)}
LITE0_LEARNING_RATE = 2e-3
MEASURED_STEPS = 8
TEST_BATCH = 16
SHARED = Path(os.environ.get("TADA_SHARED", Path(__file__).resolve().parents[2] / "shared"))


@dataclass(frozen=True)
class Settings:
    """What the results of a task depend on besides network, seed and fold."""

    task: str
    minutes: float
    batch_size: int
    view: tuple[int, int]
    augment: bool
    folds: int = 1
    train_clips: int = 0
    test_clips: int = 0
    footage: str = ""
    easy_share: tuple[float, float] = (EASY_SHARE, 0.0)  # of the clips to train on, and of those to test on

    @property
    def learning_rate(self) -> float:
        """The highest of a training."""
        if self.task in LITE0_VIEWS:
            return LITE0_LEARNING_RATE
        return R3D_LEARNING_RATE if self.task == "r3d_18" else LEARNING_RATE

    def recorded(self) -> dict[str, Any]:
        """What stands in the result file, and must be equal for a run to go on."""
        own = {**dataclasses.asdict(self), "view": list(self.view)}
        easy_share = own.pop("easy_share")
        if self.task in LITE0_VIEWS:
            return {**own, "learning_rate": self.learning_rate}
        if self.task != "r3d_18":
            return {**own, "widths": list(WIDTHS)}
        return {**own, "easy_share": list(easy_share), "learning_rate": self.learning_rate, "stem": "moving gratings"}


@dataclass(frozen=True)
class Job:
    """One training, and what it is tested on."""

    settings: Settings
    network: str
    seed: int
    fold: int
    train: Part
    test: Part


# --- the networks -------------------------------------------------------------------------------------------


class _PlainConv(FrameConv2d):
    """In the place of a TAdaConv2d: the same convolution, which no calibration changes."""

    def forward(self, x: Tensor, alpha: None = None) -> Tensor:  # noqa: ARG002
        return super().forward(x)


class _NoRouting(nn.Module):
    def forward(self, x: Tensor) -> None:  # noqa: ARG002
        return None


def variant(network: str, *, num_classes: int, seed: int) -> nn.Module:
    """A network as initialised. With and without TAdaConv it starts as the same function, with the same weights."""
    torch.manual_seed(seed)
    if network in table.LITE0_NETWORKS:
        return _lite0(num_classes, with_tadaconv=network == table.LITE0_NETWORKS[1])
    if network in table.R3D_NETWORKS:
        plain = r3d_18(weights=None, num_classes=num_classes)
        first = plain.stem[0].weight
        with torch.no_grad():
            first.copy_(moving_gratings(like=first))
        return plain if network == "r3d_18" else add_tadaconv(plain)[0]
    common: dict[str, Any] = {"num_classes": num_classes, "dropout": DROPOUT}
    trunk: dict[str, Any] = {"stem_width": WIDTHS[0], "stage_depths": (1,) * len(WIDTHS)}
    if network == "TSN":
        return build("tsn_r50", **common, **trunk)
    if network == "TAda2D":
        plain, calibrated = build("tsn_r50", **common, **trunk), build("tada2d_r50", **common, **trunk)
        states = calibrated.state_dict()
        shared = {name: tensor.reshape(states[name].shape) for name, tensor in plain.state_dict().items()}
        calibrated.load_state_dict({**states, **shared})
        return calibrated
    calibrated = build("r2plus1d_tiny", **common, widths=WIDTHS)
    if network == "R(2+1)D":
        for block in calibrated.modules():
            if isinstance(block, Block):
                block.add_module("spatial", _without_calibration(block))
                block.add_module("spatial_rf", _NoRouting())
    elif network != "R(2+1)D with TAdaConv":
        raise ValueError(f"no network {network!r}")
    return calibrated


def _lite0(num_classes: int, *, with_tadaconv: bool) -> nn.Module:
    """The network of pictures over the frames of a clip, their logits averaged, channels last in memory.

    Its first three stages stay as they are; the next two are trained, with or without TAdaConv in their depthwise
    convolutions; at the size of these clips the last two would see four pixels, and are left out.
    """
    pretrained = efficientnet_lite0.pretrained()
    plain = efficientnet_lite0.MiddleStages(pretrained, num_classes)
    of_clips, _ = add_tadaconv(plain, choose=lambda name, _: name.endswith("_depthwise_conv"))
    network = nn.Sequential(
        _OwnScale(),
        FrameNetwork(efficientnet_lite0.FrozenStages(pretrained), average=False),
        _TimeThird(),
        of_clips if with_tadaconv else FrameNetwork(plain, average=True),
    )
    for parameter in network.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return network


class _OwnScale(nn.Module):
    """Clips as all networks here get them, in the scale of EfficientNet-Lite0's weights."""

    def forward(self, clips: Tensor) -> Tensor:
        pixels = (clips * STD + MEAN) * 255
        return (pixels - efficientnet_lite0.MEAN) / efficientnet_lite0.SCALE


class _TimeThird(nn.Module):
    """(B, T, C, H, W) to (B, C, T, H, W)."""

    def forward(self, frames: Tensor) -> Tensor:
        return frames.transpose(1, 2)


def moving_gratings(*, like: Tensor) -> Tensor:
    """64 filters (64, C, 3, k, k) that each answer to one direction of motion; mean zero, as strong as those of `like`.

    Gratings under a Gaussian, two phases a quarter apart of each period (pixels), speed (pixels a frame) and direction:
    the pairs whose squares sum to the motion energy of Adelson and Bergen (1985).
    """
    half = like.shape[-1] // 2
    time_, y, x = torch.meshgrid(torch.arange(-1.0, 2), *2 * [torch.arange(-half, half + 1.0)], indexing="ij")
    window = torch.exp(-(x**2 + y**2) / 8)
    filters = []
    for period, speed, direction, phase in itertools.product((4, 7), (0.5, 1.5), range(8), (0, math.pi / 2)):
        angle = direction * math.pi / 4
        along = x * math.cos(angle) + y * math.sin(angle) - speed * time_
        wave = window * torch.cos(2 * math.pi / period * along + phase)
        wave -= wave.mean()
        filters.append(wave / wave.std() * like.std())
    return torch.stack(filters).unsqueeze(1).expand_as(like)


def _without_calibration(block: Block) -> _PlainConv:
    old = block.spatial
    plain = _PlainConv(old.in_channels, old.out_channels, 3, stride=old.stride[1], padding=old.padding[1])
    with torch.no_grad():
        plain.weight.copy_(old.weight[0, 0].unsqueeze(2))
    return plain


def size(network: nn.Module, view: tuple[int, int]) -> tuple[int, float]:
    """Number of parameters, and multiply-adds of one clip in units of 10^9."""
    unfused = copy.deepcopy(network).eval().to("meta")  # what oneDNN does in one pass is not counted
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        unfused(torch.zeros(1, 3, CLIP_FRAMES, *view, device="meta"))
    return sum(parameter.numel() for parameter in network.parameters()), counter.get_total_flops() / 2e9


# --- one training -------------------------------------------------------------------------------------------


def train_and_test(job: Job) -> Run:
    """The record of one training: what it took, and the answers on the held-out clips, forwards and backwards."""
    torch.set_num_threads(1)
    settings, store = job.settings, job.test.store
    num_classes = len(store.classes)
    order = TrainingOrder(job.train, batch_size=settings.batch_size, augment=settings.augment, seed=job.seed)
    seconds_per_step = _measure(variant(job.network, num_classes=num_classes, seed=job.seed), order, settings)
    num_steps = max(4, round(settings.minutes * 60 / seconds_per_step))
    network = variant(job.network, num_classes=num_classes, seed=job.seed)
    trainer = Trainer(network, _training(num_steps, settings.learning_rate))
    wall, cpu = time.monotonic(), time.thread_time()
    for step in range(num_steps):
        trainer.run_step([order.batch(step)])
    cpu_minutes, wall_minutes = (time.thread_time() - cpu) / 60, (time.monotonic() - wall) / 60
    trainer.keep_average()
    forwards, backwards = _answers(network, job.test)
    parameters, gmacs = size(network, settings.view)
    return {
        "task": settings.task,
        "network": job.network,
        "seed": job.seed,
        "fold": job.fold,
        "settings": settings.recorded(),
        "parameters": parameters,
        "gmacs": gmacs,
        "num_steps": num_steps,
        "num_train": len(job.train.items),
        "cpu_minutes": cpu_minutes,
        "wall_minutes": wall_minutes,
        "loss": trainer.mean_loss,
        "classes": list(store.classes),
        "ids": [store.ids[item] for item in job.test.items],
        "groups": [store.groups[item] for item in job.test.items],
        "truth": [store.labels[item] for item in job.test.items],
        "answers": forwards,
        "backwards": backwards,
        "made": made_with(),
    }


def _training(num_steps: int, learning_rate: float) -> TrainingSettings:
    optimisation = Optimisation(
        optimizer="adamw",
        learning_rate=learning_rate,
        weight_decay=WEIGHT_DECAY,
        schedule="cosine_after_warmup",
        warmup_epochs=num_steps // 20,  # an epoch is one step here
        max_grad_norm=1.0,
        ema_decay=0.99,
    )
    return TrainingSettings(num_steps=num_steps, optimisation=optimisation, label_smoothing=0.05)


def _measure(network: nn.Module, order: TrainingOrder, settings: Settings) -> float:
    """CPU seconds of a training step, with the making of its batch; the median of some after the first few."""
    trainer = Trainer(network, _training(10_000, settings.learning_rate))
    seconds = []
    for step in range(MEASURED_STEPS + 2):
        start = time.thread_time()
        trainer.run_step([order.batch(step)])
        seconds.append(time.thread_time() - start)
    return statistics.median(seconds[2:])


@torch.inference_mode()
def _answers(network: nn.Module, test: Part) -> tuple[list[int], list[int]]:
    forwards: list[int] = []
    backwards: list[int] = []
    for first in range(0, len(test.items), TEST_BATCH):
        clips = test.test_clips(test.items[first : first + TEST_BATCH])
        forwards += network(clips).argmax(dim=1).tolist()
        backwards += network(clips.flip(2)).argmax(dim=1).tolist()
    return forwards, backwards


def made_with() -> dict[str, str]:
    """When, and with what."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} x {platform.machine()} {platform.system()}",
        "python": platform.python_version(),
        "torch": str(torch.__version__),
    }


# --- all of them --------------------------------------------------------------------------------------------


def folds_by_video(store: ClipStore, k: int) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """k pairs of items to train on and to test on; no video is on both sides, and each is tested once."""
    return list(k_folds(tuple(range(len(store))), k, group_of=lambda item: store.groups[item]))


def camera_jobs(
    settings: Settings, networks: Sequence[str], seeds: int, *, folder: Path, footage: Path | None, workers: Executor
) -> list[Job]:
    """The trainings on camera motion, those of one seed together."""
    train, test = camera_stores(
        folder,
        num_train=settings.train_clips,
        num_test=settings.test_clips,
        view=settings.view,
        easy_share=settings.easy_share,
        footage=footage,
        workers=workers,
    )
    return _jobs_of(settings, networks, seeds, train=train, test=test)


def order_jobs(
    settings: Settings, networks: Sequence[str], seeds: int, *, folder: Path, footage: Path | None, workers: Executor
) -> list[Job]:
    """The trainings on clips whose order decides, those of one seed together."""
    count = {"num_train": settings.train_clips, "num_test": settings.test_clips}
    train, test = order_stores(folder, **count, view=settings.view, footage=footage, workers=workers)
    return _jobs_of(settings, networks, seeds, train=train, test=test)


def _jobs_of(
    settings: Settings, networks: Sequence[str], seeds: int, *, train: ClipStore, test: ClipStore
) -> list[Job]:
    parts = Part(train, tuple(range(len(train))), settings.view), Part(test, tuple(range(len(test))), settings.view)
    return [Job(settings, network, seed, 0, *parts) for seed in range(seeds) for network in networks]


def action_jobs(
    settings: Settings, networks: Sequence[str], seeds: int, *, folder: Path, workers: Executor
) -> list[Job]:
    """The trainings on segments of real video, those of one seed together."""
    store = action_store(folder, SHARED / "untrimmed_actions", view=settings.view, workers=workers)
    folds = folds_by_video(store, settings.folds)
    return [
        Job(settings, network, seed, fold, Part(store, train, settings.view), Part(store, test, settings.view))
        for seed in range(seeds)
        for fold, (train, test) in enumerate(folds)
        for network in networks
    ]


def key(run: Run) -> tuple[Any, ...]:
    """What tells a training from the others of its task."""
    return run["task"], run["network"], run["seed"], run["fold"]


def check_same(runs: Sequence[Run], settings: Settings, path: Path) -> None:
    """Ends the program if the file has results of this task with other settings."""
    own = settings.recorded()
    for run in runs:
        if run["task"] == settings.task and run["settings"] != own:
            other = next(name for name in own if run["settings"].get(name) != own[name])
            raise SystemExit(
                f"{path} has results of the task {settings.task} with {other} {run['settings'].get(other)}, not "
                f"{own[other]}; give another --output, or the settings that it has"
            )


@contextlib.contextmanager
def processes(count: int) -> Iterator[Executor]:
    """Processes of one thread each, which end with this one however it ends."""
    # Freed memory is kept: to ask the system for it anew in every step takes a quarter of the time (glibc).
    for name, value in (("MMAP_MAX_", 0), ("TRIM_THRESHOLD_", 2**31 - 1), ("TOP_PAD_", 2**28)):
        os.environ.setdefault(f"MALLOC_{name}", str(value))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, mp_context=context, initializer=_begin, initargs=(os.getpid(),)) as workers:
        try:
            yield workers
        except BaseException:
            workers.shutdown(wait=False, cancel_futures=True)
            raise


def _begin(parent: int) -> None:
    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def run_all(jobs: Sequence[Job], runs: list[Run], path: Path, workers: Executor) -> None:
    """Trains what `runs` lacks, and writes the file anew after each."""
    done = {key(run) for run in runs}
    missing = [job for job in jobs if (job.settings.task, job.network, job.seed, job.fold) not in done]
    print(f"{len(jobs) - len(missing)} of {len(jobs)} trainings are there already", flush=True)
    start = time.monotonic()
    futures = [workers.submit(train_and_test, job) for job in missing]
    for number, future in enumerate(as_completed(futures), start=1):
        run = future.result()
        runs.append(run)
        ordered = sorted(runs, key=key)
        write_new(path, (json.dumps({"runs": ordered}, separators=(",", ":")) + "\n").encode(), replace=True)
        left = (time.monotonic() - start) / number * (len(missing) - number) / 60
        right = statistics.mean(a == t for a, t in zip(run["answers"], run["truth"], strict=True))
        print(
            f"{number}/{len(missing)} {run['task']}, {run['network']}, seed {run['seed']}, fold {run['fold']}: "
            f"{100 * right:.1f} % right after {run['num_steps']} steps, {run['cpu_minutes']:.2f} CPU minutes; "
            f"about {left:.0f} minutes left",
            flush=True,
        )


def main() -> None:
    """Train what is missing, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--task", choices=[*table.TASK_NETWORKS, "both"], default="both", help="both: camera and actions"
    )
    parser.add_argument("--minutes", type=float, default=2.0, help="CPU time of each training")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--folds", type=int, default=5, help="of the videos, in the task actions")
    names = [*table.NETWORKS, *table.R3D_NETWORKS, *table.LITE0_NETWORKS]
    parser.add_argument("--networks", nargs="+", choices=names, default=names, help="of those of the task")
    parser.add_argument("--footage", type=Path, help="folder of videos that the virtual camera looks at, too")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="trainings at once")
    parser.add_argument("--output", type=Path, default=Path("results.json"))
    parser.add_argument("--quick", action="store_true", help="a smoke run of seconds; its numbers mean nothing")
    parser.add_argument(
        "--table", nargs="+", type=Path, metavar="FILE", help="print the table of results, train nothing"
    )
    options = parser.parse_args()
    if options.table:
        print(table.as_markdown([run for path in options.table for run in read_runs(path)]))
        return
    if options.quick:
        options.minutes, options.seeds, options.folds = 0.01, 1, 2
    _run(options)


def settings_of(options: argparse.Namespace) -> list[Settings]:
    """Those of each chosen task."""
    camera = Settings(
        "camera",
        options.minutes,
        16,
        CAMERA_VIEW,
        augment=False,
        train_clips=48 if options.quick else 6000,
        test_clips=18 if options.quick else 900,
        footage=options.footage.name if options.footage else "",
    )
    every = {
        "camera": camera,
        "actions": Settings("actions", options.minutes, 16, ACTION_VIEW, augment=True, folds=options.folds),
        "r3d_18": dataclasses.replace(camera, task="r3d_18", view=R3D_VIEW, easy_share=(1.0, 1.0)),
        "lite0_order": dataclasses.replace(camera, task="lite0_order", view=LITE0_VIEWS["lite0_order"]),
        "lite0_actions": Settings(
            "lite0_actions", options.minutes, 16, LITE0_VIEWS["lite0_actions"], augment=True, folds=options.folds
        ),
    }
    return [every[task] for task in (("camera", "actions") if options.task == "both" else (options.task,))]


def _run(options: argparse.Namespace) -> None:
    runs = read_runs(options.output) if options.output.exists() else []
    chosen = settings_of(options)
    for settings in chosen:
        check_same(runs, settings, options.output)
    for settings in chosen:
        networks = [name for name in table.TASK_NETWORKS[settings.task] if name in options.networks]
        if not networks:
            raise SystemExit(
                f"the task {settings.task} has the networks {', '.join(table.TASK_NETWORKS[settings.task])}"
            )
        wanted = itertools.product([settings.task], networks, range(options.seeds), range(settings.folds))
        if {key(run) for run in runs}.issuperset(wanted):
            print(f"{settings.task}: all trainings are there already", flush=True)
            continue
        with tempfile.TemporaryDirectory(prefix="tada_experiment_") as folder, processes(options.jobs) as workers:
            start = time.monotonic()
            common: dict[str, Any] = {"folder": Path(folder), "workers": workers}
            if settings.task in ("actions", "lite0_actions"):
                jobs = action_jobs(settings, networks, options.seeds, **common)
            elif settings.task == "lite0_order":
                jobs = order_jobs(settings, networks, options.seeds, footage=options.footage, **common)
            else:
                jobs = camera_jobs(settings, networks, options.seeds, footage=options.footage, **common)
            print(f"{settings.task}: clips made in {time.monotonic() - start:.0f} s", flush=True)
            run_all(jobs, runs, options.output, workers)


if __name__ == "__main__":
    main()
