"""Something-Something V2: official pairs, the variant with labels, and what does not agree."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tadacli.datasets.ssv2 import load_ssv2
from tadacli.errors import UsageError
from tadacli.specs import label_list

LABELS = {"Closing something": "0", "Holding something": "1", "Holding something next to something": "2"}
HOLDING = {"id": "78687", "label": "holding a mug", "template": "Holding [something]", "placeholders": ["mug"]}
NEXT_TO = {**HOLDING, "id": "7", "template": "Holding [something] next to [something]"}
OLD, NEW, MARKED = (
    f"{name}.json"
    for name in ("something-something-v2-validation", "validation", "something-something-v2-validation-with-label")
)


def put(folder: Path, name: str, value: Any) -> None:
    (folder / name).write_text(json.dumps(value))


@pytest.mark.parametrize("prefix", ["something-something-v2-", ""])
@pytest.mark.parametrize("suffix", [".webm", ".mp4"])
def test_official_pair_under_both_namings(tmp_path: Path, prefix: str, suffix: str) -> None:
    put(tmp_path, f"{prefix}labels.json", LABELS)
    put(tmp_path, f"{prefix}validation.json", [HOLDING, NEXT_TO])
    (tmp_path / f"7{suffix}").write_bytes(b"")
    data = load_ssv2(tmp_path, data_root=tmp_path)
    assert [(sample.id, sample.labels[""], sample.path) for sample in data.samples] == [
        ("78687", 1, None),
        ("7", 2, tmp_path / f"7{suffix}"),
    ]
    assert data.heads == {"": tuple(LABELS)}
    assert tuple(map(str, data.notes)) == ("1 of 2 samples have no video file",)


def test_the_original_is_preferred_to_a_copy(tmp_path: Path) -> None:
    put(tmp_path, NEW, [HOLDING])
    for suffix in (".mp4", ".webm"):
        (tmp_path / f"78687{suffix}").write_bytes(b"")
    assert load_ssv2(tmp_path, data_root=tmp_path).samples[0].path == tmp_path / "78687.webm"


def test_without_the_label_file_the_published_classes_are_used(tmp_path: Path) -> None:
    put(tmp_path, OLD, [HOLDING])
    data = load_ssv2(tmp_path / OLD)
    assert data.heads == {"": label_list("ssv2")}
    assert data.names_of(data.samples[0]) == {"": "Holding something"}


def test_the_variant_with_labels_alone(tmp_path: Path) -> None:
    put(
        tmp_path,
        MARKED,
        [{"id": "1", "label_idx": 173}, {**HOLDING, "label_idx": label_list("ssv2").index("Holding something")}],
    )
    holding = label_list("ssv2").index("Holding something")
    assert [sample.labels[""] for sample in load_ssv2(tmp_path).samples] == [173, holding]


@pytest.mark.parametrize(
    ("name", "entries", "said", "why"),
    [
        (MARKED, [{**HOLDING, "label_idx": 0}], "label_idx is 0", "index and template disagree"),
        (MARKED, [{**HOLDING, "label_idx": "1"}], "label_idx is '1'", "an index that is text"),
        (MARKED, [{"id": "1", "label_idx": 3}], "label_idx is 3", "no such class"),
        (NEW, [{**HOLDING, "template": "Eating [something]"}], "'Eating [something]'", "no such template"),
        (NEW, [{**HOLDING, "id": 78687}], "id is 78687", "an id that is a number"),
        (NEW, [{"id": "1", "label": "holding a mug"}], "sentence", "a sentence is no class"),
        (NEW, {"78687": "Holding something"}, "not a list", "another form"),
        (NEW, [], "not a list", "nothing in it"),
    ],
)
def test_entries_that_are_not_so_are_named(tmp_path: Path, name: str, entries: Any, said: str, why: str) -> None:
    put(tmp_path, "labels.json", LABELS)
    put(tmp_path, name, entries)
    with pytest.raises(UsageError) as caught:
        load_ssv2(tmp_path)
    assert name in caught.value.message, why
    assert said in caught.value.message


@pytest.mark.parametrize("labels", [{"a": "0", "b": "2"}, {"a": "0", "b": "0"}, ["a", "b"], {"a": "x"}])
def test_a_label_file_must_number_its_classes(tmp_path: Path, labels: Any) -> None:
    put(tmp_path, "labels.json", labels)
    put(tmp_path, NEW, [HOLDING])
    with pytest.raises(UsageError, match=r"labels\.json"):
        load_ssv2(tmp_path)


def test_both_variants_must_agree(tmp_path: Path) -> None:
    put(tmp_path, "labels.json", LABELS)
    put(tmp_path, OLD, [HOLDING, NEXT_TO])
    put(tmp_path, MARKED, [{"id": "78687", "label_idx": 1}, {"id": "7", "label_idx": 2}])
    assert len(load_ssv2(tmp_path).samples) == 2
    put(tmp_path, MARKED, [{"id": "78687", "label_idx": 1}, {"id": "7", "label_idx": 1}])
    with pytest.raises(UsageError, match="video 7 has class 1; by the official file it is class 2"):
        load_ssv2(tmp_path)


def test_the_test_split_has_labels_only_with_its_answers(tmp_path: Path) -> None:
    put(tmp_path, "labels.json", LABELS)
    put(tmp_path, "test.json", [{"id": "1"}, {"id": "2"}])
    assert str(load_ssv2(tmp_path, split="test").notes[-1]) == "2 of 2 samples have no label"
    (tmp_path / "test-answers.csv").write_text("1;Holding something\n2;Closing [something]\n")
    assert [sample.labels for sample in load_ssv2(tmp_path, split="test").samples] == [{"": 1}, {"": 0}]
    (tmp_path / "test-answers.csv").write_text("1;Holding something\n2,Closing something\n")
    with pytest.raises(UsageError, match=r"test-answers\.csv, line 2"):
        load_ssv2(tmp_path, split="test")
