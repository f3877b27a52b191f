"""Kinetics annotations in each of the forms that are about, over trees of empty files."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from tadacli.datasets.kinetics import load_kinetics
from tadacli.datasets.samples import Dataset
from tadacli.errors import TadaError, UsageError
from tadacli.specs import label_list

HEAD = "label,youtube_id,time_start,time_end,split\n"
CLIP = "0wR5jVB-WPk_000417_000427"


def touch(root: Path, *names: str) -> Path:
    for name in names:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")
    return root


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def rows(data: Dataset) -> list[tuple[str, int | None]]:
    return [(sample.id, sample.labels.get("")) for sample in data.samples]


@pytest.mark.parametrize(
    ("text", "expected", "why"),
    [
        (HEAD + "abseiling,0wR5jVB-WPk,417,427,val\n", [(CLIP, 0)], "as published"),
        ("\ufeff" + HEAD + "abseiling,0wR5jVB-WPk,417,427,val\n", [(CLIP, 0)], "saved by a spreadsheet"),
        (HEAD.replace("\n", ",is_cc\r\n") + "abseiling,0wR5jVB-WPk,417,427,val,0\r\n", [(CLIP, 0)], "crawler's column"),
        (HEAD + '"abseiling",0wR5jVB-WPk,417,427,val\n', [(CLIP, 0)], "quoted as csv quotes"),
        (HEAD + '"""air drumming""",0wR5jVB-WPk,417,427,val\n', [(CLIP, 1)], "quotes in the label itself"),
        (HEAD + "abseiling,0wR5jVB-WPk,417.0,427.0,validate\n", [(CLIP, 0)], "times as floats, another word"),
        (
            "youtube_id,time_start,time_end,split\n--6bJUbfpnQ,17,27,val\n",
            [("--6bJUbfpnQ_000017_000027", None)],
            "no labels",
        ),
        ("split,time_end,time_start,youtube_id,label\nval,427,417,0wR5jVB-WPk,zumba\n", [(CLIP, 399)], "another order"),
    ],
)
def test_official_csv_is_read_by_column_name(
    tmp_path: Path, text: str, expected: list[tuple[str, int | None]], why: str
) -> None:
    assert rows(load_kinetics(write(tmp_path / "kinetics-400_val.csv", text))) == expected, why


@pytest.mark.parametrize(
    ("text", "line", "said", "why"),
    [
        ("label,youtube_id,time_start,split\n", 1, "time_end", "a column is missing"),
        (HEAD + "abseiling,0wR5jVB-WPk,417,427\n", 2, "4 fields", "a field is missing"),
        (HEAD + "abseiling,0wR5jVB-WPk,417,later,val\n", 2, "'later'", "no number"),
        (HEAD + "abseiling,0wR5jVB-WPk,nan,427,val\n", 2, "'nan'", "a number that is none"),
        (HEAD + "abseiling,0wR5jVB-WPk,427,417,val\n", 2, "reversed", "the end before the start"),
        (HEAD + "acting in play,0wR5jVB-WPk,417,427,val\n", 2, "'acting in play'", "a class of another Kinetics"),
        (HEAD + "\nabseiling,,417,427,val\n", 3, "youtube_id is empty", "an empty cell, below a blank line"),
    ],
)
def test_a_row_that_is_not_so_is_named(tmp_path: Path, text: str, line: int, said: str, why: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_kinetics(write(tmp_path / "val.csv", text))
    assert f"val.csv, line {line}: " in caught.value.message, why
    assert said in caught.value.message
    assert caught.value.hint


def test_every_row_is_a_sample_or_accounted_for(tmp_path: Path) -> None:
    text = HEAD + (
        "abseiling,aaaaaaaaaaa,1,11,val\n"
        "zumba,bbbbbbbbbbb,1,11,train\n"
        "abseiling,aaaaaaaaaaa,1,11,val\n"
        "zumba,aaaaaaaaaaa,1,11,val\n"
        "zumba,aaaaaaaaaaa,2,12,val\n"
    )
    data = load_kinetics(
        write(tmp_path / "val.csv", text), data_root=touch(tmp_path, "zumba/aaaaaaaaaaa_000002_000012.mp4")
    )
    assert rows(data) == [("aaaaaaaaaaa_000001_000011", 0), ("aaaaaaaaaaa_000002_000012", 399)]
    assert [row.place for row in data.unused] == ["line 3", "line 4", "line 5"]
    assert data.num_rows == 5
    assert tuple(map(str, data.notes)) == (
        "1 of 5 rows are not used: contradicts an earlier row with the same id",
        "1 of 5 rows are not used: in another split (train)",
        "1 of 5 rows are not used: repeats an earlier row",
        "1 of 2 samples have no video file",
    )


@pytest.mark.parametrize(
    ("label", "place", "why"),
    [
        ("air drumming", "air drumming", "blanks kept"),
        ("air drumming", "air_drumming", "underscores"),
        ("air drumming", "val/air_drumming", "below the split"),
        ("air drumming", "videos_val/air_drumming", "below mmaction2's folder"),
        ("air drumming", "", "flat"),
        ("air drumming", "validation", "flat below the split"),
        ("massaging person's head", "massaging_persons_head", "without the apostrophe"),
        ("petting animal (not cat)", "petting_animal_not_cat", "without brackets"),
        ("petting animal (not cat)", "petting_animal_(not_cat)", "with brackets"),
    ],
)
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_copies_keep_clips_in_different_folders(tmp_path: Path, label: str, place: str, suffix: str, why: str) -> None:
    file = Path(place, CLIP + suffix)
    touch(tmp_path, str(file), "other/" + CLIP + ".mp4")
    data = load_kinetics(write(tmp_path / "a.csv", HEAD + f"{label},0wR5jVB-WPk,417,427,val\n"), data_root=tmp_path)
    assert data.samples[0].path == tmp_path / file, why
    assert data.names_of(data.samples[0]) == {"": label}


@pytest.mark.parametrize(
    ("text", "expected", "why"),
    [
        ("a/b.mp4 3\nc.mp4 399\n", [("a/b.mp4", 3), ("c.mp4", 399)], "TAdaConv, PySlowFast, mmaction2"),
        ("my clips/b 1.mp4 3\n", [("my clips/b 1.mp4", 3)], "a path with blanks, split from the right"),
        ("a.mp4 300 3\nb.mp4 250 4\n", [("a.mp4", 3), ("b.mp4", 4)], "PySlowFast with numbers of frames"),
        ("a 300 3\nb 250 4\n", [("a", 3), ("b", 4)], "folders of frames"),
        ("clip 1 3\nb 4\n", [("clip 1", 3), ("b", 4)], "a number that is part of a folder's name"),
        ("a.mp4\nmy b.mp4\n", [("a.mp4", None), ("my b.mp4", None)], "paths alone"),
        ("a,b.mp4,3\nc.mp4, 4\n", [("a,b.mp4", 3), ("c.mp4", 4)], "commas, as TAdaConv's guide has it"),
        ("a.mp4\t3\r\n\r\n", [("a.mp4", 3)], "tabs, and lines of Windows"),
        ("12345 3\n", [("12345", 3)], "a name of digits"),
    ],
)
@pytest.mark.parametrize("name", ["val.csv", "kinetics400_val_list.txt"])
def test_path_lists(tmp_path: Path, text: str, expected: list[tuple[str, int | None]], name: str, why: str) -> None:
    assert rows(load_kinetics(write(tmp_path / name, text))) == expected, why


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("a.mp4 3\nb.mp4\n", 2, "one line has no label"),
        ("a.mp4 400\n", 1, "classes end at 399"),
        ("a.mp4 -1\n", 1, "no class has this number"),
        ("a.mp4 3\nb.mp4 3 7\n", 2, "several labels"),
        ("a.mp4 30 3 7\nb.mp4 30 3 8\n", 1, "several labels behind a number of frames"),
        ("label;id\nabseiling;aaaaaaaaaaa\n", 1, "something else altogether"),
    ],
)
def test_lines_that_do_not_fit_are_named(tmp_path: Path, text: str, line: int, why: str) -> None:
    with pytest.raises(UsageError, match=rf"val\.csv, line {line}: ") as caught:
        load_kinetics(write(tmp_path / "val.csv", text))
    assert caught.value.hint, why


def test_listed_files_are_looked_up_below_the_root_or_where_they_are(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside.mp4"
    touch(tmp_path, "root/a/b.mp4", "root/frames/img_00001.jpg", "outside.mp4")
    file = write(tmp_path / "val.csv", f"a/b.mp4 0\nframes 1\n{outside} 2\na/none.mp4 3\n")
    found = [sample.path for sample in load_kinetics(file, data_root=root).samples]
    assert found == [root / "a/b.mp4", root / "frames", outside, None]


def test_a_number_of_frames_is_remarked_on(tmp_path: Path) -> None:
    assert "number of frames" in str(load_kinetics(write(tmp_path / "val.csv", "a.mp4 300 3\n")).notes[0])


def test_a_folder_of_annotations_must_hold_one_file_of_the_split(tmp_path: Path) -> None:
    packed = tmp_path / "kinetics-400_val.csv.gz"
    packed.write_bytes(gzip.compress((HEAD + "abseiling,0wR5jVB-WPk,417,427,val\n").encode()))
    write(tmp_path / "train.csv", "a.mp4 0\nb.mp4 0\n")
    assert len(load_kinetics(tmp_path).samples) == 1
    assert len(load_kinetics(tmp_path, split="train").samples) == 2
    with pytest.raises(UsageError, match="test"):
        load_kinetics(tmp_path, split="test")
    write(tmp_path / "val.csv", "a.mp4 0\n")
    with pytest.raises(UsageError, match=r"more than one .*kinetics-400_val\.csv\.gz, val\.csv"):
        load_kinetics(tmp_path)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", gzip.compress(b"label")[:-6]], ids=["binary", "half a gzip"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "val.csv").write_bytes(content)
    with pytest.raises(TadaError, match=r"val\.csv"):
        load_kinetics(tmp_path / "val.csv")
    with pytest.raises(UsageError, match="no file"):
        load_kinetics(tmp_path / "other.csv")
    with pytest.raises(UsageError, match="no folder"):
        load_kinetics(write(tmp_path / "a.csv", "a.mp4 0\n"), data_root=tmp_path / "none")


def test_without_annotations_the_folders_are_the_classes(tmp_path: Path) -> None:
    touch(tmp_path, "air_drumming/b.mp4", "air_drumming/a.webm", "zumba/c.mp4", "zumba/notes.txt")
    data = load_kinetics(None, data_root=tmp_path)
    assert rows(data) == [("air_drumming/a.webm", 1), ("air_drumming/b.mp4", 1), ("zumba/c.mp4", 399)]
    assert data.heads == {"": label_list("kinetics400")}
    assert tuple(map(str, data.notes)) == ("1 of 4 rows are not used: not a video file",)
    touch(tmp_path, "my class/d.mp4")
    with pytest.raises(UsageError, match="my class"):
        load_kinetics(None, data_root=tmp_path)
