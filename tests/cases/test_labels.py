"""Annotations of kinds that were once read wrongly, as they came; what each must give stands in `truth.csv`."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tadacli.datasets.annotations import read_annotations
from tadacli.datasets.label_table import label_table
from tadacli.errors import UsageError
from tadacli.training.data import FinetuneData, check_finetune_data, load_finetune_data
from tadacli.zoo import DEFAULT_MODEL
from tadacli.zoo.manifest import manifest
from tests.media import shared_folder


def load(
    name: str,
    *,
    tier: Sequence[str] | None = None,
    train_split: str | None = None,
    multi_label: bool | None = None,
) -> FinetuneData:
    folder = shared_folder() / "cases"
    if not folder.is_dir():
        pytest.skip(f"the cases are not at {folder}")
    videos = folder / "eaf/videos"
    return load_finetune_data(
        folder / name, data_root=videos, tier=tier, train_split=train_split, multi_label=multi_label
    )


def spans(data: FinetuneData) -> set[tuple[str, float | None, float | None]]:
    """(label, start, end) of all samples."""
    return {
        (split.names_of(each)[""], each.start_seconds, each.end_seconds)
        for split in (data.train, data.validation)
        for each in split.samples
    }


def num_samples(data: FinetuneData) -> int:
    assert all(sample.path is not None for split in (data.train, data.validation) for sample in split.samples)
    return len(data.train.samples) + len(data.validation.samples)


SIXTEEN = {("walk", 0.0, 3.0), ("fall", 3.5, 6.0), ("walk", 6.5, 9.0), ("fall", 9.5, 12.0)}


@pytest.mark.parametrize("name", ["start_sec", "case", "winpath", "tab", "sep_line", "spaces", "trailing", "bom_crlf"])
def test_tables_of_sixteen_segments(name: str) -> None:
    data = load(f"csv/{name}.csv")
    assert num_samples(data) == 16
    assert spans(data) == SIXTEEN


@pytest.mark.parametrize("name", ["onestop", "one_onset"])
def test_tables_of_one_second_each(name: str) -> None:
    data = load(f"csv/{name}.csv")
    assert num_samples(data) == 4
    assert spans(data) == {("walk", 1.0, 2.0), ("fall", 1.0, 2.0)}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("csv/latin1.csv", r"latin1\.csv is not UTF-8 text \(byte 33, line 2\)"),
        ("eaf/parent2", r"several tiers .*'action' \(24\), 'event' \(24\)"),
        ("eaf/own2", r"several tiers .*'fall' \(2\), 'reviewer notes' \(2\), 'walk' \(2\)"),
        ("annotations/anet_empty.json", r"anet_empty\.json has no annotations"),
        ("annotations/onlyref.eaf", r"onlyref\.eaf has several tiers .*'action' \(6\), 'event' \(6\)"),
    ],
)
def test_what_is_refused_by_name(name: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        load(name)


def test_two_labels_of_one_span_are_taken_as_such_or_refused_with_the_rows() -> None:
    data = load("csv/multilabel.csv")
    assert data.multi_label
    assert any("several labels" in remark for remark in data.remarks), data.remarks
    with pytest.raises(UsageError, match=r"line 2 \('walk'\) and line 3 \('fall'\), line 6"):
        load("csv/multilabel.csv", multi_label=False)


def test_times_beyond_the_video_are_an_error_with_rows_and_lengths() -> None:
    data = load("csv/ms.csv")
    spec = manifest()[DEFAULT_MODEL]
    with pytest.raises(UsageError, match=r"the video lasts 13\.00 s\) at line 3") as failed:
        check_finetune_data(data, input_spec=spec.input, workers=1)
    assert "start_ms" in failed.value.hint


def test_child_tiers_and_slots_without_times() -> None:
    data = load("eaf/sym", tier=["action"])
    assert num_samples(data) == 24
    labels = {label for label, _, _ in spans(data)}
    assert labels == {"marche", "tombe"}
    assert ("tombe", 2.0, 4.0) in spans(data)
    data = load("eaf/subdiv")
    assert num_samples(data) == 24
    assert {(start, end) for _, start, end in spans(data)} == {
        (0.0, 1.2),
        (2.4, 3.6),
        (4.8, 6.0),
        (6.0, 7.2),
        (8.4, 9.6),
        (10.8, 12.0),
    }
    assert num_samples(load("eaf/own2", tier=["fall", "walk"])) == 4


def test_splits_by_name() -> None:
    data = load("annotations/thumos_af.json", train_split="Validation")
    assert [len(split.samples) for split in (data.train, data.validation)] == [8, 8]
    assert {sample.video_id for sample in data.train.samples} == {"v0", "v1"}
    assert spans(data) == SIXTEEN
    with pytest.raises(UsageError, match="names the splits test, validation, and none for training") as failed:
        load("annotations/thumos_af.json")
    assert "--train-split" in failed.value.hint


@pytest.mark.parametrize(
    "name",
    [
        "labelstudio.json",
        "proj.boris",
        "boris_tabular.csv",
        "via.json",
        "createml.json",
        "ego4d_moments.json",
        "hacs.json",
    ],
)
def test_files_of_other_programs(name: str) -> None:
    data = load(f"annotations/{name}")
    assert num_samples(data) == 16
    # Label Studio rounds to frames.
    found = {(label, round((start or 0) * 2) / 2, round((end or 0) * 2) / 2) for label, start, end in spans(data)}
    assert found == SIXTEEN


def test_charades_by_numbers() -> None:
    data = load("annotations/charades_i3d.json")
    assert num_samples(data) == 16
    assert spans(data) == {({"walk": "0", "fall": "1"}[label], start, end) for label, start, end in SIXTEEN}
    assert {sample.video_id for sample in data.validation.samples} == {"v2", "v3"}


def test_tracks_of_cvat_become_a_table() -> None:
    folder = shared_folder() / "cases"
    found = read_annotations(folder / "annotations/cvat.xml", data_root=folder / "eaf/videos")
    rows = [line.partition(",")[2] for line in label_table(found).decode().splitlines()]
    assert rows[1:] == ["walk,0.0,3.0", "fall,3.52,6.0", "walk,6.48,9.0", "fall,9.52,12.0"]
