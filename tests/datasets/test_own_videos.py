"""UCF101 and HMDB51 lists, folders and CSVs of one's own, ActivityNet annotations, and the look-up of many files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tadacli.datasets.activitynet import load_activitynet
from tadacli.datasets.folder import load_folder
from tadacli.datasets.loading import load_csv
from tadacli.datasets.ucf_hmdb import load_hmdb51, load_ucf101
from tadacli.datasets.video_files import VideoFiles
from tadacli.errors import UsageError
from tests.media import shared_folder


def write(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def ucf(folder: Path, train: str, test: str, classes: str = "1 Archery\n2 Biking\n") -> Path:
    write(folder / "classInd.txt", classes)
    write(folder / "trainlist01.txt", train)
    write(folder / "testlist01.txt", test)
    return folder


def test_ucf101_lists(tmp_path: Path) -> None:
    ucf(tmp_path, "Biking/v_b.avi 2\r\nArchery/v_a.avi 1\r\n", "Biking/v_c.avi\n")
    write(tmp_path / "videos/Biking/v_b.avi")
    write(tmp_path / "flat/v_a.avi")
    data = load_ucf101(tmp_path, data_root=tmp_path / "videos", split="train")
    assert [sample.labels[""] for sample in data.samples] == [1, 0]
    assert [sample.path for sample in data.samples] == [tmp_path / "videos/Biking/v_b.avi", None]
    flat = load_ucf101(tmp_path, data_root=tmp_path / "flat", split="train")
    assert flat.samples[1].path == tmp_path / "flat/v_a.avi"
    assert load_ucf101(tmp_path).names_of(load_ucf101(tmp_path).samples[0]) == {"": "Biking"}


@pytest.mark.parametrize(
    ("train", "classes", "said"),
    [
        ("Biking/v_b.avi 1\n", "1 Archery\n2 Biking\n", "trainlist01.txt, line 1"),
        ("Rowing/v_b.avi 1\n", "1 Archery\n2 Biking\n", "trainlist01.txt, line 1"),
        ("Biking/v_b.avi 2\n", "0 Archery\n1 Biking\n", "classInd.txt, line 1"),
        ("Biking/v_b.avi 2\n", "1 Archery\n2 Archery\n", "classInd.txt"),
    ],
)
def test_ucf101_lists_must_agree_with_the_classes(tmp_path: Path, train: str, classes: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        load_ucf101(ucf(tmp_path, train, "", classes), split="train")
    with pytest.raises(UsageError, match="fold 4"):
        load_ucf101(tmp_path, fold=4)


def test_hmdb51_lists(tmp_path: Path) -> None:
    write(tmp_path / "lists/catch_test_split1.txt", "a b#!.avi 1 \nc.avi 2 \nd.avi 0 \n")
    write(tmp_path / "lists/brush_hair_test_split1.txt", "e.avi 2 \n")
    write(tmp_path / "lists/catch_test_split2.txt", "a b#!.avi 2 \n")
    write(tmp_path / "videos/catch/c.avi")
    data = load_hmdb51(tmp_path / "lists", data_root=tmp_path / "videos")
    assert data.heads == {"": ("brush_hair", "catch")}
    assert [(sample.id, sample.labels[""]) for sample in data.samples] == [("brush_hair/e.avi", 0), ("catch/c.avi", 1)]
    assert [sample.path for sample in data.samples] == [None, tmp_path / "videos/catch/c.avi"]
    assert data.num_rows == 4
    assert [row.reason for row in data.unused] == ["in another split (train)", "in another split (unused)"]
    assert load_hmdb51(tmp_path / "lists", fold=2).samples[0].id == "catch/a b#!.avi"
    write(tmp_path / "lists/catch_test_split1.txt", "c.avi 3\n")
    with pytest.raises(UsageError, match=r"catch_test_split1\.txt, line 1"):
        load_hmdb51(tmp_path / "lists")


def test_folders_are_classes(tmp_path: Path) -> None:
    for name in ("run/b.mp4", "run/a.MOV", "jump/c.mp4", "run/deep/d.mp4", "jump/.notes", "top.mp4"):
        write(tmp_path / name)
    data = load_folder(tmp_path)
    assert data.heads == {"": ("jump", "run")}
    assert [(sample.id, sample.labels[""]) for sample in data.samples] == [
        ("jump/c.mp4", 0),
        ("run/a.MOV", 1),
        ("run/b.mp4", 1),
    ]
    assert {row.id for row in data.unused} == {"jump/.notes", "run/deep"}
    assert load_folder(tmp_path, labels=("walk", "run", "jump")).samples[0].labels == {"": 2}
    with pytest.raises(UsageError, match="jump"):
        load_folder(tmp_path, labels=("walk", "run"))
    with pytest.raises(UsageError, match="has no folders"):
        load_folder(tmp_path / "jump")


def test_csv_of_paths_and_labels(tmp_path: Path) -> None:
    write(tmp_path / "a, b.mp4")
    text = (
        'split,label,path,start,end\nval,run,"a, b.mp4",1.5,2\nval,jump,"a, b.mp4",,\n'
        "val,run,c.mp4,3,\ntrain,walk,d.mp4,,\n"
    )
    data = load_csv(write(tmp_path / "own.csv", text), split="val")
    assert data.heads == {"": ("jump", "run", "walk")}
    assert [(sample.id, sample.labels[""], sample.start_seconds, sample.end_seconds) for sample in data.samples] == [
        ("a, b.mp4@1.5-2.0", 1, 1.5, 2.0),
        ("a, b.mp4", 0, None, None),
        ("c.mp4@3.0-", 1, 3.0, None),
    ]
    assert [sample.path is None for sample in data.samples] == [False, False, True]
    assert data.num_rows == 4
    assert load_csv(tmp_path / "own.csv").num_rows == len(load_csv(tmp_path / "own.csv").samples) == 4


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path,class\na.mp4,run\n", "line 1"),
        ("path,label,label\na.mp4,run,run\n", "line 1"),
        ("path,label\na.mp4,\n", "line 2: label is empty"),
        ("path,label\na,b.mp4,run\n", "line 2: 3 fields"),
        ("path,label,start,end\na.mp4,run,2,1\n", "line 2: the span"),
        ("path,label,start,end\na.mp4,run,-1,1\n", "line 2: the span"),
        ("path,label,start\na.mp4,run,0:75\n", "line 2: start is '0:75'"),
        ("path,label\na.mp4,walk\n", "1 of 1 classes of .* are none of the model's 1: 'walk'"),
        ("path,label\n", "no rows"),
    ],
)
def test_csv_rows_that_are_not_so_are_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        load_csv(write(tmp_path / "own.csv", text), labels=("run",))
    with pytest.raises(UsageError, match=r"column split|line|no rows"):
        load_csv(tmp_path / "own.csv", split="val")


def test_many_samples_list_each_folder_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(50):
        write(tmp_path / f"class {number % 5}/{number}.mp4")
    listed: list[str] = []
    scan = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(os.fspath(path)) or scan(path))
    rows = "".join(f"class {number % 5}/{number}.mp4,run\n" for number in range(100))
    data = load_csv(write(tmp_path / "own.csv", "path,label\n" + rows))
    assert sum(sample.path is not None for sample in data.samples) == 50
    assert len(listed) == len(set(listed)) == 5


def test_links_count_as_what_they_point_to(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4")
    (tmp_path / "link.mp4").symlink_to("a.mp4")
    (tmp_path / "broken.mp4").symlink_to("none.mp4")
    (tmp_path / "folder.mp4").mkdir()
    files = VideoFiles(tmp_path)
    assert files.find(["link.mp4"]) == tmp_path / "link.mp4"
    assert files.find(["broken.mp4", "folder.mp4", "a.mp4/b.mp4"]) is None
    assert files.find(["folder.mp4"], folders=True) == tmp_path / "folder.mp4"
    assert VideoFiles(None).find(["a.mp4"]) is None


def anet(folder: Path, entries: Any) -> Path:
    return write(folder / "gt.json", json.dumps({"version": "1.3", "taxonomy": [], "database": entries}))


def test_activitynet_annotations(tmp_path: Path) -> None:
    entries = {
        "b": {
            "subset": "validation",
            "annotations": [{"label": "run", "segment": [1, 2.5]}, {"label": "jump", "segment": [3, 2]}],
        },
        "c": {"subset": "training", "annotations": [{"label": "walk", "segment": [0, 1]}]},
        "a": {"subset": "validation", "annotations": []},
    }
    write(tmp_path / "videos/v_a.mp4")
    truth = load_activitynet(anet(tmp_path, entries), data_root=tmp_path)
    assert truth.heads == {"": ("jump", "run")}
    assert truth.video_ids.tolist() == ["b", "b"]
    assert (truth.starts.tolist(), truth.ends.tolist()) == ([1.0, 3.0], [2.5, 2.0])
    assert truth.classes[""].tolist() == [1, 0]
    assert [(video.id, video.path) for video in truth.videos] == [("b", None), ("a", tmp_path / "videos/v_a.mp4")]
    with pytest.raises(UsageError, match="'testing'") as caught:
        load_activitynet(tmp_path / "gt.json", subset="testing")
    assert "training, validation" in caught.value.hint


@pytest.mark.parametrize(
    "annotation",
    [{"label": "run", "segment": [1]}, {"segment": [1, 2]}, {"label": "run", "segment": ["1", "2"]}, "run"],
)
def test_activitynet_annotations_that_are_not_so_are_named(tmp_path: Path, annotation: Any) -> None:
    with pytest.raises(UsageError, match="video a, annotation 0"):
        load_activitynet(anet(tmp_path, {"a": {"subset": "validation", "annotations": [annotation]}}))
    with pytest.raises(UsageError, match="database"):
        load_activitynet(write(tmp_path / "b.json", "[]"))
    with pytest.raises(UsageError, match="is not JSON"):
        load_activitynet(write(tmp_path / "b.json", '{"database": {'))


@pytest.mark.parametrize("case", ["anet_small_open", "anet_medium_open", "anet_ties_open"])
def test_golden_annotations_have_the_official_number_of_classes(case: str) -> None:
    folder = shared_folder() / "golden_eval" / case
    about = json.loads((folder / "case.json").read_text())
    assert len(load_activitynet(folder / "gt.json.gz").heads[""]) == about["n_gt_classes"]
