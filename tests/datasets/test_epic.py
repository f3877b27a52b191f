"""EPIC-KITCHENS-100: the real validation csv as a whole, and small ones that are not as published."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest

from tadacli.datasets.epic import (
    epic_heads,
    load_epic,
    load_epic_detection,
    load_epic_subsets,
    seconds_of,
)
from tadacli.errors import UsageError
from tests.media import shared_folder

COLUMNS = (
    "narration_id,participant_id,video_id,narration_timestamp,start_timestamp,stop_timestamp,start_frame,stop_frame,"
    "narration,verb,verb_class,noun,noun_class,all_nouns,all_noun_classes"
)
ROW = (
    "P01_11_1,P01,P01_11,,00:00:01.56,00:01:02.45,93,3747,put down bin,put-down,1,bin:other,36,"
    "\"['bin', 'paper']\",\"[36, 49]\""
)


def annotations(folder: Path, *rows: str, columns: str = COLUMNS) -> Path:
    file = folder / "EPIC_100_validation.csv"
    file.write_text("\n".join([columns, *rows]) + "\n")
    return file


def test_the_published_validation_set_is_read_whole() -> None:
    folder = shared_folder() / "ek100"
    data, truth = load_epic(folder), load_epic_detection(folder / "EPIC_100_validation.csv")
    assert data.num_rows == len(data.samples) == len(truth.starts) == 9668
    assert data.unused == ()
    assert len(truth.videos) == len(set(truth.video_ids.tolist())) == 138
    assert truth.heads == data.heads
    with (folder / "EPIC_100_validation.csv").open(newline="") as file:
        published = list(csv.DictReader(file))
    for row, sample in zip(published, data.samples, strict=True):
        assert sample.id == row["narration_id"]
        assert (sample.labels["verb"], sample.labels["noun"]) == (int(row["verb_class"]), int(row["noun_class"]))
        assert sample.start_seconds is not None
        assert sample.end_seconds is not None
    assert truth.starts.tolist() == [sample.start_seconds for sample in data.samples]
    assert truth.classes["noun"].tolist() == [sample.labels["noun"] for sample in data.samples]
    lengths = truth.ends - truth.starts
    assert np.median(lengths) == pytest.approx(1.96, abs=0.005)
    subsets = load_epic_subsets(folder)
    assert subsets.unseen_participants == {"P18", "P32"}
    assert subsets.tail_verbs is not None
    assert subsets.tail_nouns is not None
    assert (len(subsets.tail_verbs), len(subsets.tail_nouns)) == (86, 228)
    assert load_epic_subsets(folder, split="test").unseen_participants == {"P33", "P34", "P36"}


@pytest.mark.parametrize("head", ["verb", "noun"])
def test_class_names_are_the_published_ones(head: str) -> None:
    with (shared_folder() / "ek100" / f"EPIC_100_{head}_classes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert epic_heads()[head] == tuple(row["key"] for row in rows)
    assert [row["id"] for row in rows] == [str(index) for index in range(len(rows))]


def test_a_row_becomes_a_span_of_its_video(tmp_path: Path) -> None:
    data = load_epic(annotations(tmp_path, ROW))
    (sample,) = data.samples
    assert (sample.id, sample.video_id, sample.participant) == ("P01_11_1", "P01_11", "P01")
    assert (sample.start_seconds, sample.end_seconds) == (1.56, 62.45)
    assert data.names_of(sample) == {"verb": "put", "noun": "bin"}


def test_columns_count_by_name_and_may_be_packed(tmp_path: Path) -> None:
    columns = "noun_class,verb_class,stop_timestamp,start_timestamp,video_id,participant_id,narration_id"
    text = columns + "\n36,1,00:00:02,00:00:01,P01_11,P01,a\n"
    packed = tmp_path / "EPIC_100_validation.csv.gz"
    packed.write_bytes(gzip.compress(text.encode()))
    assert load_epic(tmp_path).samples[0].labels == {"verb": 1, "noun": 36}


def test_the_test_split_has_no_labels(tmp_path: Path) -> None:
    cells = "P01_101_0,P01,P01_101,,00:00:01.00,00:00:02.00,50,100"
    (tmp_path / "EPIC_100_test_timestamps.csv").write_text(",".join(COLUMNS.split(",")[:8]) + "\n" + cells + "\n")
    data = load_epic(tmp_path, split="test")
    assert data.samples[0].labels == {}
    with pytest.raises(UsageError, match="no classes"):
        load_epic_detection(tmp_path, split="test")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("00:00:01.56", "1.56", "start_timestamp"),
        ("00:00:01.56", "00:00:61.56", "start_timestamp"),
        ("00:00:01.56", "00:01:02.45", "empty or reversed"),
        (",1,bin", ",97,bin", "verb_class is '97', not a class from 0 to 96"),
        (",36,", ",300,", "noun_class is '300', not a class from 0 to 299"),
        (",36,", ",,", "noun_class is empty"),
        ("P01,P01_11,", "P02,P01_11,", "video_id"),
        ("P01_11,,", "P01_11,", "14 fields"),
    ],
)
def test_a_row_that_is_not_so_is_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in ROW
    with pytest.raises(UsageError) as caught:
        load_epic(annotations(tmp_path, ROW.replace("11_1,", "11_0,", 1), ROW.replace(old, new, 1)))
    assert "EPIC_100_validation.csv, line 3: " in caught.value.message
    assert said in caught.value.message


def test_narration_ids_are_unique(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="line 3: narration_id 'P01_11_1'"):
        load_epic(annotations(tmp_path, ROW, ROW))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("videos/P01_11.MP4", "one folder of videos"),
        ("P01/videos/P01_11.MP4", "as published"),
        ("EPIC-KITCHENS/P01/videos/P01_11.MP4", "as the downloader leaves it"),
        ("P01/P01_11.mp4", "by participant"),
        ("P01_11.mp4", "flat"),
        ("P01/rgb_frames/P01_11.tar", "frames as published"),
        ("P01/rgb_frames/P01_11/frame_0000000001.jpg", "frames unpacked"),
        ("rgb_frames/P01_11/frame_0000000001.jpg", "one folder of frames"),
        ("rgb_frames/P01/P01_11/frame_0000000001.jpg", "frames by participant"),
    ],
)
def test_videos_are_found_where_copies_keep_them(tmp_path: Path, name: str, why: str) -> None:
    file = tmp_path / "data" / name
    file.parent.mkdir(parents=True)
    file.write_bytes(b"")
    expected = file.parent if file.suffix == ".jpg" else file
    assert load_epic(annotations(tmp_path, ROW), data_root=tmp_path / "data").samples[0].path == expected, why
    assert load_epic_detection(tmp_path, data_root=tmp_path / "data").videos[0].path == expected


def test_a_video_is_preferred_to_its_frames(tmp_path: Path) -> None:
    (tmp_path / "rgb_frames/P01_11").mkdir(parents=True)
    (tmp_path / "P01_11.MP4").write_bytes(b"")
    assert load_epic(annotations(tmp_path, ROW), data_root=tmp_path).samples[0].path == tmp_path / "P01_11.MP4"


def test_lists_that_are_not_there_are_none(tmp_path: Path) -> None:
    (tmp_path / "EPIC_100_tail_verbs.csv").write_text("verb\n10\n")
    subsets = load_epic_subsets(tmp_path)
    assert subsets.tail_verbs == {10}
    assert subsets.tail_nouns is subsets.unseen_participants is None


def test_seconds_are_added_term_by_term() -> None:
    assert seconds_of("01:02:03.45") == 1 * 3600 + 2 * 60 + 3.45
    with pytest.raises(ValueError, match="-1"):
        seconds_of("00:00:-1.00")
