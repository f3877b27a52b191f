"""The card of a fine-tuned model, as a Markdown reader shows it: its facts, and that any text stays text."""

from __future__ import annotations

import platform
import re
import shlex
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token
from torch import nn

from tadacli.datasets.samples import Dataset, Sample
from tadacli.evaluation.calibration import FittedScores
from tadacli.evaluation.report import EvalReport
from tadacli.results import Note, NoteKind
from tadacli.specs import EvalProtocol, InputSpec, ModelSpec
from tadacli.training.data import FinetuneData
from tadacli.training.loop import TrainingSettings
from tadacli.training.model_card import escape_markdown, model_card
from tadacli.training.plan import FinetuneJob
from tadacli.training.recipes import load_recipe, recipe_toml
from tadacli.training.run import FinetuneResult
from tadacli.training.starting_point import HeadChange, StartingPoint
from tadacli.version import __version__
from tests.reports.test_eval_page import head, recognition

LABELS = ("wave", "nod", "bow")
ONE_HEAD = {"": LABELS}
TRAIN, HELD_OUT = {"": (10, 11, 12)}, {"": (3, 3, 2)}
FITTED = FittedScores({"": 1.25}, {"": (0.5, 0.25, 0.75)}, ("Filmed in one room.",))
GREY, SPREAD = (0.45, 0.45, 0.45), (0.225, 0.225, 0.225)
INPUT = InputSpec("interval", 2, 1, 30.0, 32, 32, GREY, SPREAD)
COMMAND = ("tada", "finetune", "--data", "my clips/", "--output", "runs/mine")
NASTY = [
    "a | b",
    "\\",
    "ends with \\",
    "`code`",
    "**bold** _it_ ~~gone~~",
    "<script>alert(1)</script>",
    "[link](http://example.org)",
    "![picture](x.png)",
    "&lt;",
    "# heading",
    "- list",
    "1. list",
    "two\nlines",
    "| --- |",
    "http://example.org/x",
    "www.example.org",
    "person@example.org",
    "```\nfence",
    "\u202eright to left",
    "caf\udce9.mp4",
    "日本語",
    "[x]: y",
    "$x^2$",
]


def side(name: str, heads: Mapping[str, tuple[str, ...]], counts: Mapping[str, Sequence[int]]) -> Dataset:
    """Samples of which each head has so many of each class."""
    by_head = [[index for index, count in enumerate(counts[head]) for _ in range(count)] for head in heads]
    rows = zip(*by_head, strict=True)
    samples = (Sample(f"{name}{at}", None, dict(zip(heads, row, strict=True))) for at, row in enumerate(rows))
    return Dataset("made up", heads, tuple(samples))


def data(
    heads: Mapping[str, tuple[str, ...]] = ONE_HEAD,
    train: Mapping[str, Sequence[int]] = TRAIN,
    validation: Mapping[str, Sequence[int]] = HELD_OUT,
    **changes: Any,
) -> FinetuneData:
    sides = side("train", heads, train), side("held out", heads, validation)
    return replace(FinetuneData("folder", heads, *sides, how_split="by file, seed 3"), **changes)


def card(
    of: FinetuneData | None = None,
    *,
    origin: str = "r2plus1d_tiny.camera_motion",
    origin_sha256: str = "cd" * 32,
    changes: Mapping[str, HeadChange] | None = None,
    fitted: FittedScores = FITTED,
    report: EvalReport | None = None,
    name: str = "mine",
    note: str = "",
    path: str = "runs/mine",
    command: Sequence[str] = COMMAND,
) -> str:
    of = of or data(left_out=("broken.mp4: it cannot be read",))
    changes = changes or {"": HeadChange(("wave",), ("nod", "bow"), ("abseiling",))}
    spec = ModelSpec(name, "tada2d_r50", "action", of.name, INPUT, of.heads, EvalProtocol(1, 1))
    start = StartingPoint(spec, nn.Identity(), origin, origin_sha256, changes)
    recipe = load_recipe("finetune", {"note": note, "seed": 3})
    settings = TrainingSettings(num_steps=1, optimisation=recipe.optimisation)
    result = FinetuneResult(
        report or recognition(split="validation"),
        EvalProtocol(10, 3),
        62.5,
        fitted,
        None,
        best_step=1,
        num_steps=1,
        stopped_early=False,
    )
    job = FinetuneJob(of, start, recipe, settings, evaluate_every=1)
    return model_card(job, result, path=Path(path), weights_sha256="ab" * 32, command=command)


def tokens(text: str) -> list[Token]:
    return MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)


def shown(token: Token) -> str:
    return "".join(
        child.content for child in token.children or [] if child.type in ("text", "text_special", "code_inline")
    )


def tables(text: str) -> list[list[list[str]]]:
    """The cells of every table, by table and row, as they are shown."""
    found: list[list[list[str]]] = []
    cell = False
    for token in tokens(text):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append([])
        elif token.type in ("th_open", "td_open"):
            cell = True
        elif token.type == "inline" and cell:
            found[-1][-1].append(shown(token))
            cell = False
    return found


def lines(text: str) -> list[str]:
    return [shown(token) for token in tokens(text) if token.type == "inline"]


def fences(text: str) -> list[str]:
    return [token.content for token in tokens(text) if token.type == "fence"]


def markup(text: str) -> list[str]:
    """What the text is made of, without what it says."""
    return [
        kind
        for token in tokens(text)
        for kind in (token.type, *(child.type for child in token.children or [] if "text" not in child.type))
    ]


def test_every_fact_is_there() -> None:
    text = card()
    said = lines(text)
    assert said[0] == "mine"
    for fact in (
        "Network: tada2d_r50.",
        f"Weights: sha256 {'ab' * 32}.",
        f"Started from: r2plus1d_tiny.camera_motion, sha256 {'cd' * 32}.",
        "2 new: nod, bow",
        "1 kept: wave",
        "1 dropped: abseiling",
        "folder: 41 of 42 items used.",
        "Split: by file, seed 3.",
        "broken.mp4: it cannot be read.",
        "folder, split validation: 6 of 8 videos scored, 10x3 views of each. Intervals are 95 % bootstrap intervals. "
        "With one view of each, as in the log, top-1 is 62.5 %.",
        "not scored, 1: is damaged",
        "Fitted on validation, one view of each item.",
        "temperature 1.25, by which the logits are divided",
        "The best checkpoint was picked on the same split, so the result is likely too good.",
        "no item in the result: bow",
        "fewer than 10 items in the result: wave, nod",
        "Filmed in one room.",
        f"With tada {__version__}, torch {torch.__version__}, av {av.__version__}, python {platform.python_version()}.",
    ):
        assert fact in said, fact
    assert any("the licence of that (Apache-2.0) stays in force" in line for line in said)
    usage, recipe, command = fences(text)
    assert (usage, command) == ("tada classify --model runs/mine VIDEO\n", shlex.join(COMMAND) + "\n")
    assert recipe == recipe_toml(load_recipe("finetune", {"note": "", "seed": 3}))


def test_the_tables_hold_the_numbers() -> None:
    counts, metrics, classes, thresholds = tables(card())
    assert counts == [
        ["class", "train", "validation"],
        ["wave", "10", "3"],
        ["nod", "11", "3"],
        ["bow", "12", "2"],
        ["all", "33", "8"],
    ]
    assert metrics == [
        ["metric", "value", "interval"],
        ["top1", "50.0 %", "12.5 % to 87.5 %"],
        ["mean_class_accuracy", "50.0 %", ""],
        ["always 'wave', 3 of 6", "50.0 %", ""],
    ]
    assert classes[1:] == [["wave", "2 of 3", "66.7 %"], ["nod", "1 of 3", "33.3 %"], ["bow", "0 of 0", ""]]
    assert thresholds[1:] == [["wave", "0.5000"], ["nod", "0.2500"], ["bow", "0.7500"]]


def test_what_was_not_done_is_not_claimed() -> None:
    text = card(origin="random weights", origin_sha256="", fitted=FittedScores({}, {}, ()))
    said = lines(text)
    assert "Started from: random weights." in said
    assert "Neither a temperature nor thresholds were fitted: a score is no measured probability." in said
    assert not any("derived from" in line for line in said)


def test_an_unknown_licence_is_called_unknown() -> None:
    said = lines(card(origin="other.pyth"))
    assert any(
        "derived from other.pyth, so the licence of that, which is not known here, stays" in each for each in said
    )


def test_two_heads_each_have_their_tables() -> None:
    heads = {"verb": ("take", "put"), "noun": ("cup",)}
    changes = {head: HeadChange((), labels, ()) for head, labels in heads.items()}
    results = {"verb": head(["take", "put"], [(0, 0)]), "noun": head(["cup"], [(0, 0)])}
    of = data(heads, {"verb": (1, 2), "noun": (3,)}, {"verb": (1, 0), "noun": (1,)})
    text = card(of, changes=changes, fitted=FittedScores({"verb": 2.0}, {}, ()), report=recognition(heads=results))
    assert [table[0] for table in tables(text)] == [
        ["verb", "train", "validation"],
        ["noun", "train", "validation"],
        ["metric", "value", "interval"],
        ["verb", "right", "accuracy"],
        ["noun", "right", "accuracy"],
    ]
    assert "verb: temperature 2, by which the logits are divided" in lines(text)
    assert "noun: 1 class." in lines(text)


def test_very_many_classes_are_told_in_a_few_lines() -> None:
    labels = tuple(f"class {number}" for number in range(400))
    thresholds = tuple(0.75 if number == 7 else 0.25 for number in range(400))
    of = data({"": labels}, {"": [number % 3 for number in range(400)]}, {"": [1] * 400})
    result = head(labels, [(number, number) for number in range(300)])
    changes = {"": HeadChange((), labels, ())}
    fitted = FittedScores({}, {"": thresholds}, ())
    text = card(of, changes=changes, fitted=fitted, report=recognition(heads={"": result}))
    assert tables(text)[0][1:] == [
        ["fewest in a class", "0", "1"],
        ["most in a class", "2", "1"],
        ["all", "399", "400"],
    ]
    assert "400 thresholds, 0.2500 to 0.7500." in lines(text)
    assert any(
        line.startswith("400 new: class 0, class 1, ") and line.endswith(" and 380 more") for line in lines(text)
    )
    assert len(text) < 10_000


def as_shown(text: str) -> str:
    """One line with the characters that cannot be seen as their escapes."""
    return "".join(each if each.isprintable() else f"\\u{ord(each):04x}" for each in " ".join(text.split()))


@pytest.mark.parametrize("text", NASTY)
def test_any_text_stays_text_and_opens_nothing(text: str) -> None:
    def with_text(label: str) -> str:
        of = data(
            {"": (label, "b")},
            {"": (1, 2)},
            {"": (1, 1)},
            name=label,
            how_split=label,
            remarks=(label,),
            left_out=(label,),
        )
        report = recognition(
            dataset=label,
            split=label,
            unit=label,
            heads={"": head([label, "b"], [(0, 0)])},
            notes=(Note(NoteKind.MEASURE, label),),
        )
        return card(
            of,
            name=label,
            origin=label,
            changes={"": HeadChange((label,), ("b",), (label,))},
            fitted=FittedScores({"": 1.0}, {"": (0.5, 0.5)}, (label,)),
            report=report,
        )

    page = with_text(text)
    assert markup(page) == markup(with_text("plain"))
    assert tables(page)[0][1] == [as_shown(text), "1", "1"]
    assert lines(page)[0] == as_shown(text)
    page.encode()


@given(st.text(min_size=1).filter(lambda text: text.strip() and text.isprintable()))
@example("1) a")
@example("+")
@example("=")
@example("a*b*c")
@example("(__a b__)")
@example("12. a")
@example("---")
def test_escaped_text_is_shown_as_it_was(text: str) -> None:
    (line,) = lines(escape_markdown(text)) or [""]
    assert line == as_shown(text)
    assert lines(f"| a |\n| --- |\n| {escape_markdown(text)} |\n") == ["a", as_shown(text)]


@pytest.mark.parametrize("text", ["```", "a\n````\n# no heading", "~~~"])
def test_nothing_ends_a_block_of_code(text: str) -> None:
    page = card(note=text, command=("tada", text), path=text)
    assert markup(page) == markup(card())
    usage, recipe, command = fences(page)
    assert shlex.split(usage)[3] == text
    assert tomllib.loads(recipe)["note"] == text
    assert shlex.split(command) == ["tada", text]


@pytest.mark.parametrize("text", ["http://example.org", "https://example.org", "www.example.org", "a@example.org"])
def test_no_plain_address_becomes_a_link(text: str) -> None:
    # What GitHub makes links of, by the rules of its Markdown.
    assert not re.search(r"https?://|www\.|\w@\w", escape_markdown(text))


def test_the_same_facts_give_the_same_text() -> None:
    assert card() == card()
    assert card().endswith("\n")
