"""The table of models says what the manifest, the networks and the built-in model's card say."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from benchmarks.published_table import BEGIN, CARD, END, PAGE, between, num_parameters, table
from tadacli.models import BUILDERS, build
from tadacli.zoo.loading import usable_models

MODELS = usable_models()
BUILT_IN = "r2plus1d_tiny.camera_motion"
MODEL_CARD = CARD.read_text(encoding="utf-8")


def cells(text: str) -> dict[str, dict[str, str]]:
    """The table's cells by model and column."""
    header, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    return {row[0].strip("`"): dict(zip(header[1:], row[1:], strict=True)) for row in rows}


def test_the_table_on_the_page_is_the_generated_one() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert (text.count(BEGIN), text.count(END)) == (1, 1)
    before, inside, behind = between(text)
    assert inside == table(MODELS, MODEL_CARD)
    assert before + inside + behind == text


def test_every_model_that_can_be_used_is_in_it_with_the_figures_of_its_authors() -> None:
    found = cells(table(MODELS, MODEL_CARD))
    assert list(found) == list(MODELS)
    for name, spec in MODELS.items():
        stated = {key: found[name][column] for key, column in (("top1", "top-1"), ("top5", "top-5"))}
        assert {key: float(figure) for key, figure in stated.items() if figure != "-"} == spec.published, name
        assert found[name]["views"] == f"{spec.protocol.num_clips}x{spec.protocol.num_crops}"


def test_only_what_was_measured_here_is_called_so() -> None:
    found = cells(table(MODELS, MODEL_CARD))
    assert found.pop(BUILT_IN)["measured here"] == "97.2 top-1 (ours), 1,500 clips"
    assert {row["measured here"] for row in found.values()} == {"-"}


def test_every_network_that_can_be_built_is_named() -> None:
    (told,) = [part for part in PAGE.read_text(encoding="utf-8").split("\n\n") if part.startswith("`build` knows")]
    assert re.findall(r"`(\w+)`", told)[1:] == list(BUILDERS)


def test_the_measured_figure_follows_the_card() -> None:
    (only,) = cells(table({BUILT_IN: MODELS[BUILT_IN]}, MODEL_CARD.replace("97.2 % of 1500", "91.7 % of 900"))).values()
    assert only["measured here"] == "91.7 top-1 (ours), 900 clips"
    with pytest.raises(ValueError, match="does not state"):
        table({BUILT_IN: MODELS[BUILT_IN]}, "# another card")


def test_the_published_figures_follow_the_manifest() -> None:
    name = "tada2d_r50.k400_8x8"
    changed = replace(MODELS[name], published={"top1": 12.0})
    row = cells(table({name: changed}, MODEL_CARD))[name]
    assert (row["top-1"], row["top-5"]) == ("12.0", "-")


def test_parameters_are_those_of_the_networks() -> None:
    # Counted with the published code, in millions.
    published = {"tada2d_r50.k400_8x8": 27.485, "tada2d_r50.ssv2_8f": 27.022, "tada2d_r50.ssv2_16f": 27.022}
    for name, millions in published.items():
        assert num_parameters(MODELS[name]) / 1e6 == pytest.approx(millions, abs=0.0005)
    built_in = build(MODELS[BUILT_IN].architecture, num_classes=9)
    assert num_parameters(MODELS[BUILT_IN]) == sum(each.numel() for each in built_in.parameters())
    assert f"{num_parameters(MODELS[BUILT_IN]):,} parameters" in MODEL_CARD


def test_the_page_corrects_the_figure_that_is_called_epic_kitchens_accuracy() -> None:
    parts = [part for part in PAGE.read_text(encoding="utf-8").split("\n\n") if "32.3" in part]
    assert all("HACS" in part for part in parts)
    (correction,) = [part for part in parts if "acc@1" in part]
    assert all(word in correction for word in ("mAP", "13.18"))
