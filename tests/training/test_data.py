"""From what a person has to training and validation samples, and what a check leaves of them."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tadacli.datasets.samples import Dataset
from tadacli.errors import UsageError
from tadacli.specs import InputSpec
from tadacli.training.data import FinetuneData, check_finetune_data, load_finetune_data
from tests.media import jpeg_bytes, shared_folder
from tests.trees import EPIC_COLUMNS, render

GREY = (0.45, 0.45, 0.45)
# A clip of this spans 0.4 s, 12 of the 30 frames in a second.
SPEC = InputSpec("interval", 4, 3, 30.0, 32, 32, GREY, GREY)


def write(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def ids(data: Dataset) -> list[str]:
    return [sample.id for sample in data.samples]


def class_folders(root: Path, **sizes: int) -> Path:
    for label, size in sizes.items():
        for number in range(size):
            write(root / label / f"{label}{number}.mp4")
    return root


def check(data: FinetuneData, **options: Any) -> FinetuneData:
    return check_finetune_data(data, input_spec=SPEC, workers=2, **options)


# --- folders ----------------------------------------------------------------------------------------


def test_a_folder_for_each_class_is_split_by_file(tmp_path: Path) -> None:
    data = load_finetune_data(class_folders(tmp_path / "clips", run=10, jump=5, fall=1))
    assert data.name == "clips"
    assert data.heads == {"": ("fall", "jump", "run")}
    counts = {split: found[""] for split, found in data.counts.items()}
    assert counts["validation"]["fall"] == 0
    assert 1 <= counts["validation"]["jump"] <= 2
    assert 1 <= counts["validation"]["run"] <= 3
    assert {label: counts["train"][label] + counts["validation"][label] for label in counts["train"]} == {
        "fall": 1,
        "jump": 5,
        "run": 10,
    }
    assert data.notes == ("1 of 3 classes have no validation samples: fall",)
    assert data.how_split.startswith("by video, seed 0: ")


class _Reversed:
    def __init__(self, entries: Any) -> None:
        self._entries = sorted(entries, key=lambda entry: entry.name, reverse=True)

    def __enter__(self) -> _Reversed:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __iter__(self) -> Iterator[Any]:
        return iter(self._entries)


def test_the_order_in_which_files_are_listed_decides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = class_folders(tmp_path, run=10, jump=5)
    there = load_finetune_data(root)
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: _Reversed(scandir(path)))
    assert load_finetune_data(root) == there
    assert load_finetune_data(root, seed=1).validation != there.validation


def test_folders_of_splits(tmp_path: Path) -> None:
    class_folders(tmp_path / "Training", run=2, jump=1)
    class_folders(tmp_path / "valid", run=1, jump=1)
    class_folders(tmp_path / "test", run=1)
    write(tmp_path / "lists" / "all.txt")
    data = load_finetune_data(tmp_path, group_by="participant")
    assert ids(data.train) == ["jump/jump0.mp4", "run/run0.mp4", "run/run1.mp4"]
    assert ids(data.validation) == ["jump/jump0.mp4", "run/run0.mp4"]
    assert data.how_split == "as the data name it"
    assert data.notes == (
        "folders that are not used: lists, test",
        "the data name their splits: nothing is grouped by participant",
    )
    shutil.rmtree(tmp_path / "valid")
    class_folders(tmp_path / "Training", run=9, jump=9)
    alone = load_finetune_data(tmp_path)
    assert len(set(ids(alone.train)) | set(ids(alone.validation))) == 18
    assert alone.counts["validation"][""] != {"jump": 0, "run": 0}
    shutil.rmtree(tmp_path / "Training")
    shutil.rmtree(tmp_path / "lists")
    with pytest.raises(UsageError, match="no folder for training"):
        load_finetune_data(tmp_path)


def test_train_may_be_a_class(tmp_path: Path) -> None:
    data = load_finetune_data(class_folders(tmp_path, train=4, bus=4))
    assert data.heads == {"": ("bus", "train")}


def test_clips_of_one_video_are_kept_together_by_a_part_of_their_names(tmp_path: Path) -> None:
    for label in ("Punch", "Row"):
        for video in range(1, 6):
            for clip in range(1, 4):
                write(tmp_path / label / f"v_{label}_g{video:02d}_c{clip:02d}.avi")
    (hint,) = load_finetune_data(tmp_path).notes
    assert hint.startswith("30 files look like clips of 10 videos, Punch/v_Punch_g01_c01.avi and")
    data = load_finetune_data(tmp_path, group_by=r"re:/(v_\w+_g\d+)_")
    assert data.notes == ()
    videos = [{each.id.rpartition("_c")[0] for each in part.samples} for part in (data.train, data.validation)]
    assert not videos[0] & videos[1]
    assert len(data.train.samples) + len(data.validation.samples) == 30
    assert data.counts["validation"][""] == {"Punch": 3, "Row": 3}
    with pytest.raises(UsageError, match="nothing that matches"):
        load_finetune_data(tmp_path, group_by="re:_x(.)")
    with pytest.raises(UsageError, match="no regular expression"):
        load_finetune_data(tmp_path, group_by="re:(")
    with pytest.raises(UsageError, match="each class is one folder"):
        load_finetune_data(tmp_path, group_by="folder")


# --- tables and annotations -------------------------------------------------------------------------

ROWS = "".join(
    f"v{video},{('run', 'jump')[row % 2]},{row},{row + 1},p{video % 3},P{video}\n"
    for video in range(6)
    for row in range(4)
)
HEADER = "video,label,start,end,place,participant\n"


@pytest.mark.parametrize(
    ("group_by", "key"),
    [
        ("video", lambda name: name),
        ("place", lambda name: int(name[1:]) % 3),
        ("participant", lambda name: name),
        (r"re:\d", lambda name: name),
        ("re:v[03]|v[14]|v", lambda name: name if name in ("v0", "v3", "v1", "v4") else "v"),
    ],
)
def test_spans_of_a_group_stay_together(tmp_path: Path, group_by: str, key: Any) -> None:
    data = load_finetune_data(write(tmp_path / "own.csv", HEADER + ROWS), group_by=group_by)
    groups = [{key(each.video_id) for each in part.samples} for part in (data.train, data.validation)]
    assert groups[0]
    assert groups[1]
    assert not groups[0] & groups[1]
    assert data.counts["train"][""]["run"] + data.counts["validation"][""]["run"] == 12
    assert data.name == "own"


def test_grouping_by_folder(tmp_path: Path) -> None:
    rows = "".join(f"day{number // 4}/{number}.mp4,{('a', 'b')[number % 2]}\n" for number in range(12))
    data = load_finetune_data(write(tmp_path / "own.csv", "path,label\n" + rows), group_by="folder")
    days = [{each.id.split("/")[0] for each in part.samples} for part in (data.train, data.validation)]
    assert sorted(map(len, days)) == [1, 2]
    assert not days[0] & days[1]


def test_splits_that_a_table_names_are_kept(tmp_path: Path) -> None:
    rows = "a,train,run\nb,train,jump\nc,val,run\nd,test,walk\ne,test,run\n"
    data = load_finetune_data(write(tmp_path / "own.csv", "video,split,label\n" + rows))
    assert ids(data.train) == ["a", "b"]
    assert ids(data.validation) == ["c"]
    assert data.heads == {"": ("jump", "run")}
    assert data.notes == (
        "2 of 5 rows are not used: split 'test'",
        "1 of 2 classes have no validation samples: jump",
    )


def test_labels_of_a_list_keep_its_order(tmp_path: Path) -> None:
    table = write(tmp_path / "own.csv", HEADER + ROWS)
    for text in ("run\njump\n", '["run", "jump"]'):
        data = load_finetune_data(table, labels=write(tmp_path / "labels", text))
        assert data.heads == {"": ("run", "jump")}
        assert data.train.names_of(data.train.samples[0])[""] == "run"
    folders = load_finetune_data(
        class_folders(tmp_path / "f", brush_hair=3, run=3), labels=write(tmp_path / "list", "run\nbrush hair\n")
    )
    assert folders.heads == {"": ("run", "brush hair")}


def test_what_detect_found(tmp_path: Path) -> None:
    segments = [
        {
            "start_seconds": 2.0 + k,
            "end_seconds": 3.0 + k,
            "label": ("run", "jump")[k % 2],
            "index": k % 2,
            "score": 0.5,
        }
        for k in range(2)
    ]
    results = [
        {"video": name, "path": name, "status": "ok", "error": None, "model": "m", "task": "t"}
        | {"duration_seconds": 9.0, "start_seconds": 1.0, "fps": 30.0, "windows": 1, "windows_planned": 1}
        | {"segments": segments, "gaps": [], "frames": {"used": 9}, "notes": [], "info": None, "size_bytes": 1}
        | {"tool_version": "1", "weights_sha256": "", "spec": {}, "settings": {}, "run": ""}
        for name in ("x/a.mp4", "x/b.mp4")
    ]
    write(tmp_path / "b.mp4")
    (tmp_path / "found.jsonl").write_text("".join(json.dumps(row) + "\n" for row in results))
    (tmp_path / "found.json").write_text(json.dumps({"results": results}))
    data, again = (load_finetune_data(tmp_path / name, data_root=tmp_path) for name in ("found.jsonl", "found.json"))
    assert data == again
    spans = {(each.id, each.path) for part in (data.train, data.validation) for each in part.samples}
    assert ("x/b.mp4@1.0-2.0", tmp_path / "b.mp4") in spans
    assert ("x/a.mp4@2.0-3.0", None) in spans
    assert data.counts["train"][""] == data.counts["validation"][""] == {"jump": 1, "run": 1}
    assert data.notes == ("4 labels are what a model found in 2 videos, unless a person mended them",)


def test_real_segments_keep_their_splits_and_can_be_split_by_video() -> None:
    table = shared_folder() / "untrimmed_actions" / "segments.csv"
    data = load_finetune_data(table)
    assert (len(data.train.samples), len(data.validation.samples)) == (144, 49)
    assert data.counts["validation"][""]["falling"] == 1
    assert data.notes == ()
    assert load_finetune_data(dataset="segments", annotations=table).train == data.train


# --- published data sets ----------------------------------------------------------------------------


def epic_csv(file: Path, videos: str, verbs: tuple[int, ...]) -> None:
    lines = [",".join(EPIC_COLUMNS)]
    for video in videos.split():
        for number, verb in enumerate(verbs):
            cells = {"narration_id": f"{video}_{number}", "participant_id": video[:3], "video_id": video}
            cells |= {"start_timestamp": f"00:00:0{number}.00", "stop_timestamp": f"00:00:0{number}.50"}
            cells |= {"verb_class": str(verb), "noun_class": str(2 * verb)}
            lines.append(",".join(cells.get(column, "") for column in EPIC_COLUMNS))
    write(file, "\n".join(lines) + "\n")


def test_verbs_and_nouns_are_two_heads(tmp_path: Path) -> None:
    epic_csv(tmp_path / "EPIC_100_train.csv", "P01_01 P01_02 P02_01 P03_01", (0, 1, 2))
    epic_csv(tmp_path / "EPIC_100_validation.csv", "P01_11", (0, 1))
    data = load_finetune_data(dataset="ek100", annotations=tmp_path)
    assert {head: len(labels) for head, labels in data.heads.items()} == {"verb": 97, "noun": 300}
    assert (len(data.train.samples), len(data.validation.samples)) == (12, 2)
    assert data.train.samples[1].labels == {"verb": 1, "noun": 2}
    assert [note.split(":")[0] for note in data.notes] == [
        "94 of 97 verb classes have no training samples",
        "1 of 97 verb classes have no validation samples",
        "297 of 300 noun classes have no training samples",
        "1 of 300 noun classes have no validation samples",
    ]
    alone = load_finetune_data(
        dataset="ek100", annotations=tmp_path / "EPIC_100_train.csv", group_by="participant", validation_share=0.3
    )
    people = [{each.participant for each in part.samples} for part in (alone.train, alone.validation)]
    assert people[0] | people[1] == {"P01", "P02", "P03"}
    assert not people[0] & people[1]


def test_a_published_test_split_is_used_for_validation_where_there_is_no_other(tmp_path: Path) -> None:
    write(tmp_path / "classInd.txt", "1 Archery\n2 Biking\n")
    write(tmp_path / "trainlist01.txt", "Archery/v_a.avi 1\nBiking/v_b.avi 2\n")
    write(tmp_path / "testlist01.txt", "Archery/v_c.avi\nBiking/v_d.avi\n")
    data = load_finetune_data(dataset="ucf101", annotations=tmp_path)
    assert ids(data.validation) == ["Archery/v_c.avi", "Biking/v_d.avi"]
    assert data.notes == (
        "the published test split is used for validation",
        "train: fold 1 of 3",
        "validation: fold 1 of 3",
    )


# --- what cannot be meant ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("video,label\na,run\nb,run\nc,run\n", {}, "one class to train, 'run'"),
        ("video,label\na,run\nb,jump\n", {}, "own has no validation samples"),
        ("video,label,start\na,run,0\na,jump,1\n", {}, r"2 samples in 1 group"),
        ("video,label\na,run\nb,Run\nc,jump\n", {}, "'Run' and 'run', which differ in spelling alone"),
        (
            "video,label\na,run\nb,jmup\n",
            {"labels": True},
            r"not in the list of 2 labels: 'jmup'; did you mean 'jump'\?",
        ),
        (HEADER + ROWS.replace("jump", "run"), {"labels": True}, "one class to train, 'run'"),
        (HEADER + ROWS, {"labels": "run\njump\nwalk\n"}, "1 of 3 classes have no training samples: 'walk'"),
        ("video,split,label\na,train,run\nb,train,walk\nc,val,jump\n", {}, "have no training samples: 'jump'"),
        ("video,split,label\na,val,run\nb,val,jump\n", {}, "names the splits validation, and none for training"),
        (HEADER + ROWS, {"group_by": "site"}, "no column 'site'"),
        ("video,label\na,run\nb,jump\n", {"group_by": "participant"}, "the participant of a is not known"),
        (HEADER + ROWS, {"validation_share": 1.5}, "share of 1.5"),
        (HEADER + ROWS, {"annotations": "x"}, "others were given"),
        (HEADER + ROWS, {"dataset": "csv"}, "either a path"),
        (HEADER + ROWS, {"labels": "run\nrun\n"}, "no list of classes"),
    ],
)
def test_what_cannot_be_trained_is_said_before(tmp_path: Path, text: str, options: Any, said: str) -> None:
    if "labels" in options:
        names = "run\njump\n" if options["labels"] is True else options["labels"]
        options = {**options, "labels": write(tmp_path / "labels.txt", names)}
    with pytest.raises(UsageError, match=said):
        load_finetune_data(write(tmp_path / "own.csv", text), **options)


def test_paths_that_hold_no_data(tmp_path: Path) -> None:
    class_folders(tmp_path / "f", run=2, jump=2)
    (tmp_path / "empty").mkdir()
    (tmp_path / "hollow/a").mkdir(parents=True)
    for path, options, said in [
        (tmp_path / "gone", {}, "there is no"),
        (tmp_path / "empty", {}, "has no folders"),
        (tmp_path / "hollow", {}, "hollow has no samples"),
        (tmp_path / "f/run/run0.mp4", {}, "not known to hold labelled segments"),
        (tmp_path / "f", {"data_root": tmp_path}, "folder of the videos was given"),
        (tmp_path / "f", {"tier": "x"}, "a tier was given"),
    ]:
        with pytest.raises(UsageError, match=said):
            load_finetune_data(path, **options)
    with pytest.raises(UsageError, match="unknown dataset"):
        load_finetune_data(dataset="k401")  # type: ignore[arg-type]


# --- the check --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos of a second, 30 frames, all different but one; three that cannot be used; one of a fifth of a second."""
    folder = tmp_path_factory.mktemp("videos")
    for number in range(6):
        render(folder / f"{number}.mp4", number, 30)
    render(folder / "short.mp4", 7, 6)
    shutil.copy(folder / "0.mp4", folder / "copy.mp4")
    (folder / "empty.mp4").touch()
    (folder / "page.mp4").write_text("<html>not found</html>")
    return folder


def table(videos: Path, *rows: str) -> FinetuneData:
    """Rows are video,split,label,start,end."""
    file = write(videos / "own.csv", "video,split,label,start,end\n" + "".join(row + "\n" for row in rows))
    return load_finetune_data(file)


SOUND = ["0,train,a,,", "1,train,b,,", "2,val,a,,", "3,val,b,0,0.5", "3,val,a,0.5,1"]


def test_sound_data_stay_as_they_are(videos: Path) -> None:
    data, seen = table(videos, *SOUND), []
    assert check(data, on_progress=lambda done, total: seen.append((done, total))) == data
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("copy,val,a,,", r"1 of 4 validation samples .*: copy \(the same bytes as 0 in train\)"),
        ("1,val,a,0.5,1", r"1@0.5-1.0 \(the same file as 1 in train, and their spans overlap\)"),
    ],
)
def test_what_is_in_both_splits_is_refused(videos: Path, row: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        check(table(videos, *SOUND, row), allow_bad=9)


def test_other_times_of_a_video_are_refused_too(videos: Path) -> None:
    with pytest.raises(UsageError, match="at other times"):
        check(table(videos, *SOUND, "4,train,a,0,0.5", "4,val,b,0.5,1"))


def test_videos_that_cannot_be_used_are_counted_and_left_out_if_allowed(videos: Path) -> None:
    bad = ["empty,train,a,0,1", "empty,train,b,1,2", "page,train,b,,", "gone,val,a,,", "4,train,a,7,8"]
    data = table(videos, *SOUND, *bad)
    with pytest.raises(
        UsageError, match=r"4 videos, 5 of 10 samples, cannot be used: empty@0.0-1.0 \(.*empty file"
    ) as no:
        check(data, allow_bad=3)
    assert no.value.hint.endswith("--allow-bad 4")
    checked = check(data, allow_bad=4)
    assert (checked.train.samples, checked.validation.samples) == (
        table(videos, *SOUND).train.samples,
        table(videos, *SOUND).validation.samples,
    )
    assert [each.partition(": ")[0] for each in checked.left_out] == [
        "empty@0.0-1.0",
        "empty@1.0-2.0",
        "page",
        "4@7.0-8.0",
        "gone",
    ]
    assert checked.notes[0].startswith("5 of 10 samples are left out: empty@0.0-1.0: ")


def test_what_is_left_must_be_enough(videos: Path) -> None:
    data = table(videos, "0,train,a,,", "empty,train,b,,", "2,val,a,,")
    with pytest.raises(UsageError, match="one class to train, 'a'"):
        check(data, allow_bad=1)
    data = table(videos, "0,train,a,,", "1,train,b,,", "empty,val,a,,")
    with pytest.raises(UsageError, match="no validation samples"):
        check(data, allow_bad=1)


def test_what_can_be_used_with_care_is_a_note(videos: Path) -> None:
    rows = ["short,train,a,,", "4,train,a,0.9,1.5", "5,train,a,0.5,0.517", "1,train,b,,", "1.mp4,train,b,,"]
    checked = check(table(videos, *SOUND[2:], "0,train,a,,", *rows))
    notes = [note.partition(":")[0] for note in checked.notes]
    assert notes == [
        "3 of 9 samples are shorter than a clip of the model, and repeat frames",
        "1 of 9 samples reach beyond their video, and are cut there",
        "1 of 9 samples have the same content as another of their split",
    ]
    with pytest.raises(UsageError, match=r"line 3 \('b'\) and line 7 \('a'\)"):
        table(videos, *SOUND, "1.mp4,train,a,,")
    with pytest.raises(UsageError, match=r"5@0\.51-0\.52 \(no frame appears within the span\)"):
        check(table(videos, *SOUND, "5,train,a,0.51,0.52"))


def test_other_times_of_a_video_in_a_published_data_set_are_a_note(tmp_path: Path) -> None:
    epic_csv(tmp_path / "EPIC_100_train.csv", "P01_01", (0, 1))
    epic_csv(tmp_path / "EPIC_100_validation.csv", "P01_01", (2, 3))
    moved = (tmp_path / "EPIC_100_validation.csv").read_text().replace("00:00:0", "00:00:1").replace("_01_", "_01_9")
    write(tmp_path / "EPIC_100_validation.csv", moved)
    render(tmp_path / "P01_01.mp4", 1, 360)
    data = load_finetune_data(dataset="ek100", annotations=tmp_path, data_root=tmp_path)
    notes = [note for note in check(data).notes if "classes" not in note]
    assert notes == [
        "2 of 4 samples are of a video that is in training, too, as published: P01_01_90 "
        "(the same file as P01_01_0 in train, at other times)"
    ]
    assert Counter(each.id for each in check(data).train.samples) == {"P01_01_0": 1, "P01_01_1": 1}


def frames(folder: Path) -> None:
    folder.mkdir(parents=True)
    for number in range(1, 5):
        (folder / f"img_{number:05d}.jpg").write_bytes(jpeg_bytes(number))


def test_class_folders_of_frame_folders(tmp_path: Path) -> None:
    for label in ("walk", "fall"):
        for clip in ("c0", "c1.5", "c2"):
            frames(tmp_path / label / clip)
    frames(tmp_path / "walk" / ".c3")
    data = load_finetune_data(tmp_path, validation_share=0.34)
    found = [f"{label}/{clip}" for label in ("fall", "walk") for clip in ("c0", "c1.5", "c2")]
    assert sorted(ids(data.train) + ids(data.validation)) == found
    assert {sample.video_id for sample in data.train.samples} <= {"c0", "c1.5", "c2"}


def test_a_class_called_train_may_hold_frame_folders(tmp_path: Path) -> None:
    for label in ("train", "bus"):
        for clip in ("c0", "c1", "c2"):
            frames(tmp_path / label / clip)
    assert load_finetune_data(tmp_path).heads == {"": ("bus", "train")}
