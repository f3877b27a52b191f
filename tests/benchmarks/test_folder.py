"""The benchmark of many short videos: its clips, the ways to score them, and the table."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import folder, folder_clips
from benchmarks.folder import CLASSIFY, EVAL, OURS, PUBLISHED, SAME, THEIRS, Cost, Folder
from tadacli.video.reading import probe
from tadacli.zoo import DEFAULT_MODEL


@pytest.fixture
def clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Path]]:
    monkeypatch.setattr(folder_clips, "SECONDS", (0.2, 0.4))
    monkeypatch.setattr(folder_clips, "SIZES", ((96, 128),))
    return folder_clips.make_clips(tmp_path / "pool", 8, media=None)


def test_clips_are_of_every_container_and_kept(clips: dict[str, list[Path]], tmp_path: Path) -> None:
    assert {name: len(paths) for name, paths in clips.items()} == {"mp4": 2, "mkv": 2, "webm": 2, "avi": 2}
    for name, paths in clips.items():
        for path in paths:
            info = probe(path)
            assert (info.height, info.width, path.suffix) == (96, 128, f".{name}")
            assert 6 <= info.num_frames <= 12
    before = {path: path.stat().st_mtime_ns for paths in clips.values() for path in paths}
    assert folder_clips.make_clips(tmp_path / "pool", 8, media=None) == clips
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.parametrize("way", [EVAL, SAME])
def test_a_way_finds_the_scores_and_says_what_it_took(way: str, clips: dict[str, list[Path]], tmp_path: Path) -> None:
    """Each is a process of its own."""
    if way not in OURS:
        pytest.importorskip("torchcodec")
    laid_out = folder.laid_out(tmp_path / "mkv", clips["mkv"])
    worker = folder.Worker(way)
    try:
        for path, count in ((laid_out.path, 2), (laid_out.first, 1)):
            cost = worker.run(path, DEFAULT_MODEL, tmp_path / "found.jsonl")
            assert cost.cpu > cost.network > 0
            found = folder.scores_in(tmp_path / "found.jsonl", way)
            assert sorted(Path(path).name for path in found) == [path.name for path in clips["mkv"][:count]]
            for scores in found.values():
                assert sum(scores.values()) == pytest.approx(1, abs=1e-5)
                assert sorted(scores) == list(range(9))
    finally:
        worker.close()


def test_ways_that_disagree_are_not_timed() -> None:
    ours = {"a": {0: 0.6, 1: 0.4}}
    assert folder.check(ours, {"a": {0: 0.59, 1: 0.41}}, SAME) == pytest.approx(0.01)
    for other in ({0: 0.5, 1: 0.5}, {0: float("nan"), 1: 0.4}):
        with pytest.raises(SystemExit, match="differs"):
            folder.check(ours, {"a": other}, SAME)
    with pytest.raises(SystemExit, match="lacks"):
        folder.check(ours, {"b": ours["a"]}, SAME)


def test_the_first_clip_and_the_network_are_taken_off(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A clip takes 3 s of ours, 1 of them the network, and 8 s of the others, 4 of them the network."""
    folders = [Folder(name, tmp_path / name, tmp_path / f"first {name}", n) for name, n in (("mp4", 11), ("avi", 21))]
    counts = {each.path: each.count for each in folders} | {each.first: 1 for each in folders}

    class Worker(folder.Worker):
        def __init__(self, way: str) -> None:
            self.way = way

        def run(self, folder: Path, model: str, output: Path) -> Cost:  # noqa: ARG002 - as it is called
            per_clip = Cost(3, 1) if self.way in OURS else Cost(8, 4)
            return Cost(100 + per_clip.cpu * counts[folder], per_clip.network * counts[folder])

    workers = [Worker(way) for way in (*OURS, *THEIRS)]
    costs = folder.measure(workers, folders, "model", rounds=2, scratch=tmp_path)
    assert costs[CLASSIFY]["avi"] == [Cost(3, 1)] * 2
    assert costs[PUBLISHED]["mp4"] == [Cost(8, 4)] * 2
    folder.print_table(costs, folders)
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[1] for row in rows] == ["mp4, 11", "avi, 21", "all, 32"] * 2
    for row in rows:
        assert [cell.split()[0] for cell in row[2:6]] == ["0.38", "0.38", "0.50", "0.50"]
    assert rows[2][6] == "0.8 met, 0.6 met |"
