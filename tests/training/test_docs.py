"""docs/finetune.md says what recipes, settings and folders are."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest

from tadacli.datasets import FinetuneDatasetName
from tadacli.training.data import load_finetune_data
from tadacli.training.recipes import load_recipe
from tadacli.training.run_folder import RunFolder, write_splits
from tadacli.training.settings import Augmentation, Optimisation, Recipe

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "finetune.md").read_text(encoding="utf-8")


def table(header: str) -> dict[str, list[str]]:
    """The cells of the table whose first column is called so, by that column without its backticks."""
    rows = re.search(rf"^\| {re.escape(header)} \|.*\n\|[- |]+\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    assert rows is not None, header
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in rows[1].splitlines()]
    assert len({row[0] for row in cells}) == len(cells), "a row is there twice"
    return {row[0].strip("`"): row[1:] for row in cells}


def test_every_setting_is_told_with_its_default_and_choices() -> None:
    told, parts = table("setting"), {"optimisation": Optimisation, "augmentation": Augmentation}
    kinds = {key: kind for part in (Recipe, *parts.values()) for key, kind in get_type_hints(part).items()}
    settings = [field for part in (Recipe, *parts.values()) for field in dataclasses.fields(part)]
    settings = [field for field in settings if field.name not in parts]
    assert list(told) == [field.name for field in settings]
    for field in settings:
        default, meaning = told[field.name]
        if field.default is dataclasses.MISSING:
            assert default == "-", field.name
        elif field.default is None:
            assert default == "none", field.name
        else:
            value = tomllib.loads(f"value = {default.strip('`')}")["value"]
            assert _frozen(value) == field.default, field.name
            assert type(_frozen(value)) is type(field.default), field.name
        if get_origin(kinds[field.name]) is Literal:
            assert all(f"`{choice}`" in meaning for choice in get_args(kinds[field.name])), field.name


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def test_every_recipe_is_told_with_its_figures() -> None:
    told = table("recipe")
    text = resources.files("tadacli").joinpath("training", "recipes.toml").read_text(encoding="utf-8")
    assert list(told) == list(tomllib.loads(text))
    for name, (epochs, batch, optimizer, rate, source) in told.items():
        recipe = load_recipe(name)
        found = (recipe.epochs, recipe.batch_size, recipe.optimisation.optimizer, recipe.optimisation.learning_rate)
        assert (float(epochs), int(batch), optimizer, float(rate)) == found, name
        assert source.split(",")[0] == recipe.source.split(",")[0], name


def test_every_file_of_a_run_is_told() -> None:
    files = {name for cell in table("file") for name in re.findall(r"[\w.]+\.\w+", cell)}
    folder = RunFolder(Path("run"))
    assert files == {path.name for name, path in vars(folder).items() if name != "path"}


def test_every_data_set_is_told() -> None:
    names = set(get_args(FinetuneDatasetName))
    told = PAGE[PAGE.index("`--dataset`") :].partition("\n\n")[0]
    assert all(f"`{name}`" in told for name in names)


def test_the_split_of_a_run_can_be_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for label in ("run", "fall"):
        Path("clips", label).mkdir(parents=True)
        for number in range(6):
            Path("clips", label, f"{number}.mp4").touch()
    data = load_finetune_data("clips", seed=3)
    folder = RunFolder(tmp_path / "runs")
    folder.path.mkdir()
    write_splits(folder, {"train": data.train, "validation": data.validation})
    again = load_finetune_data("runs/splits.csv", data_root=".")
    assert again.heads == data.heads
    for before, now in ((data.train, again.train), (data.validation, again.validation)):
        assert [(each.path, each.labels) for each in now.samples] == [
            (each.path, each.labels) for each in before.samples
        ]
