"""Any data set by its name: each is read as its own reader does, splits have one spelling, and what lacks is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tadacli.datasets import DatasetName
from tadacli.datasets.epic import load_epic
from tadacli.datasets.folder import load_folder
from tadacli.datasets.kinetics import load_kinetics
from tadacli.datasets.loading import DatasetSource, load_csv, load_dataset, load_splits, usual_spelling
from tadacli.datasets.samples import Dataset
from tadacli.datasets.ssv2 import load_ssv2
from tadacli.datasets.ucf_hmdb import load_hmdb51, load_ucf101
from tadacli.errors import UsageError
from tadacli.specs import label_list
from tests.media import shared_folder

EPIC = (
    "narration_id,participant_id,video_id,start_timestamp,stop_timestamp,verb_class,noun_class\n"
    "{0}_1,P01,{0},00:00:01.00,00:00:02.00,0,1\n"
)


def write(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def ids(dataset: Dataset) -> list[str]:
    return [sample.id for sample in dataset.samples]


@pytest.fixture
def annotations(tmp_path: Path) -> Path:
    """A folder for each data set, with a sample or two in each split."""
    folder = tmp_path / "annotations"
    for split, clip in (("train", "t"), ("val", "v")):
        header = "label,youtube_id,time_start,time_end,split\n"
        write(folder / f"k400/kinetics-400_{split}.csv", f"{header}abseiling,{clip},1,11,{split}\n")
    template = label_list("ssv2")[3]
    for split in ("train", "validation"):
        entry = {"id": f"1{len(split)}", "template": template, "label": "a sentence"}
        write(folder / f"ssv2/something-something-v2-{split}.json", json.dumps([entry]))
    write(folder / "ek100/EPIC_100_train.csv", EPIC.format("P01_01"))
    write(folder / "ek100/EPIC_100_validation.csv", EPIC.format("P01_11"))
    write(folder / "ucf101/classInd.txt", "1 Archery\n2 Biking\n")
    write(folder / "ucf101/trainlist01.txt", "Archery/a.avi 1\nBiking/b.avi 2\n")
    write(folder / "ucf101/testlist01.txt", "Biking/c.avi\n")
    write(folder / "hmdb51/catch_test_split1.txt", "a.avi 1\nb.avi 2\n")
    write(folder / "own/own.csv", "path,label,split\na.mp4,run,train\nb.mp4,jump,val\n")
    return folder


READERS = {
    "k400": (load_kinetics, "val"),
    "ssv2": (load_ssv2, "validation"),
    "ek100": (load_epic, "validation"),
    "ucf101": (load_ucf101, "test"),
    "hmdb51": (load_hmdb51, "test"),
}


@pytest.mark.parametrize("name", READERS)
def test_the_usual_split_is_what_results_are_given_for(annotations: Path, name: DatasetName) -> None:
    read, split = READERS[name]
    given = annotations / name
    usual = load_dataset(DatasetSource(name, annotations=given))
    expected = read(given, split=split)  # type: ignore[operator]
    assert (usual.samples, usual.heads) == (expected.samples, expected.heads)
    assert len(usual.samples) == 1
    assert load_dataset(DatasetSource(name, annotations=given, split=split)).samples == usual.samples
    train = load_dataset(DatasetSource(name, annotations=given, split="training"))
    assert train.samples
    assert not set(ids(train)) & set(ids(usual))
    assert ("fold 1 of 3" in map(str, usual.notes)) == (split == "test")


@pytest.mark.parametrize("name", ["k400", "ssv2", "ek100"])
@pytest.mark.parametrize("split", ["val", "validation", "valid", "validate", " Val "])
def test_validation_has_several_spellings(annotations: Path, name: DatasetName, split: str) -> None:
    found = load_dataset(DatasetSource(name, annotations=annotations / name, split=split))
    assert found == load_dataset(DatasetSource(name, annotations=annotations / name))


def test_the_published_epic_validation_set_has_9668_rows() -> None:
    data = load_dataset(DatasetSource("ek100", annotations=shared_folder() / "ek100", split="val"))
    assert data.num_rows == len(data.samples) == 9668


def test_videos_are_looked_for_in_the_data_root(annotations: Path, tmp_path: Path) -> None:
    video = write(tmp_path / "videos/abseiling/v_000001_000011.mp4")
    data = load_dataset(DatasetSource("k400", annotations=annotations / "k400", data_root=tmp_path / "videos"))
    assert [sample.path for sample in data.samples] == [video]


@pytest.mark.parametrize("name", ["ssv2", "ek100", "ucf101", "hmdb51", "csv", "folder", "k400"])
def test_what_is_missing_is_said(name: DatasetName) -> None:
    with pytest.raises(UsageError, match=f"the dataset {name} needs") as caught:
        load_dataset(DatasetSource(name))
    assert caught.value.hint.startswith("give ")


def test_names_and_splits_that_are_none(annotations: Path) -> None:
    with pytest.raises(UsageError, match="unknown dataset 'kinetics'"):
        load_dataset(DatasetSource("kinetics", annotations=annotations))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="no split 'validation'"):
        load_dataset(DatasetSource("ucf101", annotations=annotations / "ucf101", split="val"))
    with pytest.raises(UsageError, match="no split 'dev'"):
        load_dataset(DatasetSource("ek100", annotations=annotations / "ek100", split="dev"))


# --- a CSV ------------------------------------------------------------------------------------------------


def test_a_csv_is_read_whole_or_by_split(annotations: Path) -> None:
    file = annotations / "own/own.csv"
    whole = load_dataset(DatasetSource("csv", annotations=file))
    assert whole.samples == load_csv(file).samples
    assert tuple(map(str, whole.remarks)) == ("all splits are taken together: train, val",)
    for split in ("val", "validation"):
        part = load_dataset(DatasetSource("csv", annotations=file, split=split))
        assert part == load_csv(file, split="val")
        assert ids(part) == ["b.mp4"]
    with pytest.raises(UsageError, match="no row of the split test") as caught:
        load_dataset(DatasetSource("csv", annotations=file, split="test"))
    assert caught.value.hint == "its splits are 'train', 'val'"


@pytest.mark.parametrize(
    ("rows", "split", "said"),
    [
        ("a.mp4,run,val\nb.mp4,run,validation\n", "val", "several spellings of the split validation"),
        ("a.mp4,run,fold1\n", "fold2", "no row of the split fold2"),
    ],
)
def test_csv_splits_that_cannot_be_told(tmp_path: Path, rows: str, split: str, said: str) -> None:
    file = write(tmp_path / "own.csv", "path,label,split\n" + rows)
    with pytest.raises(UsageError, match=said):
        load_dataset(DatasetSource("csv", annotations=file, split=split))


def test_a_csv_without_splits(tmp_path: Path) -> None:
    file = write(tmp_path / "own.csv", "path,label\na.mp4,run\n")
    assert load_dataset(DatasetSource("csv", annotations=file)).remarks == ()
    with pytest.raises(UsageError, match="no column split"):
        load_dataset(DatasetSource("csv", annotations=file, split="val"))


def test_all_classes_that_a_model_lacks_are_named(annotations: Path, tmp_path: Path) -> None:
    file = annotations / "own/own.csv"
    data = load_dataset(DatasetSource("csv", annotations=file), labels=("walk", "run", "jump"))
    assert [sample.labels[""] for sample in data.samples] == [1, 2]
    with pytest.raises(UsageError, match=r"2 of 2 classes of .*own\.csv are none of the model's 1: 'jump', 'run'$"):
        load_dataset(DatasetSource("csv", annotations=file, split="val"), labels=("walk",))
    for number in range(12):
        write(tmp_path / f"videos/class {number:02d}/a.mp4")
    with pytest.raises(UsageError, match=r"11 of 12 classes .* 'class 00'.*'class 10' and 1 more$"):
        load_dataset(DatasetSource("folder", data_root=tmp_path / "videos"), labels=("class 03",))


# --- folders ----------------------------------------------------------------------------------------------


def test_a_folder_is_given_as_either_but_not_as_two(tmp_path: Path) -> None:
    write(tmp_path / "a/jump_high/1.mp4")
    write(tmp_path / "b/jump/1.mp4")
    a, same = tmp_path / "a", tmp_path / "b/../a"
    for given, read in (((a, None), a), ((None, a), a), ((a, a), a), ((same, a), a), ((a, same), same)):
        data = load_dataset(DatasetSource("folder", annotations=given[0], data_root=given[1]))
        assert data == load_folder(read), "paths are written as the data root is"
    with pytest.raises(UsageError, match="two different folders"):
        load_dataset(DatasetSource("folder", annotations=tmp_path / "a", data_root=tmp_path / "b"))
    labels = ("run", "jump (high)", "jump")
    data = load_dataset(DatasetSource("folder", data_root=tmp_path / "a"), labels=labels)
    assert data.samples[0].labels == {"": 1}


def test_a_split_of_a_folder_is_a_folder_in_it(tmp_path: Path) -> None:
    write(tmp_path / "train/run/1.mp4")
    write(tmp_path / "val/run/2.mp4")
    for split in ("val", "validation"):
        assert ids(load_dataset(DatasetSource("folder", data_root=tmp_path, split=split))) == ["run/2.mp4"]
    with pytest.raises(UsageError, match="are splits, not classes: train, val"):
        load_dataset(DatasetSource("folder", data_root=tmp_path))
    with pytest.raises(UsageError, match="no folder of the split 'test'"):
        load_dataset(DatasetSource("folder", data_root=tmp_path, split="test"))
    write(tmp_path / "validation/run/3.mp4")
    with pytest.raises(UsageError, match="several folders of the split validation"):
        load_dataset(DatasetSource("folder", data_root=tmp_path, split="val"))


def test_kinetics_as_folders(tmp_path: Path) -> None:
    write(tmp_path / "flat/abseiling/1.mp4")
    flat = load_dataset(DatasetSource("k400", data_root=tmp_path / "flat"))
    assert flat == load_kinetics(None, data_root=tmp_path / "flat")
    train = load_dataset(DatasetSource("k400", data_root=tmp_path / "flat", split="train"))
    assert tuple(map(str, train.remarks)) == ("folders of classes do not tell the split: all taken for train",)
    write(tmp_path / "split/val/abseiling/1.mp4")
    write(tmp_path / "split/train/air_drumming/2.mp4")
    for split, found in ((None, "abseiling/1.mp4"), ("train", "air_drumming/2.mp4")):
        data = load_dataset(DatasetSource("k400", data_root=tmp_path / "split", split=split))
        assert (ids(data), data.remarks) == ([found], ())


# --- a model's classes ------------------------------------------------------------------------------------


def test_classes_are_those_of_the_model_by_name(annotations: Path) -> None:
    labels = ("Biking", "Swing", "Archery")
    data = load_dataset(DatasetSource("ucf101", annotations=annotations / "ucf101", split="train"), labels=labels)
    assert data.heads == {"": labels}
    assert [data.names_of(sample)[""] for sample in data.samples] == ["Archery", "Biking"]
    assert [sample.labels[""] for sample in data.samples] == [2, 0]
    with pytest.raises(UsageError, match="1 of 2 classes of ucf101 are none of the model's 1: 'Archery'"):
        load_dataset(DatasetSource("ucf101", annotations=annotations / "ucf101"), labels=("Biking",))
    with pytest.raises(UsageError, match="heads verb and noun"):
        load_dataset(DatasetSource("ek100", annotations=annotations / "ek100"), labels=("take",))


# --- several splits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["k400", "ssv2", "ek100"])
def test_several_splits(annotations: Path, name: DatasetName) -> None:
    given = annotations / name
    both = load_splits(DatasetSource(name, given, split="val,train"))
    assert list(both) == ["validation", "train"]
    for split, dataset in both.items():
        assert dataset == load_dataset(DatasetSource(name, annotations=given, split=split))
    with pytest.raises(UsageError, match="validation is named twice"):
        load_splits(DatasetSource(name, given, split="val,validation"))


def test_one_file_is_not_two_splits(annotations: Path) -> None:
    file = annotations / "ek100/EPIC_100_validation.csv"
    with pytest.raises(UsageError, match="gives the same samples for train and validation"):
        load_splits(DatasetSource("ek100", file, split="train,val"))


def test_other_names_of_splits_stay() -> None:
    assert [usual_spelling(name) for name in ("Fold1", "VAL", " training")] == ["Fold1", "validation", "train"]
