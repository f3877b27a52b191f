"""The recipe of the built-in model: what it is trained on, how it is measured, and its model card.

Every clip is made on the fly: a virtual camera with a known motion looks at a generated picture or at
running footage. Run `python -m tadacli.camera_motion --footage DIR --output weights --seed 0`.
"""

from __future__ import annotations

import argparse
import csv
import platform
from collections.abc import Sequence
from dataclasses import asdict, replace
from importlib import resources
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tadacli.allocator import keep_freed_memory
from tadacli.camera_motion.clips import MEAN, PARTS_WITH_EDGES, STD, ClipMaker, Recipe, make_pictures
from tadacli.camera_motion.footage import STEADY_SPEED, FootageFile, Stretch, flat_scenes, load_footage
from tadacli.camera_motion.pictures import FloatArray
from tadacli.camera_motion.virtual_camera import CAMERA_MOTIONS
from tadacli.errors import SpecError
from tadacli.models import build
from tadacli.specs import ModelSpec
from tadacli.training.loop import Ahead, StepReport, train
from tadacli.transforms import preprocess
from tadacli.video.reading import open_video
from tadacli.zoo import DEFAULT_MODEL
from tadacli.zoo.checkpoints import write_checkpoint
from tadacli.zoo.manifest import manifest

NAME = DEFAULT_MODEL
ARCHITECTURE = "r2plus1d_tiny"


# Far from each other and from any seed one is likely to train with: what is tested was never trained on.
# Test clips are made from these seeds; the recipe was tuned on clips of another one (900,001), which are not used.
TEST_SEEDS = (1, 2, 3)
TEST_PICTURES_SEED = 900_001
GOAL, CLASS_GOAL = 98.0, 95.0  # percent of the test clips


def held_out_maker(
    recipe: Recipe,
    footage: Sequence[FootageFile],
    *,
    seed: int,
    flat: bool | None = False,
    own_motion_shows: bool = True,
) -> ClipMaker:
    """Maker of the test clips, over running footage of the test side.

    Args:
        recipe: What the network is trained on.
        footage: All footage; without any, clips are over generated pictures that training does not use.
        seed: Of the clips.
        flat: Whether to take flat scenes alone (True), none of them (False), or all scenes (None).
        own_motion_shows: Whether a clip is also taken where only what moves by itself has the edges by which the
            camera's motion is to be seen.

    Returns:
        The maker.
    """
    flats = flat_scenes(footage)
    stretches = [s for s in _held_out(footage) if flat is None or (s.scene in flats) == flat]
    recipe = replace(
        recipe,
        footage_share=1.0 if stretches else 0.0,
        own_motion_shows=own_motion_shows,
        bare_share=0.0,
        sparse_share=0.0,
        animated_share=0.0,
    )
    pictures = make_pictures(recipe.test_pictures, seed=TEST_PICTURES_SEED)
    return ClipMaker(recipe, stretches=stretches, pictures=pictures, seed=seed)


def _held_out(footage: Sequence[FootageFile]) -> list[Stretch]:
    return [stretch for file in footage if file.split == "test" for stretch in file.stretches if stretch.is_steady]


def fresh_network(seed: int) -> nn.Module:
    """The network to train, its first stage set to see motion; the rest is at its random start.

    The brightness gradient along x plus (or minus) the change over time is large where the content
    moves left (or right). From an all-random start the network finds that only after many thousand clips.
    """
    torch.manual_seed(seed)
    network = build(ARCHITECTURE, num_classes=len(CAMERA_MOTIONS))
    states = network.state_dict()
    spatial, temporal = states["backbone.0.spatial.weight"], states["backbone.0.temporal.weight"]
    smooth, slope = torch.tensor([1.0, 2.0, 1.0]) / 4, torch.tensor([-1.0, 0.0, 1.0]) / 2
    across, down, mean = (torch.outer(u, v) for u, v in ((smooth, slope), (slope, smooth), (smooth, smooth)))
    temporal *= 0.15
    # Groups of eight filters, each with a colour of its own and an eye for another range of speeds.
    for first, change in zip(range(0, spatial.shape[0] - 7, 8), (0.7, 1.5, 3.0, 6.0), strict=False):
        colour = (1 + 0.5 * torch.randn(3))[:, None, None, None] / 3
        for offset, kernel in enumerate((across, -across, down, -down, mean, -mean)):
            spatial[first + offset] = colour * kernel
        for out in range(8):
            sign, flow, along = 1 - 2 * (out & 1), 1 - (out & 2), 2 * (out >> 2)
            # Both halves of a rectified signal together are the signal.
            temporal[first + out, first + along, 1] += sign
            temporal[first + out, first + along + 1, 1] -= sign
            for tap in (0, 2):
                temporal[first + out, first + 4, tap] += sign * flow * change * (tap - 1)
                temporal[first + out, first + 5, tap] -= sign * flow * change * (tap - 1)
    network.load_state_dict(states)
    return network


@torch.inference_mode()
def evaluate(network: nn.Module, maker: ClipMaker, *, num_clips: int) -> NDArray[np.int64]:
    """(9, 9) confusion matrix, rows the truth, over `num_clips` clips shared equally by the classes."""
    network.eval()
    confusion = np.zeros((len(CAMERA_MOTIONS),) * 2, dtype=np.int64)
    for first in range(0, num_clips, 32):
        made = [maker.clip(i, label=i % len(CAMERA_MOTIONS)) for i in range(first, min(num_clips, first + 32))]
        answers = network(torch.stack([clip for clip, _ in made])).argmax(dim=1).tolist()
        for (_, label), answer in zip(made, answers, strict=True):
            confusion[label, answer] += 1
    return confusion


def accuracies(confusion: NDArray[np.int64]) -> tuple[float, FloatArray]:
    """Share of right answers in percent: overall and (9,) by class."""
    by_class = 100 * np.diag(confusion) / np.maximum(1, confusion.sum(axis=1))
    return float(100 * np.trace(confusion) / max(1, confusion.sum())), by_class


def check_recipe(recipe: Recipe) -> ModelSpec:
    """The built-in model's spec. Raises `SpecError` if its input is not what the recipe trains on."""
    spec = manifest()[NAME]
    trained = (recipe.clip_frames, recipe.frame_stride, recipe.target_fps, recipe.view, recipe.view)
    given = spec.input
    stated = (given.clip_frames, given.frame_stride, given.target_fps, given.short_side, given.crop_size)
    if trained != stated or spec.heads[""] != CAMERA_MOTIONS or {*given.mean, *given.std} != {MEAN, STD}:
        raise SpecError(f"{NAME}: the manifest says {stated}, the recipe trains {trained} and its own labels")
    return spec


def _matrix(confusion: NDArray[np.int64]) -> str:
    """A confusion matrix as Markdown, with the accuracy of each class."""
    short = ["static", "pan L", "pan R", "tilt U", "tilt D", "zoom in", "zoom out", "roll cw", "roll ccw"]
    rows = ["| truth \\ answer | " + " | ".join(short) + " | right |", "|---" * (len(short) + 2) + "|"]
    for label, counts, right in zip(CAMERA_MOTIONS, confusion, accuracies(confusion)[1], strict=True):
        cells = " | ".join(str(count) if count else "." for count in counts)
        rows.append(f"| {label} | {cells} | {right:.1f} % |")
    return "\n".join(rows)


def model_card(
    recipe: Recipe,
    *,
    seed: int,
    footage: Sequence[FootageFile],
    measured: dict[str, NDArray[np.int64]],
    minutes: float,
    observed: Sequence[str] = (),
) -> str:
    """The model card as Markdown, from the templates in `card/`.

    `measured` maps what was tested to its confusion matrix; `observed` is the table of `real_footage`.
    """
    network = build(ARCHITECTURE, num_classes=len(CAMERA_MOTIONS))
    return _filled(
        "card.md",
        name=NAME,
        motions=", ".join(CAMERA_MOTIONS),
        num_parameters=sum(parameter.numel() for parameter in network.parameters()),
        recipe=recipe,
        clip_seconds=recipe.times[-1],
        tests="".join(_test_in_card(what, confusion) for what, confusion in measured.items()),
        shots=_filled("shots.md", table="\n".join(observed)) if observed else "",
        num_plain_parts=9 - PARTS_WITH_EDGES,
        plain_percent=100 * (recipe.bare_share + recipe.sparse_share),
        footage=_footage_in_card(footage),
        seed=seed,
        minutes=minutes,
        num_threads=torch.get_num_threads(),
        machine=platform.machine(),
        torch_version=torch.__version__.split("+")[0],
        settings=", ".join(f"{key} {value}" for key, value in asdict(recipe).items()),
    )


def _filled(template: str, **values: object) -> str:
    """A template of `card/` with the values in their places."""
    return resources.files("tadacli").joinpath("camera_motion", "card", template).read_text("utf-8").format(**values)


def _test_in_card(what: str, confusion: NDArray[np.int64]) -> str:
    overall, by_class = accuracies(confusion)
    worst = by_class.min()
    return _filled(
        "test.md",
        what=what,
        overall=overall,
        worst=worst,
        count=confusion.sum(),
        goal=GOAL,
        class_goal=CLASS_GOAL,
        reached="reached" if overall >= GOAL and worst >= CLASS_GOAL else "not reached",
        matrix=_matrix(confusion),
    )


def _footage_in_card(footage: Sequence[FootageFile]) -> str:
    if not footage:
        return "No footage was used: training and tests are on generated scenes alone.\n"
    scenes = {stretch.scene for stretch in _held_out(footage)}
    rows = [
        f"| {file.split} | {file.file} | {file.source} | {file.licence} | "
        f"{sum(stretch.is_steady for stretch in file.stretches)} of {len(file.stretches)} |"
        for file in sorted(footage, key=lambda file: (file.split, file.file))
    ]
    return _filled(
        "footage.md",
        steady_speed=STEADY_SPEED,
        num_flat=len(scenes & flat_scenes(footage)),
        num_held_out=len(scenes),
        table="\n".join(rows),
    )


def _real_shots() -> list[tuple[str, float, str]]:
    """(file, start in seconds, what the camera does in the second from there, as seen by a person) of real files."""
    text = resources.files("tadacli").joinpath("camera_motion", "real_shots.csv").read_text(encoding="utf-8")
    return [(row["file"], float(row["start_seconds"]), row["seen"]) for row in csv.DictReader(text.splitlines())]


@torch.inference_mode()
def real_footage(network: nn.Module, folder: Path, recipe: Recipe, *, footage: Sequence[FootageFile] = ()) -> list[str]:
    """Markdown table of the shots of real_shots.csv that are under `folder`: what is seen, what the network answers.

    With the loaded `footage` it also says on which side of the split a file is.
    """
    sides = {file.file: file.split for file in footage}
    rows = ["| file | side | from | seen by eye | answer | score |", "|---|---|---|---|---|---|"]
    for name, start, seen in _real_shots():
        if not (folder / name).is_file():
            continue
        with open_video(folder / name) as video:
            shown = video.times[0] + start + recipe.times
            indices = np.clip(np.searchsorted(video.times, shown + 1e-6, side="right") - 1, 0, len(video.times) - 1)
            frames = {frame.index: frame.pixels for frame in video.require_frames(indices)}
        shot = np.stack([frames[int(index)] for index in indices])
        size = recipe.view
        clip = preprocess(shot, short_side=size, crop_size=size, num_crops=1, mean=(MEAN,) * 3, std=(STD,) * 3)
        score, answer = network(clip).softmax(dim=1).max(dim=1)
        label = CAMERA_MOTIONS[int(answer)]
        side = sides.get(Path(name).name, "-")
        rows.append(f"| {Path(name).name} | {side} | {start:g} s | {seen} | {label} | {float(score):.2f} |")
    return rows if len(rows) > 2 else []


def _progress(report: StepReport) -> None:
    if report.step % 50 == 0 or report.step == report.num_steps:
        text = f"step {report.step}/{report.num_steps}  loss {report.loss:.3f}  {report.elapsed_seconds:.0f} s"
        print(text, flush=True)


def make_weights(
    output: Path, *, footage_folder: Path | None, recipe: Recipe, seed: int
) -> dict[str, NDArray[np.int64]]:
    """Trains, measures and writes weights and card into `output`; returns the confusion matrices."""
    spec = check_recipe(recipe)
    footage = load_footage(footage_folder) if footage_folder is not None else []
    if not footage:
        print("no footage: training on generated scenes alone")
    maker = ClipMaker(
        recipe,
        stretches=[s for file in footage if file.split == "train" for s in file.stretches],
        pictures=make_pictures(recipe.num_pictures, seed=seed),
        seed=seed,
    )
    network = fresh_network(seed)
    seconds, first = 0.0, 0
    for number, settings in enumerate(recipe.training):
        unfinished = output / f"{NAME}.training{number}.pt"
        with Ahead(lambda step, first=first: [maker.batch(first + step)]) as batches:  # type: ignore[misc]
            result = train(network, batches, settings, checkpoint=unfinished, checkpoint_every=100, progress=_progress)
        seconds, first = seconds + result.elapsed_seconds, first + settings.num_steps
    output.mkdir(parents=True, exist_ok=True)
    write_checkpoint(output / f"{NAME}.safetensors", network.state_dict(), spec)
    for unfinished in output.glob(f"{NAME}.training*.pt"):
        unfinished.unlink()
    confusions = measure(network, recipe, footage)
    card = model_card(
        recipe,
        seed=seed,
        footage=footage,
        measured=confusions,
        minutes=seconds / 60,
        observed=real_footage(network, footage_folder, recipe, footage=footage) if footage_folder else [],
    )
    (output / "README.md").write_text(card, encoding="utf-8")
    return confusions


def measure(network: nn.Module, recipe: Recipe, footage: Sequence[FootageFile]) -> dict[str, NDArray[np.int64]]:
    """Confusion matrix of each test over all `TEST_SEEDS`, by what is tested; prints the accuracies."""
    tests: dict[str, tuple[Sequence[FootageFile], bool | None, bool]] = {
        "Virtual camera over running footage, files never trained on": (footage, None, True),
        "The same where things that stand still show the camera's motion": (footage, None, False),
        "The same without flat scenes": (footage, False, True),
        "The same over flat scenes alone: test signals, a title card": (footage, True, True),
        "Virtual camera over generated scenes never trained on": ([], None, True),
    }
    confusions: dict[str, NDArray[np.int64]] = {}
    for what, (films, flat, shows) in tests.items():
        makers = [held_out_maker(recipe, films, seed=s, flat=flat, own_motion_shows=shows) for s in TEST_SEEDS]
        if films is footage and not makers[0].steady:
            continue  # nothing of that kind is held out
        parts = [evaluate(network, maker, num_clips=recipe.test_clips) for maker in makers]
        confusions[what] = np.sum(parts, axis=0)
    for what, confusion in confusions.items():
        overall, by_class = accuracies(confusion)
        print(f"{what}: {overall:.1f} %, by class {by_class.round(1).tolist()}")
    return confusions


def main() -> None:
    """`python -m tadacli.camera_motion --footage DIR --output weights --seed 0`."""
    parser = argparse.ArgumentParser(description="Train the built-in camera-motion model.")
    parser.add_argument("--footage", type=Path, help="folder of videos; without it, generated scenes alone")
    parser.add_argument("--output", type=Path, default=Path("weights"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=Recipe.steps)
    options = parser.parse_args()
    keep_freed_memory()
    recipe = replace(Recipe(), steps=options.steps)
    make_weights(options.output, footage_folder=options.footage, recipe=recipe, seed=options.seed)
