"""The card of a fine-tuned model, as a Markdown reader shows it: its facts, and that any text stays text."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from tadacli.training.model_card import (
    FinetunedModel,
    HeadClasses,
    Origin,
    TrainingData,
    escape_markdown,
    model_card,
)
from tests.reports.test_eval_page import head, recognition

LABELS = ("wave", "nod", "bow")
RECIPE = 'optimizer = "sgd"\nlearning_rate = 0.01\nseed = 3\n'
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


def card(**changes: Any) -> FinetunedModel:
    counts = {"train": {"": (10, 11, 12)}, "validation": {"": (3, 3, 2)}}
    model = FinetunedModel(
        name="mine",
        path="runs/mine",
        weights_sha256="ab" * 32,
        architecture="tada2d_r50",
        origin=Origin("tada2d_r50.k400_8x8", "cd" * 32, "Apache-2.0"),
        heads={"": HeadClasses(LABELS, ("wave",), ("nod", "bow"), ("abseiling",), 1.25, {"wave": 0.5, "nod": 0.25})},
        data=TrainingData("folder", counts, "by file, seed 3", 41, 43, ("2 of 43 files cannot be read",)),
        recipe_toml=RECIPE,
        command=COMMAND,
        versions={"tada": "0.1", "torch": "2.15"},
        evaluation=recognition(split="validation"),
        selected_on="validation",
        fitted_on="the validation split, 8 videos",
        limits=("Filmed in one room.",),
    )
    return replace(model, **changes)


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
    text = model_card(card())
    said = lines(text)
    assert said[0] == "mine"
    for fact in (
        "Network: tada2d_r50.",
        f"Weights: sha256 {'ab' * 32}.",
        f"Started from: tada2d_r50.k400_8x8, sha256 {'cd' * 32}.",
        "2 new: nod, bow",
        "1 kept: wave",
        "1 dropped: abseiling",
        "folder: 41 of 43 items used.",
        "Split: by file, seed 3.",
        "2 of 43 files cannot be read.",
        "folder, split validation: 6 of 8 videos scored. Intervals are 95 % bootstrap intervals.",
        "not scored, 1: is damaged",
        "Fitted on the validation split, 8 videos.",
        "temperature 1.25, by which the logits are divided",
        "The best checkpoint was picked on the same split, so the result is likely too good.",
        "no item in the result: bow",
        "fewer than 10 items in the result: wave, nod",
        "Filmed in one room.",
        "With tada 0.1, torch 2.15.",
    ):
        assert fact in said, fact
    assert any("the licence of that (Apache-2.0) stays in force" in line for line in said)
    assert fences(text) == ["tada classify --model runs/mine VIDEO\n", RECIPE, shlex.join(COMMAND) + "\n"]


def test_the_tables_hold_the_numbers() -> None:
    counts, metrics, classes, thresholds = tables(model_card(card()))
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
    ]
    assert classes[1:] == [["wave", "2 of 3", "66.7 %"], ["nod", "1 of 3", "33.3 %"], ["bow", "0 of 0", ""]]
    assert thresholds[1:] == [["wave", "0.5000"], ["nod", "0.2500"]]


def test_what_was_not_done_is_not_claimed() -> None:
    heads = {"": HeadClasses(LABELS, new=LABELS)}
    text = model_card(card(origin=None, heads=heads, evaluation=None, selected_on="", fitted_on=""))
    said = lines(text)
    assert "Started from: random weights." in said
    assert "It was not evaluated on a held-out split." in said
    assert "How good it is, is not known." in said
    assert "Neither a temperature nor thresholds were fitted: a score is no measured probability." in said
    assert not any("Intervals" in line or "derived from" in line or "picked" in line for line in said)


@pytest.mark.parametrize(("selected_on", "says_so"), [("validation", True), ("train", False), ("", False)])
def test_a_result_on_the_split_that_was_picked_on_says_so(selected_on: str, says_so: bool) -> None:
    assert ("picked on the same split" in model_card(card(selected_on=selected_on))) is says_so


def test_an_unknown_licence_is_called_unknown() -> None:
    said = lines(model_card(card(origin=Origin("other.pyth", "ef" * 32))))
    assert any(
        "derived from other.pyth, so the licence of that, which is not known here, stays" in each for each in said
    )


def test_two_heads_each_have_their_tables() -> None:
    heads = {"verb": HeadClasses(("take", "put"), temperature=2.0), "noun": HeadClasses(("cup",))}
    results = {"verb": head(["take", "put"], [(0, 0)]), "noun": head(["cup"], [(0, 0)])}
    data = TrainingData("ek100", {"train": {"verb": (1, 2), "noun": (3,)}}, "as published", 3, 3)
    text = model_card(card(heads=heads, data=data, evaluation=recognition(heads=results)))
    assert [table[0] for table in tables(text)] == [
        ["verb", "train"],
        ["noun", "train"],
        ["metric", "value", "interval"],
        ["verb", "right", "accuracy"],
        ["noun", "right", "accuracy"],
    ]
    assert "verb: temperature 2, by which the logits are divided" in lines(text)
    assert "noun: 1 class." in lines(text)


def test_very_many_classes_are_told_in_a_few_lines() -> None:
    labels = tuple(f"class {number}" for number in range(400))
    thresholds = dict.fromkeys(labels, 0.25) | {"class 7": 0.75}
    data = TrainingData("folder", {"train": {"": range(400)}}, "by file", 1, 1)
    heads = {"": HeadClasses(labels, new=labels, thresholds=thresholds)}
    result = head(labels, [(number, number) for number in range(300)])
    text = model_card(card(heads=heads, data=data, evaluation=recognition(heads={"": result})))
    assert tables(text)[0][1:] == [["fewest in a class", "0"], ["most in a class", "399"], ["all", "79800"]]
    assert "400 thresholds, 0.2500 to 0.7500." in lines(text)
    assert any(
        line.startswith("400 new: class 0, class 1, ") and line.endswith(" and 380 more") for line in lines(text)
    )
    assert len(text) < 5000


def test_counts_of_other_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="3 classes"):
        model_card(card(data=TrainingData("folder", {"train": {"": (1, 2)}}, "by file", 3, 3)))


def as_shown(text: str) -> str:
    """One line with the characters that cannot be seen as their escapes."""
    return "".join(each if each.isprintable() else f"\\u{ord(each):04x}" for each in " ".join(text.split()))


@pytest.mark.parametrize("text", NASTY)
def test_any_text_stays_text_and_opens_nothing(text: str) -> None:
    def with_text(label: str) -> str:
        return model_card(
            card(
                name=label,
                origin=Origin(label, "cd" * 32, label),
                heads={"": HeadClasses((label, "b"), (label,), ("b",), (label,), 1.0, {label: 0.5})},
                data=TrainingData(label, {label: {"": (1, 2)}}, label, 1, 1, (label,)),
                versions={label: label},
                evaluation=recognition(
                    dataset=label, split=label, unit=label, heads={"": head([label, "b"], [(0, 0)])}, notes=(label,)
                ),
                limits=(label,),
                fitted_on=label,
            )
        )

    page = with_text(text)
    assert markup(page) == markup(with_text("plain"))
    assert tables(page)[0][1] == [as_shown(text), "1"]
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
    page = model_card(card(recipe_toml=f'name = """{text}"""\n', command=("tada", text), path=text))
    assert markup(page) == markup(model_card(card()))
    usage, recipe, command = fences(page)
    assert shlex.split(usage)[3] == text
    assert recipe == f'name = """{text}"""\n'
    assert shlex.split(command) == ["tada", text]


@pytest.mark.parametrize("text", ["http://example.org", "https://example.org", "www.example.org", "a@example.org"])
def test_no_plain_address_becomes_a_link(text: str) -> None:
    # What GitHub makes links of, by the rules of its Markdown.
    assert not re.search(r"https?://|www\.|\w@\w", escape_markdown(text))


def test_the_same_facts_give_the_same_text() -> None:
    assert model_card(card()) == model_card(card())
    assert model_card(card()).endswith("\n")
