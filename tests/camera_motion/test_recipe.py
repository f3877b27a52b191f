"""Clips mean what their labels say, the split does not leak, and the shipped weights are good."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tadacli.camera_motion.clips import ClipMaker, Recipe, make_pictures
from tadacli.camera_motion.footage import FootageFile, Stretch, camera_speed, load_footage, split_of
from tadacli.camera_motion.pictures import FloatArray
from tadacli.camera_motion.recipe import (
    ARCHITECTURE,
    NAME,
    TEST_SEEDS,
    accuracies,
    check_recipe,
    evaluate,
    fresh_network,
    held_out_maker,
    make_weights,
    real_footage,
)
from tadacli.camera_motion.virtual_camera import (
    CAMERA_MOTIONS,
    CameraMove,
    MovingObject,
    camera_grid,
    render_sample,
    sample_source,
)
from tadacli.errors import SpecError, UsageError
from tadacli.zoo.loading import load_model
from tests.camera_motion.test_virtual_camera import CONTENT, parts, shift_of
from tests.media import shared_folder

# The goal on clips never seen, in percent. On footage it is not reached yet; there a floor guards what is.
GOAL_PERCENT, GOAL_CLASS_PERCENT = 98.0, 95.0
FOOTAGE_FLOOR, FOOTAGE_CLASS_FLOOR = 94.0, 85.0
SMALL = Recipe(steps=3, polish_steps=2, batch_size=4, num_pictures=4, test_clips=9, test_pictures=4)


@pytest.fixture(scope="module")
def maker() -> ClipMaker:
    return ClipMaker(Recipe(), stretches=[], pictures=make_pictures(6, seed=1), seed=3)


def grey(clip: torch.Tensor) -> FloatArray:
    """(T, h, w) of a clip (3, T, h, w)."""
    return clip.mean(0).double().numpy()


@pytest.mark.parametrize("label", range(1, 9), ids=CAMERA_MOTIONS[1:])
def test_clips_show_the_motion_of_their_label(label: int) -> None:
    textured = ClipMaker(Recipe(), stretches=[], pictures=[make_noise(seed) for seed in range(4)], seed=0)
    along, across = [], []
    for index in range(6):
        clip, told = textured.clip(index, label=label, ease=1.0)
        assert told == label
        pairs = zip(parts(grey(clip)[2]), parts(grey(clip)[5]), CONTENT[CAMERA_MOTIONS[label]], strict=True)
        for first, second, (x, y) in pairs:
            shift = shift_of(first, second)
            along.append(shift[0] * x + shift[1] * y)
            across.append(abs(shift[0] * y + shift[1] * x))
    assert np.median(along) >= 2
    assert np.median(across) <= 1


def make_noise(seed: int) -> torch.Tensor:
    coarse = torch.from_numpy(np.random.default_rng(seed).random((1, 3, 24, 32), dtype=np.float32))
    fine = torch.nn.functional.interpolate(coarse, size=(288, 384), mode="bicubic").clamp(0, 1)
    return (fine * 255).to(torch.uint8)


def test_a_clip_depends_on_seed_and_index_alone(maker: ClipMaker) -> None:
    first, label = maker.clip(11)
    maker.clip(12)
    again, same_label = maker.clip(11)
    assert torch.equal(first, again)
    assert label == same_label
    other = ClipMaker(maker.recipe, stretches=[], pictures=maker.pictures, seed=4)
    assert not torch.equal(first, other.clip(11)[0])
    assert first.shape == (3, 8, 64, 64)
    assert first.dtype == torch.float32


def test_bodies_are_animated_in_training_alone(maker: ClipMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    make = ClipMaker.animated
    monkeypatch.setattr(ClipMaker, "animated", lambda *given: calls.append(1) or make(*given))
    held_out = held_out_maker(SMALL, [], seed=0)
    for index in range(20):
        held_out.clip(index)
    assert not calls
    for index in range(20):
        maker.clip(index)
    assert len(calls) > 5


@pytest.mark.parametrize("own_motion_shows", [True, False])
def test_what_moves_by_itself_does_not_show_the_motion_of_the_camera(
    monkeypatch: pytest.MonkeyPatch, own_motion_shows: bool
) -> None:
    """Of a scene that stands still and one where all is in motion, moving clips are of the former."""
    scene, swarm = make_noise(0).expand(8, -1, -1, -1), torch.cat([make_noise(number) for number in range(8)])
    stretches = {"scene": Stretch("scene", scene, 0.0), "swarm": Stretch("swarm", swarm, 0.0)}
    films = [FootageFile(name, "", "", "test", [stretch]) for name, stretch in stretches.items()]
    maker = held_out_maker(SMALL, films, seed=0, flat=None, own_motion_shows=own_motion_shows)
    filmed, choose = [], ClipMaker.choose_source

    def record(maker: ClipMaker, rng: np.random.Generator) -> tuple[torch.Tensor, list[int]]:
        filmed.append(choose(maker, rng))
        return filmed[-1]

    monkeypatch.setattr(ClipMaker, "choose_source", record)
    num_from_swarm = 0
    for index in range(24):
        maker.clip(index, label=1 + index % 8)
        num_from_swarm += filmed[-1][0] is swarm
    assert (6 <= num_from_swarm <= 18) if own_motion_shows else num_from_swarm == 0


def test_batches_hold_every_class(maker: ClipMaker) -> None:
    small = ClipMaker(dataclasses.replace(maker.recipe, batch_size=64), stretches=[], pictures=maker.pictures, seed=0)
    made = small.batch(0)
    clips, labels = made.clips, made.targets[""]
    assert clips.shape == (64, 3, 8, 64, 64)
    assert set(labels.tolist()) == set(range(9))


def test_fresh_networks_are_seeded() -> None:
    states = [fresh_network(seed).state_dict() for seed in (0, 0, 1)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not torch.equal(states[0]["head.weight"], states[2]["head.weight"]) if "head.weight" in states[0] else True


def test_camera_speed_is_that_of_the_camera() -> None:
    source = make_noise(2)
    times = np.arange(15) / 15
    for label, speed in (("static", 0.0), ("pan left", 0.2), ("zoom in", 0.2), ("roll clockwise", 0.2)):
        path = CameraMove(label, speed=speed).path(times, duration_seconds=1.0)
        frames = sample_source(source, camera_grid(path, size=(96, 128), field=0.5)) * 255
        assert camera_speed(frames.to(torch.uint8)) == pytest.approx(speed, abs=0.06), label


def test_a_camera_that_goes_to_and_fro_does_not_stand_still() -> None:
    """One second a pan, the next one back: over both the mean is nothing."""
    source = make_noise(2)
    times = np.arange(30) / 15
    path = CameraMove("pan left", speed=0.2).path(np.minimum(times, 2 - times), duration_seconds=1.0)
    frames = sample_source(source, camera_grid(path, size=(96, 128), field=0.5)) * 255
    assert camera_speed(frames.to(torch.uint8)) > 0.1
    assert camera_speed(frames[:3].to(torch.uint8)) == 0  # too few to tell


def test_bodies_show_running_footage_of_a_camera_that_moves_too(
    maker: ClipMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = torch.arange(30, dtype=torch.uint8)[:, None, None, None].expand(30, 3, 96, 128).contiguous()
    unsteady = Stretch("a scene", running, own_speed=0.5)
    shown: list[torch.Tensor] = []
    make = ClipMaker.animated

    def noted(*given: Any) -> MovingObject:
        body = make(*given)
        shown.append(body.texture)
        return body

    monkeypatch.setattr(ClipMaker, "animated", noted)
    with_footage = ClipMaker(maker.recipe, stretches=[unsteady], pictures=maker.pictures, seed=0)
    for index in range(40):
        with_footage.clip(index)
    films = [texture for texture in shown if len(texture) > 1]
    assert 0 < len(films) < len(shown)
    for film in films:
        assert film.shape == (8, 3, 48, 64)
        numbers = film[:, 0, 0, 0].int().diff()
        assert (numbers >= 0).all() or (numbers <= 0).all()


def test_the_split_goes_by_name_and_stays() -> None:
    names = [f"video_{index}.mp4" for index in range(300)]
    sides = [split_of(name) for name in names]
    assert sides == [split_of(name) for name in names]
    assert 60 < sides.count("test") < 140
    assert split_of("video_0.mp4") == "test"
    assert split_of("video_1.mp4") == "train"


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two still scenes, one of them twice, a moving one, and a file that is no video."""
    folder = tmp_path_factory.mktemp("footage")
    size = {"height": 96, "width": 128, "seconds": 1.0}
    for seed, name in enumerate(("a.mp4", "b.mp4")):
        render_sample(folder / name, motion="static", seed=seed, **size)  # type: ignore[arg-type]
    render_sample(folder / "c.mp4", motion="pan right", speed=0.4, seed=9, **size)  # type: ignore[arg-type]
    shutil.copy(folder / "a.mp4", folder / "z_copy_of_a.mp4")
    (folder / "d.mp4").write_bytes(b"not a video")
    return folder


def test_footage_is_read_once_measured_and_noted(footage: Path) -> None:
    notes: list[str] = []
    files = {file.file: file for file in load_footage(footage, note=notes.append)}
    assert "z_copy_of_a.mp4" not in files
    assert notes == ["footage left out: d.mp4: InvalidDataError"]
    assert files["a.mp4"].stretches[0].is_steady
    assert not files["c.mp4"].stretches[0].is_steady
    assert files["a.mp4"].stretches[0].frames.shape == (15, 3, 96, 128)
    assert files["a.mp4"].split == split_of("a.mp4")


def test_files_that_show_the_same_set_are_on_one_side(footage: Path) -> None:
    files = load_footage(footage, note=lambda _: None)
    for file in files:
        for stretch in file.stretches:
            assert split_of(stretch.scene) == file.split
    sides = {
        side: {file.file for file in load_footage(footage, only=side)}
        for side in ("train", "test")
        if any(file.split == side for file in files)
    }
    assert set.union(*sides.values()) == {file.file for file in files}
    assert sum(map(len, sides.values())) == len(files)


def test_only_permissive_licences_are_used(footage: Path, tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        shutil.copy(footage / name, tmp_path / name)
    rows = [
        "file,licence,source",
        "a.mp4,MIT (repo),one",
        "b.mp4,CC-BY-NC-4.0,two",
        "c.mp4,proprietary,three",
    ]
    (tmp_path / "media.csv").write_text("\n".join(rows) + "\n")
    files = load_footage(tmp_path)
    assert [(file.file, file.licence, file.source) for file in files] == [("a.mp4", "MIT (repo)", "one")]


def test_a_folder_without_footage_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        load_footage(tmp_path)
    with pytest.raises(UsageError):
        load_footage(tmp_path / "missing")


@pytest.mark.parametrize("with_footage", [False, True], ids=["scenes", "footage"])
def test_the_recipe_writes_weights_that_load_and_a_card(tmp_path: Path, footage: Path, with_footage: bool) -> None:
    make_weights(tmp_path, footage_folder=footage if with_footage else None, recipe=SMALL, seed=0)
    model = load_model(tmp_path / f"{NAME}.safetensors")
    assert model.spec.heads[""] == CAMERA_MOTIONS
    assert model.spec.architecture == ARCHITECTURE
    card = (tmp_path / "README.md").read_text()
    assert ("No footage was used" in card) != with_footage
    assert ("| a.mp4 |" in card) == with_footage
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", f"{NAME}.safetensors"]


def test_a_recipe_that_contradicts_the_manifest_is_refused() -> None:
    assert check_recipe(Recipe()).name == NAME
    with pytest.raises(SpecError, match="manifest"):
        check_recipe(dataclasses.replace(Recipe(), frame_stride=2))


def test_shipped_weights_reach_the_goal_on_unseen_generated_scenes() -> None:
    network = load_model(NAME, device="cpu").network
    makers = [held_out_maker(Recipe(), [], seed=seed) for seed in TEST_SEEDS]
    overall, by_class = accuracies(sum(evaluate(network, maker, num_clips=500) for maker in makers))
    assert overall >= GOAL_PERCENT, by_class
    assert by_class.min() >= GOAL_CLASS_PERCENT, by_class


@pytest.fixture(scope="module")
def films() -> list[FootageFile]:
    return load_footage(shared_folder() / "media", only="test", note=lambda _: None)


@pytest.fixture(scope="module")
def on_unseen_footage(films: list[FootageFile]) -> tuple[float, FloatArray]:
    """Accuracy of the shipped weights over all held-out footage, overall and by class."""
    maker = held_out_maker(Recipe(), films, seed=TEST_SEEDS[0], flat=None)
    return accuracies(evaluate(load_model(NAME, device="cpu").network, maker, num_clips=500))


def test_shipped_weights_hold_their_floor_on_unseen_footage(on_unseen_footage: tuple[float, FloatArray]) -> None:
    overall, by_class = on_unseen_footage
    assert overall >= FOOTAGE_FLOOR, by_class
    assert by_class.min() >= FOOTAGE_CLASS_FLOOR, by_class


@pytest.mark.xfail(reason="not reached yet, see weights/README.md", strict=True, raises=AssertionError)
def test_shipped_weights_reach_the_goal_on_unseen_footage(on_unseen_footage: tuple[float, FloatArray]) -> None:
    overall, by_class = on_unseen_footage
    assert overall >= GOAL_PERCENT, by_class
    assert by_class.min() >= GOAL_CLASS_PERCENT, by_class


def test_shipped_weights_reach_the_goal_where_what_stands_still_shows_the_motion(films: list[FootageFile]) -> None:
    network = load_model(NAME, device="cpu").network
    makers = [held_out_maker(Recipe(), films, seed=s, flat=None, own_motion_shows=False) for s in TEST_SEEDS]
    overall, by_class = accuracies(sum(evaluate(network, maker, num_clips=500) for maker in makers))
    assert overall >= GOAL_PERCENT, by_class
    assert by_class.min() >= GOAL_CLASS_PERCENT, by_class


def test_shipped_weights_on_real_camera_work() -> None:
    """Clips without a virtual camera, whose one motion is plain to see.

    Two of them are known to fail: a fade from black, and a sheet of paper that fills the picture.
    """
    table = real_footage(load_model(NAME, device="cpu").network, shared_folder() / "media", Recipe())
    answers = [[cell.strip() for cell in row.strip("|").split("|")] for row in table[2:]]
    plain = [(seen, answer) for *_, seen, answer, _ in answers if seen.split(";")[0] in CAMERA_MOTIONS]
    assert len(plain) >= 10
    wrong = [pair for pair in plain if pair[0].split(";")[0] != pair[1]]
    assert len(wrong) <= 2, wrong
