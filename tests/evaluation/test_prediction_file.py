"""Files of predictions: cut anywhere they are continued, joined in any order they are one, and nothing else is."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tadacli.errors import OutputError, TadaError, UsageError
from tadacli.evaluation.prediction_file import (
    Header,
    ItemScores,
    PredictionFile,
    Shard,
    is_prediction_file,
    of_items,
    parse_shard,
    read_predictions,
)
from tadacli.results import Run

RUN = Run("1.0", "ab" * 32, {"name": "a model"}, {"views": "2x1", "batch_size": 8}, "0123456789ab")
HEADER = Header("csv", "all", 9, None, RUN, {"": ("pan", "tilt", "zoom")})
NUM_CUTS = 40


def make_items(folder: Path) -> list[ItemScores]:
    """Nine items as a run makes them: two that failed, one without a file, one short, one that ends behind."""
    rng = np.random.default_rng(0)
    items = []
    for number in range(9):
        path = folder / f"clip é {number}.mp4"
        path.write_bytes(bytes(100 + number))
        values = [float(f"{value:.7g}") for value in rng.dirichlet(np.ones(3))]
        items.append(ItemScores(f"item {number}", str(path), "ok", "", {"": values}, size_bytes=100 + number))
    for number in (2, 5):
        items[number] = replace(items[number], status="error", error="is damaged", scores={})
    items[4] = ItemScores("item 4", "", "error", "no video file was found")
    items[6] = replace(items[6], status="short")
    items[7] = replace(items[7], start_seconds=1.5, end_seconds=2.5, cut_seconds=0.25)
    return items


def paths_of(items: Sequence[ItemScores]) -> dict[str, str]:
    """The video of each item, as the data set knows it."""
    return {item.id: item.path for item in items}


def write(path: Path, items: Sequence[ItemScores], *, header: Header = HEADER, resume: bool = False) -> list[str]:
    """Write what is not there yet, as a run does; the ids that were written."""
    file = PredictionFile(path, header, paths=paths_of(items), resume=resume)
    left = [item for item in items if item.id not in file.done]
    for item in left:
        file.add(item)
    file.close()
    return [item.id for item in left]


def test_what_was_written_is_read(tmp_path: Path) -> None:
    items = make_items(tmp_path)
    write(tmp_path / "p.jsonl", items)
    saved = read_predictions([tmp_path / "p.jsonl"])
    scored = [item for item in items if item.status != "error"]
    assert saved.header == HEADER
    assert saved.table.ids.tolist() == [item.id for item in scored]
    assert saved.table.scores[""].tolist() == [list(item.scores[""]) for item in scored]
    assert saved.failed == {"item 2": "is damaged", "item 4": "no video file was found", "item 5": "is damaged"}
    assert (saved.num_short, saved.cut_seconds) == (1, {"item 7": 0.25})
    assert is_prediction_file(tmp_path / "p.jsonl")
    assert not is_prediction_file(tmp_path / "none.jsonl")


def test_a_file_that_is_cut_anywhere_is_completed_to_the_same_bytes(tmp_path: Path) -> None:
    items, path = make_items(tmp_path), tmp_path / "p.jsonl"
    write(path, items)
    whole = path.read_bytes()
    ends = [place + 1 for place, byte in enumerate(whole) if byte == ord("\n")]
    positions = [*random.Random(0).sample(range(len(whole)), NUM_CUTS), 0, 1]
    for position in sorted(positions + ends + [end - 1 for end in ends]):
        path.write_bytes(whole[:position])
        written = write(path, items, resume=True)
        num_whole = max(0, sum(end <= position for end in ends) - 1)
        assert path.read_bytes() == whole, f"cut behind {position} bytes"
        assert written == [item.id for item in items[num_whole:]], f"cut behind {position} bytes"


def test_a_file_is_whole_after_every_item(tmp_path: Path) -> None:
    items, path = make_items(tmp_path), tmp_path / "p.jsonl"
    file = PredictionFile(path, HEADER, paths=paths_of(items), resume=False)
    for number, item in enumerate(items, start=1):
        file.add(item)
        content = path.read_bytes()
        assert (content.count(b"\n"), content[-1:]) == (1 + number, b"\n")
        assert file.done[item.id] == item.status
    file.close()


def test_items_whose_video_has_changed_are_dropped(tmp_path: Path) -> None:
    items, path = make_items(tmp_path), tmp_path / "p.jsonl"
    write(path, items)
    Path(items[1].path).write_bytes(bytes(7))
    Path(items[5].path).write_bytes(bytes(8))
    Path(items[8].path).unlink()
    there_now = {"item 4": items[3].path, "item 7": str(tmp_path / "moved" / "clip.mp4")}
    file = PredictionFile(path, HEADER, paths=paths_of(items) | there_now, resume=True)
    file.close()
    dropped = {"item 1", "item 4", "item 5", "item 7", "item 8"}
    assert {item.id for item in items} - set(file.done) == dropped
    assert [json.loads(line)["id"] for line in path.read_bytes().splitlines()[1:]] == list(file.done)


def test_a_file_is_not_continued_without_being_asked(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    write(path, make_items(tmp_path))
    before = path.read_bytes()
    with pytest.raises(OutputError, match="exists and is not overwritten") as caught:
        PredictionFile(path, HEADER, paths={}, resume=False)
    assert "--resume" in caught.value.hint
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "other",
    [
        replace(HEADER, run=replace(RUN, id="ffffffffffff")),
        replace(HEADER, split="test"),
        replace(HEADER, dataset="k400"),
        replace(HEADER, shard=Shard(1, 2)),
        replace(HEADER, num_items=10),
    ],
    ids=["run", "split", "dataset", "shard", "number of items"],
)
def test_predictions_of_other_settings_are_not_continued(tmp_path: Path, other: Header) -> None:
    path = tmp_path / "p.jsonl"
    write(path, make_items(tmp_path))
    before = path.read_bytes()
    with pytest.raises(OutputError, match="other settings"):
        PredictionFile(path, other, paths={}, resume=True)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "content", [b"a,b\n1,2\n", b"{}\n", b"\x00\xff\n", b"[1]\n", b'{"kind": "other"}\n', b"no end"]
)
def test_other_files_are_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "p.jsonl"
    path.write_bytes(content)
    with pytest.raises(OutputError, match="holds no predictions"):
        PredictionFile(path, HEADER, paths={}, resume=True)
    with pytest.raises(UsageError, match="holds no predictions"):
        read_predictions([path])
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"scores": {"": [', b'"scores": {"": [0.5, '),
        (b'"status": "ok"', b'"state": "ok"'),
        (b'{"id": "item 1"', b'["id"'),
        (b'"scores": {"": [', b'"scores": {"head": ['),
        (b'"scores": {"": [', b'"scores": {"": ["a", '),
    ],
    ids=["too many scores", "unknown field", "no JSON", "unknown head", "text for a score"],
)
def test_a_damaged_line_is_named(tmp_path: Path, old: bytes, new: bytes) -> None:
    path = tmp_path / "p.jsonl"
    write(path, make_items(tmp_path))
    lines = path.read_bytes().splitlines(keepends=True)
    assert old in lines[2]
    lines[2] = lines[2].replace(old, new, 1)
    path.write_bytes(b"".join(lines))
    with pytest.raises(TadaError, match="line 3"):
        read_predictions([path])
    with pytest.raises(TadaError, match="line 3"):
        PredictionFile(path, HEADER, paths={}, resume=True)


@settings(max_examples=20, deadline=None)
@given(order=st.permutations(range(4)), ends=st.lists(st.integers(0, 9), min_size=3, max_size=3))
def test_shards_are_one_run_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], ends: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("shards")
    items = make_items(folder)
    bounds = [0, *sorted(ends), 9]
    paths = [folder / f"{number}.jsonl" for number in range(4)]
    for number, path in enumerate(paths):
        shard = replace(HEADER, shard=Shard(number + 1, 4))
        write(path, items[bounds[number] : bounds[number + 1]], header=shard)
    joined, whole = read_predictions([paths[number] for number in order]), of_items(HEADER, items)
    assert joined.failed == whole.failed
    assert (joined.num_short, joined.cut_seconds) == (whole.num_short, whole.cut_seconds)
    rows = dict(zip(joined.table.ids.tolist(), joined.table.scores[""].tolist(), strict=True))
    assert rows == dict(zip(whole.table.ids.tolist(), whole.table.scores[""].tolist(), strict=True))


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    items = make_items(tmp_path)
    first, second, third = (tmp_path / f"{number}.jsonl" for number in range(3))
    write(first, items[:5], header=replace(HEADER, shard=Shard(1, 2)))
    write(second, items[4:], header=replace(HEADER, shard=Shard(2, 2)))
    other = replace(RUN, settings={**RUN.settings, "views": "3x1"}, id="ffffffffffff")
    write(third, items[5:], header=replace(HEADER, run=other))
    with pytest.raises(UsageError, match=r"item 0 stands in .*0\.jsonl and in .*0\.jsonl"):
        read_predictions([first, first])
    with pytest.raises(UsageError, match=r"item 4 stands in .*0\.jsonl and in .*1\.jsonl"):
        read_predictions([first, second])
    with pytest.raises(UsageError, match=r"not of one run: views 2x1, now 3x1$"):
        read_predictions([first, third])
    with pytest.raises(UsageError, match="there is no file"):
        read_predictions([first, tmp_path / "none.jsonl"])


def test_a_half_line_at_the_end_is_no_item(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    write(path, make_items(tmp_path))
    path.write_bytes(path.read_bytes()[:-20])
    assert len(read_predictions([path]).table.ids) == 5


@pytest.mark.parametrize("text", ["", "3", "0/3", "4/3", "1/0", "a/b", "1/3/5", "-1/3", "1.0/3", "²/3", " 1/3"])
def test_shards_that_do_not_exist(text: str) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        parse_shard(text)


def test_shards_are_written_as_they_are_read() -> None:
    assert parse_shard("3/8") == Shard(3, 8)
    assert str(Shard(3, 8)) == "3/8"


def test_two_runs_do_not_write_to_one_file_and_an_empty_one_of_a_person_stays(tmp_path: Path) -> None:
    items, path = make_items(tmp_path), tmp_path / "p.jsonl"
    path.touch()
    with pytest.raises(OutputError, match="exists and is not overwritten"):
        write(path, items)
    first = PredictionFile(path, HEADER, paths=paths_of(items), resume=True)
    with pytest.raises(OutputError, match="another run is writing to"):
        write(path, items, resume=True)
    first.close()
    assert write(path, items, resume=True) == [item.id for item in items]


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"p\.jsonl cannot be written: there is no folder .*none$"):
        write(tmp_path / "none" / "p.jsonl", make_items(tmp_path))


def test_shards_of_machines_with_other_numbers_of_threads_are_joined_but_not_continued(tmp_path: Path) -> None:
    items, paths = make_items(tmp_path), [tmp_path / "1.jsonl", tmp_path / "2.jsonl"]
    runs = [replace(RUN, settings={**RUN.settings, "threads": number}, id=f"run of {number}") for number in (2, 4)]
    for number, (path, run) in enumerate(zip(paths, runs, strict=True)):
        write(path, items[number::2], header=replace(HEADER, run=run, shard=Shard(number + 1, 2)))
    assert read_predictions(paths).num_items == len(items)
    with pytest.raises(OutputError, match=r"made with other settings \(threads 2, now 4\)"):
        write(paths[0], items[::2], header=replace(HEADER, run=runs[1], shard=Shard(1, 2)), resume=True)
