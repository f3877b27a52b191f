"""Recipes: the published numbers, reading strictly, writing back."""

from __future__ import annotations

import dataclasses
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tadacli.errors import UsageError
from tadacli.specs import InputSpec, label_list
from tadacli.training import Init
from tadacli.training.default_recipe import default_recipe
from tadacli.training.optimisation import build_optimizer, learning_rate_at, parameter_groups
from tadacli.training.recipes import load_recipe, recipe_toml
from tadacli.training.settings import Augmentation, Optimisation, Recipe
from tadacli.zoo.manifest import cards

# Published settings. Columns: optimiser, rate, batch, epochs, warm-up epochs, rate at its start, weight decay,
# drop-path, layer decay, label smoothing, factors of routing and head.
PUBLISHED: dict[str, tuple[Any, ...]] = {
    "tada2d_r50.k400_8x8": ("sgd", 0.24, 128, 100, 8, 0.01, 1e-4, None, 1, 0, 1, 1),
    "tada2d_r50.k400_16x5": ("sgd", 0.12, 64, 100, 8, 0.01, 1e-4, None, 1, 0, 1, 1),
    "tada2d_r50.ssv2_8f": ("sgd", 0.48, 128, 64, 4, 1e-4, 1e-4, None, 1, 0, 1, 1),
    "tada2d_r50.ssv2_16f": ("sgd", 0.24, 64, 64, 4, 1e-4, 1e-4, None, 1, 0, 1, 1),
    "tadaconvnext_tiny.k400_16f": ("adamw", 4e-4, 16, 100, 8, 1e-6, 1e-3, 0.4, 1, 0, 1, 10),
    "tadaconvnext_tiny.k400_16f_plain": ("adamw", 4e-4, 16, 100, 8, 1e-6, 1e-3, 0.4, 1, 0, 1, 10),
    "tadaconvnext_tiny.k400_16f_mixed": ("adamw", 4e-4, 16, 100, 8, 1e-6, 1e-3, 0.4, 1, 0.1, 1, 10),
    "tadaconvnext_tiny.k400_32f": ("adamw", 2e-4, 8, 100, 8, 1e-6, 1e-3, 0.4, 1, 0, 1, 10),
    "tadaconvnext_tiny.k400_32f_batch16": ("adamw", 4e-4, 16, 100, 8, 1e-6, 1e-3, 0.4, 1, 0, 1, 10),
    "tadaconvnext_tiny.ssv2_16f": ("adamw", 2e-4, 8, 64, 4, 1e-6, 1e-3, 0.4, 1, 0.1, 1, 10),
    "tadaconvnextv2_tiny.k400_16f": ("adamw", 5e-4, 128, 100, 8, 1e-6, 0.02, 0.2, 1, 0, 5, 5),
    "tadaconvnextv2_small.k400_16f": ("adamw", 2.5e-4, 64, 100, 8, 1e-6, 0.02, 0.4, 1, 0, 5, 5),
    "tadaconvnextv2_base.k400_16f": ("adamw", 2.5e-4, 64, 100, 8, 1e-6, 0.02, 0.6, 1, 0, 5, 5),
    "tadaconvnextv2_tiny.ssv2_16f": ("adamw", 5e-4, 128, 64, 2.5, 1e-6, 0.02, 0.3, 1, 0, 5, 5),
    "tadaconvnextv2_small.ssv2_16f": ("adamw", 2.5e-4, 64, 64, 2.5, 1e-6, 0.02, 0.5, 1, 0, 5, 5),
    "tadaconvnextv2_base.ssv2_16f": ("adamw", 2.5e-4, 64, 64, 2.5, 1e-6, 0.02, 0.6, 1, 0, 5, 5),
    "tadaformer_b16.k400_16f": ("adamw", 5e-5, 256, 30, 5, 1e-6, 0.05, 0, 0.7, 0.1, 10, 10),
    "tadaformer_l14.k400_16f": ("adamw", 2e-5, 64, 24, 5, 1e-6, 0.05, 0, 0.85, 0.1, 10, 10),
    "tadaformer_b16.ssv2_16f": ("adamw", 5e-4, 256, 24, 4, 1e-8, 0.05, 0, 0.7, 0.1, 10, 10),
    "tadaformer_l14.ssv2_16f": ("adamw", 2.5e-4, 128, 24, 4, 1e-8, 0.05, 0.2, 0.85, 0.1, 10, 10),
}
COLUMNS = (
    "optimizer learning_rate batch_size epochs warmup_epochs warmup_start_rate weight_decay drop_path layer_decay "
    "label_smoothing route_rate_factor head_rate_factor"
).split()
OUR_OWN = ("finetune", "finetune_small", "from_scratch_small")
INPUT = InputSpec(
    sampling="segment",
    clip_frames=8,
    frame_stride=1,
    target_fps=30.0,
    short_side=128,
    crop_size=112,
    mean=(0.45, 0.45, 0.45),
    std=(0.225, 0.225, 0.225),
)
MINIMAL = (
    'epochs = 1\nbatch_size = 2\noptimizer = "sgd"\nlearning_rate = 0.1\nweight_decay = 0\nschedule = "constant"\n'
)


def test_the_known_recipes_are_the_published_ones_and_our_own() -> None:
    text = resources.files("tadacli").joinpath("training", "recipes.toml").read_text(encoding="utf-8")
    assert set(tomllib.loads(text)) == {*PUBLISHED, *OUR_OWN}
    families = {name.split(".")[0] for name in PUBLISHED}
    assert families == {name.split(".")[0] for name in cards() if name.startswith("tada")}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_numbers(name: str) -> None:
    recipe = load_recipe(name)
    assert tuple(recipe.flat()[column] for column in COLUMNS) == PUBLISHED[name]
    assert recipe.dropout == 0.5
    assert recipe.augmentation.crop_size == 224
    assert recipe.source.split(",")[0] in ("TAdaConv", "Masked-Action-Recognition")
    assert recipe.source.endswith(".yaml")
    assert recipe.note
    is_former, optimisation = name.startswith("tadaformer"), recipe.optimisation
    assert (optimisation.schedule, optimisation.final_rate) == (
        ("cosine_after_warmup", 1e-6) if is_former else ("cosine", 0.0)
    )
    biases = (10, 10) if "nextv2" in name else (None, None)
    assert (optimisation.route_bias_rate_factor, optimisation.head_bias_rate_factor) == biases
    assert optimisation.ema_decay == (0.9999 if "next_tiny" in name else 0)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_augmentation(name: str) -> None:
    recipe = load_recipe(name).augmentation
    jitters = name.startswith("tada2d") or name == "tadaconvnext_tiny.ssv2_16f"
    assert recipe.crop == ("jitter" if jitters else "resized")
    if jitters:
        assert recipe.short_sides == (224, 340)
    else:
        assert (recipe.crop_areas, recipe.crop_ratios) == ((0.08, 1), (0.75, 1.333))
    if name.startswith("tada2d") or name.endswith("_plain"):
        assert recipe.randaugment_ops == 0
    else:
        magnitude = 7 if "next_tiny" in name else 9
        ours = (recipe.randaugment_ops, recipe.randaugment_magnitude, recipe.randaugment_std)
        assert ours == (4, magnitude, 0.5)
    assert recipe.grayscale == (0.2 if "nextv2" in name or "former" in name else 0)
    mixes = name in ("tadaconvnext_tiny.k400_16f_mixed", "tadaconvnext_tiny.ssv2_16f")
    assert (recipe.mixup, recipe.cutmix) == ((0.8, 1.0) if mixes else (0, 0))
    assert recipe.erasing == (0.25 if name == "tadaconvnext_tiny.ssv2_16f" else 0)
    assert recipe.colour_jitter == 0


@pytest.mark.parametrize("name", [*PUBLISHED, *OUR_OWN])
def test_flips_respect_the_labels(name: str) -> None:
    recipe = load_recipe(name).augmentation
    if ".ssv2" not in name:
        assert (recipe.flip, recipe.flip_pairs) == ("plain", ())
        return
    labels = label_list("ssv2")
    indices = [tuple(labels.index(label) for label in pair) for pair in recipe.flip_pairs]
    assert (recipe.flip, indices) == ("labels", [(86, 87), (93, 94), (166, 167)])


@pytest.mark.parametrize("name", [*PUBLISHED, *OUR_OWN])
def test_every_recipe_can_be_trained_with(name: str) -> None:
    recipe = load_recipe(name, {"layer_decay": 1.0}).for_input(INPUT)
    network = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
    optimizer = build_optimizer(parameter_groups(network, recipe.optimisation), recipe.optimisation)
    assert type(optimizer).__name__.lower() == recipe.optimisation.optimizer
    rates = [
        learning_rate_at(recipe.epochs * part / 8, num_epochs=recipe.epochs, settings=recipe.optimisation)
        for part in range(9)
    ]
    assert rates[0] == recipe.optimisation.warmup_start_rate
    assert max(rates) <= recipe.optimisation.learning_rate
    assert rates[-1] == pytest.approx(recipe.optimisation.final_rate)
    assert recipe.augmentation.crop_size > 0


@pytest.mark.parametrize(
    ("overrides", "sizes"),
    [
        ({}, (112, (128, 160))),  # the model's own, and to 1.25 of it
        ({"crop_size": 224}, (224, (256, 320))),  # another crop keeps the model's relation of the two
        ({"short_sides": "112, 120"}, (112, (112, 120))),
        ({"crop_size": 100, "short_sides": "100, 100"}, (100, (100, 100))),
    ],
)
def test_sizes_follow_the_model_where_the_recipe_is_silent(
    overrides: dict[str, object], sizes: tuple[int, tuple[int, int]]
) -> None:
    recipe = load_recipe("finetune", overrides)
    resolved = recipe.for_input(INPUT)
    assert (resolved.augmentation.crop_size, resolved.augmentation.short_sides) == sizes
    assert resolved.for_input(dataclasses.replace(INPUT, crop_size=64)) == resolved


def test_sizes_that_the_model_does_not_fit_into_are_refused() -> None:
    recipe = load_recipe("finetune", {"short_sides": "100, 100"})
    with pytest.raises(UsageError, match="a crop of 112 does not fit into a short side of 100"):
        recipe.for_input(INPUT)


@pytest.mark.parametrize("name", [*PUBLISHED, *OUR_OWN])
def test_a_written_recipe_reads_back_equal(tmp_path: Path, name: str) -> None:
    file = tmp_path / "recipe.toml"
    for recipe in (load_recipe(name), load_recipe(name).for_input(INPUT)):
        text = recipe_toml(recipe)
        file.write_text(text, encoding="utf-8")
        assert load_recipe(file) == recipe
        assert recipe_toml(load_recipe(str(file))) == text


LABELS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)


@given(
    note=st.text(st.characters(exclude_categories=["Cs"])),
    pairs=st.lists(LABELS, unique=True, max_size=4).filter(lambda names: len(names) % 2 == 0),
    rate=st.floats(1e-300, 1e300),
    epochs=st.floats(1e-9, 1e20),
    dropout=st.none() | st.floats(0, 1, exclude_max=True),
    freeze_norms=st.booleans(),
    seed=st.integers(0, 2**31 - 1),
)
def test_any_values_read_back_equal(
    tmp_path_factory: pytest.TempPathFactory, note: str, pairs: list[str], **values: Any
) -> None:
    rate = values.pop("rate")
    recipe = Recipe(
        note=note,
        batch_size=4,
        accumulate=2,
        optimisation=Optimisation(optimizer="adamw", learning_rate=rate, weight_decay=rate / 3, schedule="constant"),
        augmentation=Augmentation(
            flip="labels" if pairs else "none", flip_pairs=tuple(zip(pairs[::2], pairs[1::2], strict=True))
        ),
        **values,
    )
    file = tmp_path_factory.getbasetemp() / "any.toml"
    file.write_text(recipe_toml(recipe), encoding="utf-8", newline="")
    assert load_recipe(file) == recipe


def test_a_file_builds_on_a_known_recipe_and_options_on_the_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('base = "tadaformer_b16.ssv2_16f"\nepochs = 5\nwarmup_epochs = 1\ndrop_path = "none"\n')
    published = load_recipe("tadaformer_b16.ssv2_16f")
    recipe = load_recipe(file, {"learning_rate": 1e-5, "epochs": "6"})
    expected = {"epochs": 6.0, "warmup_epochs": 1.0, "drop_path": None, "learning_rate": 1e-5}
    source = f"{published.source}; changed: epochs, warmup_epochs, drop_path; changed: learning_rate, epochs"
    assert recipe.flat() == {**published.flat(), **expected, "source": source}


def test_what_does_not_change_anything_leaves_the_source_alone() -> None:
    assert load_recipe("finetune", {"flip": "plain", "mixup": 0}) == load_recipe("finetune")
    assert load_recipe("finetune", {"epochs": 3, "source": "me"}).source == "me"


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("epochs=1.5", 1.5),
        ("batch_size=4", 4),
        ("learning_rate=1e-5", 1e-5),
        ("freeze_norms=true", True),
        ("freeze_norms=false", False),
        ("precision=bfloat16", "bfloat16"),
        ("dropout=0.3", 0.3),
        ("dropout=none", None),
        ("head_bias_rate_factor=None", None),
        ("short_sides=224, 340", (224, 340)),
        ("short_sides=[224, 340]", (224, 340)),
        ("crop_areas=0.5,1", (0.5, 1.0)),
        ("note=none", "none"),
        ("note=a = [b]", "a = [b]"),
    ],
)
def test_options_are_read_by_the_type_of_their_setting(option: str, value: object) -> None:
    key, text = option.split("=", 1)
    found = load_recipe("finetune", {key: text}).flat()[key]
    assert (found, type(found)) == (value, type(value))


def test_pairs_of_labels_as_an_option() -> None:
    pairs = load_recipe("finetune", {"flip": "labels", "flip_pairs": '[["left", "right"]]'}).augmentation.flip_pairs
    assert pairs == (("left", "right"),)


@pytest.mark.parametrize(
    ("overrides", "message", "hint"),
    [
        ({"learning_rat": "1"}, "recipe finetune: unknown key 'learning_rat'", "did you mean learning_rate?"),
        ({"base": "finetune"}, "recipe finetune: unknown key 'base'", ""),
        ({"epochs": "ten"}, 'recipe finetune: epochs has the wrong type or value, got "ten"', ""),
        ({"epochs": "nan"}, "recipe finetune: epochs is nan, expected a number above 0", ""),
        ({"epochs": None}, "recipe finetune: epochs has the wrong type or value, got null", ""),
        ({"epochs": True}, "recipe finetune: epochs has the wrong type or value, got true", ""),
        ({"epochs": 0.5}, "warmup_epochs is 0.5, expected less than the 0.5 epochs of the run (0 is no warm-up)", ""),
        ({"batch_size": "1.5"}, "batch_size has the wrong type or value, got 1.5", ""),
        ({"batch_size": 2.0}, "batch_size has the wrong type or value, got 2.0", ""),
        ({"batch_size": 0}, "batch_size is 0, expected 1 or more", ""),
        ({"accumulate": 3}, "accumulate is 3, expected a divisor of the batch size, 16", ""),
        ({"freeze_norms": "yes"}, 'freeze_norms has the wrong type or value, got "yes"', ""),
        ({"optimizer": "adam"}, "optimizer has the wrong type or value, got \"adam\" (input should be 'sgd' or", ""),
        ({"schedule": "cosine_v2"}, 'schedule has the wrong type or value, got "cosine_v2"', ""),
        ({"crop": "centre"}, "crop has the wrong type or value, got \"centre\" (input should be 'jitter' or", ""),
        ({"flip": "vertical"}, 'flip has the wrong type or value, got "vertical"', ""),
        ({"dropout": "1"}, "dropout is 1.0, expected 0 or more, and below 1", ""),
        ({"dropout": "some"}, 'dropout has the wrong type or value, got "some"', ""),
        ({"learning_rate": -1}, "recipe finetune: learning_rate is -1.0, expected a number above 0", ""),
        ({"short_sides": "224"}, "short_sides has the wrong type or value, got 224", ""),
        ({"short_sides": "1.5, 2"}, "short_sides.0 has the wrong type or value, got 1.5", ""),
        ({"crop_areas": "0.1; 1"}, 'crop_areas has the wrong type or value, got "0.1; 1"', ""),
        ({"flip_pairs": '["left", "right"]'}, "flip_pairs.0 has the wrong type or value", ""),
        ({"flip": "labels"}, "recipe finetune: flip 'labels' with 0 pairs", ""),
        ({"crop_size": 300, "short_sides": "224, 340"}, "recipe finetune: a crop of 300 does not fit", ""),
        ({"seed": -1}, "seed is -1, expected 0 or more", ""),
        ({"epochs": object()}, "recipe finetune: epochs has the wrong type or value", ""),
    ],
)
def test_options_that_cannot_be_meant(overrides: dict[str, object], message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_recipe("finetune", overrides)
    assert message in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (MINIMAL + "epoch = 3\n", "mine.toml: unknown key 'epoch'", "did you mean epochs?"),
        (MINIMAL.replace("epochs = 1\n", ""), "mine.toml: epochs not given", 'base = "finetune"'),
        (MINIMAL.replace("0.1", '"0.1"'), 'mine.toml: learning_rate has the wrong type or value, got "0.1"', ""),
        (MINIMAL.replace("epochs = 1", "epochs = 2024-01-01"), "mine.toml: epochs has the wrong type or value", ""),
        (MINIMAL + "[augmentation]\ncrop_size = 3\n", "mine.toml: unknown key 'augmentation'", ""),
        (MINIMAL + "epochs = 3\n", "mine.toml is not a TOML file", ""),
        ("\x00", "mine.toml is not a TOML file", ""),
        ('base = "finetuna"\n', "mine.toml: base is 'finetuna', which is not a known recipe", "did you mean finetune?"),
        ("base = 3\n", "mine.toml: base is 3", "finetune"),
    ],
)
def test_files_that_cannot_be_meant(tmp_path: Path, text: str, message: str, hint: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(UsageError) as caught:
        load_recipe(file)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_a_file_needs_no_base_and_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(MINIMAL, encoding="utf-8-sig")
    optimisation = Optimisation(optimizer="sgd", learning_rate=0.1, weight_decay=0, schedule="constant")
    assert load_recipe(file) == Recipe(epochs=1, batch_size=2, optimisation=optimisation)


def test_recipes_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown recipe 'tada2d_r50\.k400'") as caught:
        load_recipe("tada2d_r50.k400")
    assert "did you mean tada2d_r50.k400_" in caught.value.hint
    with pytest.raises(UsageError, match=r"there is no recipe file .*mine\.toml"):
        load_recipe(tmp_path / "mine.toml")
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(UsageError, match=r"recipe file .*folder\.toml cannot be read"):
        load_recipe(tmp_path / "folder.toml")


@pytest.mark.parametrize(
    ("model", "init", "name"),
    [
        ("r2plus1d_tiny.camera_motion", "weights", "finetune_small"),
        ("r2plus1d_tiny", "random", "from_scratch_small"),
        ("tada2d_r50.k400_8x8", "weights", "finetune"),
        ("tada2d_r50", "random", "finetune"),
    ],
)
def test_a_recipe_that_nobody_named_suits_the_network(model: str, init: Init, name: str) -> None:
    choice = default_recipe(model, init=init)
    assert choice.name == name
    assert "million parameters" in choice.reason
    assert load_recipe(choice.name).optimisation.learning_rate == (1e-4 if name == "finetune" else 2e-3)
