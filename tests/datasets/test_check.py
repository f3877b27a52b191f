"""The check of a data set: each kind of breakage is put in on purpose, and found where it is and nowhere else."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import shutil
import threading
from collections import Counter
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tadacli.datasets import check as dataset_check
from tadacli.datasets.check import DatasetCheck, Finding, FindingKind, SplitCount, check_dataset
from tadacli.datasets.loading import load_csv
from tadacli.datasets.overlaps import Item, duplicate_reasons, find_leaks
from tadacli.datasets.samples import Dataset, Sample, UnusedKind, UnusedRow
from tadacli.errors import UsageError
from tadacli.reports.check import check_rows, encode_check
from tadacli.results import Note, NoteKind
from tadacli.video.reading import open_video
from tests.media import jpeg_bytes, render, shared_folder, shared_media


def own(folder: Path, *rows: str, name: str = "own.csv") -> Dataset:
    """A CSV data set; rows are path,label,start,end."""
    (folder / name).write_text("path,label,start,end\n" + "".join(row + "\n" for row in rows))
    return load_csv(folder / name)


def kinds(check: DatasetCheck) -> list[tuple[str, str]]:
    return [(finding.id, finding.kind) for finding in check.findings]


def spoil(path: Path, *, at: float, length: int = 4000) -> None:
    """Overwrites bytes in the middle of a file with noise."""
    content = bytearray(path.read_bytes())
    start = int(len(content) * at)
    content[start : start + length] = random.Random(0).randbytes(length)
    path.write_bytes(content)


def cut(path: Path, *, keep: float) -> None:
    os.truncate(path, int(path.stat().st_size * keep))


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos of two seconds, 60 frames, most of them broken in one way each."""
    folder = tmp_path_factory.mktemp("tree")
    render(folder / "sound.mp4", 60)
    render(folder / "other.mp4", 60, noise=8)
    shutil.copy(folder / "sound.mp4", folder / "copy.mp4")
    (folder / "link.mp4").symlink_to("sound.mp4")
    (folder / "empty.mp4").touch()
    (folder / "page.mp4").write_text("<html>not found</html>")
    render(folder / "one.mp4", 1)
    render(folder / "short.mp4", 12)
    render(folder / "late.mp4", 60, noise=60)
    cut(folder / "late.mp4", keep=0.6)
    render(folder / "early.mp4", 60, noise=60, container_options={"movflags": "faststart"})
    cut(folder / "early.mp4", keep=0.6)
    render(folder / "cut.mkv", 60, noise=60)
    cut(folder / "cut.mkv", keep=0.6)
    render(folder / "spoiled.mp4", 60, noise=60, options={"g": "15"})
    spoil(folder / "spoiled.mp4", at=0.5)
    return folder


ROWS = [
    "sound.mp4,a,,",
    "gone.mp4,a,,",
    "empty.mp4,a,,",
    "page.mp4,b,,",
    "copy.mp4,b,,",
    "link.mp4,a,,",
    "one.mp4,a,,",
    "short.mp4,a,,",
    "late.mp4,a,,",
    "early.mp4,a,,",
    "cut.mkv,a,,",
    "spoiled.mp4,b,,",
    "other.mp4,a,0.5,1.5",
    "other.mp4,a,1.0,2.02",
    "other.mp4,a,1.5,2.5",
    "other.mp4,a,2.5,3",
    "other.mp4,b,0.5,0.51",
    "other.mp4,a,0.5,1.5",
]


def test_each_breakage_is_found_and_nothing_else(tree: Path) -> None:
    check = check_dataset({"validation": own(tree, *ROWS)}, workers=1)
    assert kinds(check) == [
        ("gone.mp4", "missing"),
        ("empty.mp4", "unreadable"),
        ("page.mp4", "unreadable"),
        ("copy.mp4", "duplicate"),
        ("link.mp4", "duplicate"),
        ("one.mp4", "too short"),
        ("late.mp4", "unreadable"),
        ("early.mp4", "damaged or cut short"),
        ("cut.mkv", "damaged or cut short"),
        ("spoiled.mp4", "damaged or cut short"),
        ("other.mp4@1.5-2.5", "span outside the video"),
        ("other.mp4@2.5-3.0", "span outside the video"),
        ("other.mp4@0.5-0.51", "too short"),
        ("other.mp4@0.5-1.5", "unused row"),
    ]
    assert check.splits == (SplitCount("validation", "csv", 18, 17, 6, 0),)
    assert check.num_files == 12
    assert check.counts == dict(Counter(kind for _, kind in kinds(check)))
    reason_of = {finding.id: finding.reason for finding in check.findings}
    assert "empty file" in reason_of["empty.mp4"]
    assert "text file" in reason_of["page.mp4"]
    assert reason_of["copy.mp4"] == "the same bytes as sound.mp4, with another label"
    assert reason_of["link.mp4"] == "the same file as sound.mp4"
    assert reason_of["one.mp4"] == "1 frames, a clip has 2"
    assert "cut short" in reason_of["late.mp4"]
    assert "behind the point where the file was cut off" in reason_of["early.mp4"]
    assert "cut short" in reason_of["cut.mkv"]
    assert "of 9 frames looked at are lost: frame " in reason_of["spoiled.mp4"]
    assert reason_of["other.mp4@1.5-2.5"] == "it ends at 2.50 s, the video at 2.00 s"
    assert reason_of["other.mp4@2.5-3.0"] == "nothing of it, the video lasts 2.00 s"
    assert reason_of["other.mp4@0.5-1.5"] == "line 19: repeats an earlier row"
    gone, empty = check.findings[:2]
    assert gone == Finding(FindingKind.MISSING, "validation", "gone.mp4", "", gone.reason)
    assert empty.path == str(tree / "empty.mp4")


def test_the_number_of_workers_changes_nothing(tree: Path) -> None:
    splits = {"train": own(tree, *ROWS[6:], name="train.csv"), "validation": own(tree, *ROWS)}
    told: list[tuple[int, int]] = []
    alone = check_dataset(splits, workers=1, on_progress=lambda done, total: told.append((done, total)))
    assert told == [(number, 12) for number in range(1, 13)]
    together = check_dataset(splits, workers=4)
    assert together == alone
    for form in ("table", "json", "csv"):
        assert encode_check(together, form) == encode_check(alone, form)
    with pytest.raises(UsageError, match="0 workers"):
        check_dataset(splits, workers=0)


def test_damage_is_that_of_the_span(tree: Path) -> None:
    """A span of a broken file is sound where its own frames can be had."""
    spans = "spoiled.mp4,a,0,0.3", "spoiled.mp4,a,0.9,1.1", "early.mp4,a,0,0.5", "early.mp4,a,1.5,2", "cut.mkv,a,0,0.5"
    spans = (*spans, "cut.mkv,a,1.9,2.5")
    check = check_dataset({"": own(tree, *spans)}, workers=2)
    assert kinds(check) == [
        ("spoiled.mp4@0.9-1.1", "damaged or cut short"),
        ("early.mp4@1.5-2.0", "damaged or cut short"),
        ("cut.mkv@1.9-2.5", "damaged or cut short"),
    ]
    assert "the file was cut short" in check.findings[-1].reason


def test_spans_count_from_the_first_frame_of_a_video_that_starts_late(tmp_path: Path) -> None:
    spans = "0,1", "0,2", "1.5,2.5", "2.5,3", "5,6", "0.51,0.52", ",0.5", "1.5,"
    late = {"pts": range(450_000, 630_000, 3000), "time_base": Fraction(1, 90_000)}
    render(tmp_path / "video.ts", 60, **late)  # type: ignore[arg-type]
    with open_video(tmp_path / "video.ts") as source:
        start = source.info.start_seconds
    assert start >= 5
    found = check_dataset({"": own(tmp_path, *(f"video.ts,a,{span}" for span in spans))}, workers=1)
    assert [(finding.id, finding.kind, finding.reason) for finding in found.findings] == [
        ("video.ts@1.5-2.5", "span outside the video", "it ends at 2.50 s, the video at 2.00 s"),
        ("video.ts@2.5-3.0", "span outside the video", "nothing of it, the video lasts 2.00 s"),
        ("video.ts@5.0-6.0", "span outside the video", "nothing of it, the video lasts 2.00 s"),
        ("video.ts@0.51-0.52", "too short", "no frame appears within the span"),
    ]


def test_damage_in_a_video_that_starts_late_is_where_annotations_count(tmp_path: Path) -> None:
    """The same pictures, shown from the start and from second 5 on, have the same findings."""
    checks = []
    for name, first in (("early", 0), ("late", 150)):
        (tmp_path / name).mkdir()
        pts = range(first, first + 60)
        render(tmp_path / name / "video.mkv", 60, noise=60, options={"g": "15"}, pts=pts)
        spoil(tmp_path / name / "video.mkv", at=0.5)
        render(tmp_path / name / "cut.mkv", 60, noise=60, pts=pts)
        cut(tmp_path / name / "cut.mkv", keep=0.6)
        rows = [
            f"{file},a,{span}" for file in ("video.mkv", "cut.mkv") for span in ("0,0.3", "0.9,1.1", "1.1,2", "1.9,2.5")
        ]
        check = check_dataset({"": own(tmp_path / name, *rows)}, workers=1)
        checks.append([(finding.id, finding.kind, finding.reason) for finding in check.findings])
    early, late = checks
    assert late == early
    assert "video.mkv@0.9-1.1" in {name for name, _, _ in early}
    assert "video.mkv@0.0-0.3" not in {name for name, _, _ in early}
    assert "cut.mkv@0.0-0.3" not in {name for name, _, _ in early}


@pytest.mark.parametrize(
    ("clip", "found"),
    [
        ({}, []),
        ({"clip_frames": 12}, []),
        ({"clip_frames": 13}, ["short.mp4"]),
        ({"clip_seconds": 0.4}, []),
        ({"clip_seconds": 0.41}, ["short.mp4"]),
        ({"clip_frames": 61, "clip_seconds": 3.0}, ["sound.mp4", "short.mp4"]),
    ],
)
def test_too_short_is_what_the_clip_says(tree: Path, clip: dict[str, float], found: list[str]) -> None:
    check = check_dataset({"": own(tree, "sound.mp4,a,,", "short.mp4,a,,")}, workers=1, **clip)  # type: ignore[arg-type]
    assert kinds(check) == [(name, "too short") for name in found]


@pytest.mark.parametrize("clip", [{"clip_frames": 0}, {"clip_seconds": -1.0}, {"clip_seconds": float("nan")}])
def test_a_clip_that_is_none(clip: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="no clip"):
        check_dataset({}, workers=1, **clip)  # type: ignore[arg-type]


def test_a_split_that_shares_with_another(tree: Path) -> None:
    train = own(tree, "sound.mp4,a,,", "other.mp4,a,0,1", "short.mp4,b,,", name="train.csv")
    rows = "copy.mp4,b,,", "sound.mp4,b,,", "other.mp4,a,0.9,1.5", "other.mp4,a,1,2", "one.mp4,a,,", "short.mp4,a,0,0.2"
    check = check_dataset({"train": train, "validation": own(tree, *rows)}, workers=2)
    assert [(f.split, f.id, f.reason) for f in check.findings if f.kind == "in several splits"] == [
        ("validation", "copy.mp4", "the same bytes as sound.mp4 in train"),
        ("validation", "sound.mp4", "the same file as sound.mp4 in train"),
        ("validation", "other.mp4@0.9-1.5", "the same file as other.mp4@0.0-1.0 in train, and their spans overlap"),
        ("validation", "other.mp4@1.0-2.0", "the same file as other.mp4@0.0-1.0 in train, at other times"),
        ("validation", "short.mp4@0.0-0.2", "the same file as short.mp4 in train, and their spans overlap"),
    ]
    assert check_dataset({"train": train}, workers=1).counts == {}


def test_videos_are_shared_by_their_ids_where_the_data_set_names_them() -> None:
    def dataset(name: str, number: int) -> dict[str, Dataset]:
        train = Sample("v_000001_000011", None, {"": 0}, video_id="v")
        test = Sample(f"v_0000{number}", None, {"": 0}, video_id="v")
        return {"train": Dataset(name, {"": ("a",)}, (train,)), "test": Dataset(name, {"": ("a",)}, (test,))}

    found = check_dataset(dataset("kinetics", 20), workers=1)
    assert found.counts == {"missing": 2, "in several splits": 1}
    assert found.findings[-1].reason == "the same video (v) as v_000001_000011 in train"
    assert check_dataset(dataset("folder", 20), workers=1).counts == {"missing": 2}


def test_rows_of_other_splits_are_no_problem(tree: Path) -> None:
    unused = (
        UnusedRow("line 2", "x", UnusedKind.OTHER_SPLIT, "in another split (train)"),
        UnusedRow("line 3", "y", UnusedKind.REPEATED, "repeats an earlier row"),
    )
    samples = Sample("s", tree / "sound.mp4"), Sample("t", tree / "short.mp4", {"": 0})
    data = Dataset("csv", {"": ("a",)}, samples, unused, (Note(NoteKind.READING, "read in some way"),))
    check = check_dataset({"validation": data}, workers=1)
    assert check.splits == (SplitCount("validation", "csv", 4, 2, 2, 1),)
    assert kinds(check) == [("y", "unused row")]
    assert tuple(map(str, check.notes)) == ("validation: read in some way", "validation: 1 of 2 samples have no label")


def test_folders_of_frames(tmp_path: Path) -> None:
    for name in ("P01_11", "P01_12"):
        (tmp_path / name).mkdir()
        for number in range(1, 61):
            (tmp_path / name / f"frame_{number:010d}.jpg").write_bytes(jpeg_bytes(number))
    damaged = tmp_path / "P01_12" / "frame_0000000060.jpg"
    damaged.write_bytes(damaged.read_bytes()[:200])
    check = check_dataset(
        {"": own(tmp_path, "P01_11,a,,", "P01_12,a,,", "P01_12,a,0,0.5", "P01_11,a,0.5,2")}, workers=2
    )
    assert kinds(check) == [("P01_12", "damaged or cut short"), ("P01_11@0.5-2.0", "span outside the video")]
    assert "frame 59 at 0.98 s" in check.findings[0].reason


def test_each_file_is_opened_once_and_few_wait(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(dataset_check, "open_video", lambda path, **how: opened.append(path) or open_video(path, **how))
    rows = [f"other.mp4,a,{number / 10},{number / 10 + 0.5}" for number in range(10)]
    check = check_dataset({"": own(tree, *rows, "sound.mp4,a,,")}, workers=3)
    assert Counter(opened) == {str(tree / "other.mp4"): 1, str(tree / "sound.mp4"): 1}
    assert check.findings == ()


def test_an_interrupt_ends_the_workers_and_what_waits_is_not_opened(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"part{number}.mp4" for number in range(60)]
    for name in names:
        (tree / name).symlink_to("short.mp4")
    opened: list[str] = []
    monkeypatch.setattr(dataset_check, "open_video", lambda path, **how: opened.append(path) or open_video(path, **how))

    def interrupt(done: int, _: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    data = own(tree, *(f"{name},a,," for name in names), name="many.csv")
    with pytest.raises(KeyboardInterrupt):
        check_dataset({"": data}, workers=2, on_progress=interrupt)
    assert len(opened) < 30
    assert [thread for thread in threading.enumerate() if thread.name.startswith("tada-check")] == []


# --- comparing --------------------------------------------------------------------------------------------

TIMES = st.one_of(st.none(), st.integers(0, 6).map(float))
ITEMS = st.lists(st.tuples(st.integers(0, 2), TIMES, TIMES, st.sampled_from(["", "v", "w"])), max_size=8)


def items_of(drawn: list[tuple[int, float | None, float | None, str]]) -> list[Item]:
    """Items with spans that have a length; file 0 stands for no file."""
    return [
        Item(f"{number}", (start, end), {}, (0, file) if file else None, "", video)
        for number, (file, start, end, video) in enumerate(drawn)
        if (start or 0.0) < (float("inf") if end is None else end)
    ]


@given(ITEMS, ITEMS)
def test_sharing_is_what_comparing_all_pairs_finds(train: list, test: list) -> None:  # type: ignore[type-arg]
    earlier, later = items_of(train), items_of(test)
    for item, leaks in zip(later, find_leaks({"train": earlier, "test": later})["test"], strict=True):
        same = [
            other
            for other in earlier
            if (item.file is not None and other.file == item.file) or (item.video and other.video == item.video)
        ]
        overlapping = [other for other in same if other.start < item.end and item.start < other.end]
        assert bool(leaks) == bool(same)
        if leaks:
            (reason,) = (leak.reason for leak in leaks)
            assert ("at other times" in reason) == (not overlapping)
            named = reason.split(" in train")[0].rsplit(" as ", 1)[1]
            assert named in {other.id for other in overlapping or same}


@given(ITEMS)
def test_a_duplicate_has_an_equal_before_it(drawn: list) -> None:  # type: ignore[type-arg]
    items = items_of(drawn)
    for place, (item, reason) in enumerate(zip(items, duplicate_reasons(items), strict=True)):
        equal = [
            other.id for other in items[:place] if item.file and (other.file, other.span) == (item.file, item.span)
        ]
        assert reason == (f"the same file as {equal[0]}" if equal else "")


# --- writing ----------------------------------------------------------------------------------------------

CHECK = DatasetCheck(
    (SplitCount("train", "csv", 5, 3, 1, 1), SplitCount("validation", "csv", 1, 1, 1, 0)),
    3,
    (
        Finding(FindingKind.UNREADABLE, "train", "a,\x1b[2Jb", "/d/a,\x1b[2Jb", 'says "no"'),
        Finding(FindingKind.MISSING, "train", "c\udcff", "", "none"),
        Finding(FindingKind.UNREADABLE, "train", "ä", "/d/ä", "empty"),
    ),
    (Note(NoteKind.READING, "train: read so"),),
)


def test_a_check_as_text() -> None:
    assert encode_check(CHECK, "table").decode().splitlines() == [
        "train (csv): 1 of 3 samples have a sound video; 5 rows, 1 of them of other splits",
        "validation (csv): 1 of 1 samples have a sound video; 1 rows",
        "3 files opened",
        "note: train: read so",
        "3 problems",
        "",
        "missing: 1",
        r"  train: c\udcff: none",
        "",
        "unreadable: 2",
        r'  train: a,\x1b[2Jb (/d/a,\x1b[2Jb): says "no"',
        "  train: ä (/d/ä): empty",
    ]
    assert encode_check(DatasetCheck((), 0, ()), "table") == b"0 files opened\nno problems\n"


def test_a_check_for_programs() -> None:
    content = json.loads(encode_check(CHECK, "json"))
    assert content["findings"] == check_rows(CHECK)
    assert content["counts"] == {"missing": 1, "unreadable": 2}
    assert content["splits"][0] == {
        "split": "train",
        "dataset": "csv",
        "num_rows": 5,
        "num_samples": 3,
        "num_sound": 1,
        "num_other_splits": 1,
    }
    text = encode_check(CHECK, "csv").decode("utf-8")
    assert list(csv.DictReader(io.StringIO(text, newline=""))) == [
        {key: str(value).encode("utf-8", "backslashreplace").decode() for key, value in row.items()}
        for row in check_rows(CHECK)
    ]
    with pytest.raises(UsageError, match="no format 'xml'"):
        encode_check(CHECK, "xml")  # type: ignore[arg-type]


# --- real files -------------------------------------------------------------------------------------------


def test_real_files_are_found_as_the_list_of_them_says(tmp_path: Path) -> None:
    root, media = shared_folder() / "media", shared_media()
    # The one of 20,000 frames is long to read, and says nothing that others do not.
    rows = [row for row in media if not row["frames"] or int(row["frames"]) < 5000]
    (tmp_path / "media.csv").write_text("path,label\n" + "".join(f'"{row["file"]}",x\n' for row in rows))
    check = check_dataset({"all": load_csv(tmp_path / "media.csv", data_root=root)}, workers=2)
    unreadable = {finding.id for finding in check.findings if finding.kind == "unreadable"}
    assert unreadable == {row["file"] for row in rows if row["frames"] in ("", "0")}
    assert {f.id for f in check.findings if f.kind == "too short"} == {r["file"] for r in rows if r["frames"] == "1"}
    first: dict[str, str] = {}
    again = {
        row["file"]: f"the same bytes as {first[row['sha256']]}"
        for row in rows
        if row["file"] not in unreadable and first.setdefault(row["sha256"], row["file"]) != row["file"]
    }
    assert {f.id: f.reason for f in check.findings if f.kind == "duplicate"} == again
    assert set(check.counts) <= {"unreadable", "too short", "duplicate"}, "no sound file is called damaged"
    assert len(rows) >= 130
    assert Fraction(check.splits[0].num_sound, len(rows)) > Fraction(4, 5)
