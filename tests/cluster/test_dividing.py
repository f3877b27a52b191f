"""Long videos that several workers search: the bytes of one, whatever happens to them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch

from tadacli.cluster.collecting import collect
from tadacli.cluster.driving import drive
from tadacli.cluster.items import Item, share_id
from tadacli.cluster.ledger import Ledger
from tadacli.cluster.stores import LocalStore
from tadacli.cluster.work import Assignment, DetectWork, FeaturesWork, ModelChoice, Work
from tadacli.detection.detecting import detection_job
from tadacli.detection.settings import SegmentSettings
from tadacli.models import build
from tadacli.sampling.settings import window_settings
from tadacli.sampling.shares import Share
from tadacli.sampling.snippets import snippet_settings
from tadacli.video import reading
from tadacli.zoo.checkpoints import write_checkpoint
from tadacli.zoo.loading import load_model
from tadacli.zoo.manifest import manifest
from tests import media
from tests.cluster.fakes import InlinePool

SECONDS, RATE = 150, 10


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of some minutes, one that is damaged in its middle, and a short one; and a model of random weights."""
    folder = tmp_path_factory.mktemp("long")
    render = {"rate": Fraction(RATE), "time_base": Fraction(1, RATE), "options": {"g": "25"}}
    media.render(folder / "long.mp4", SECONDS * RATE, **render)  # type: ignore[arg-type]
    media.render(folder / "short.mp4", 6 * RATE, **render)  # type: ignore[arg-type]
    media.render(folder / "damaged.mp4", 60 * RATE, **render)  # type: ignore[arg-type]
    content = bytearray((folder / "damaged.mp4").read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2000] = bytes(2000)
    (folder / "damaged.mp4").write_bytes(content)
    spec = replace(manifest()["r2plus1d_tiny.camera_motion"], exclusive_labels=False)
    torch.manual_seed(0)
    state = build(spec.architecture, num_classes=spec.num_classes).state_dict()
    write_checkpoint(folder / "model.safetensors", state, spec)
    return folder


def detecting(folder: Path, share_seconds: float | None, index: str | None = None, *, adaptive: int = 1) -> DetectWork:
    windows = window_settings(window="2s", stride="2s", sampling="stretch", batch_size=2, adaptive_stride=adaptive)
    model = ModelChoice(str(folder / "model.safetensors"))
    return DetectWork(model, windows, SegmentSettings(threshold=0.1), 1 << 30, share_seconds, index)


def extracting(folder: Path, share_seconds: float | None, index: str | None = None) -> FeaturesWork:
    model, snippets = ModelChoice(str(folder / "model.safetensors")), snippet_settings(stride="2s", batch_size=4)
    return FeaturesWork(model, snippets, "float32", "tada", 1 << 30, share_seconds, index)


def made(work: Work, videos: Iterable[Path], to: Path, **pool: int) -> tuple[dict[str, bytes], Ledger, list[str]]:
    """The files that come of it, by name, the run, and which workers had a share."""
    to.mkdir()
    ledger = Ledger(LocalStore(to / "run"))
    items = [Item(str(video), video.stat().st_size, str(to / f"{video.stem}.npz")) for video in videos]
    workers = InlinePool(ledger, work=work, **pool)
    with_share: list[str] = []
    give = workers.give

    def watched(worker: int, assignment: Assignment) -> None:
        with_share.extend([str(worker)] * (assignment.share is not None))
        give(worker, assignment)

    workers.give = watched  # type: ignore[method-assign]
    drive(workers, iter(items), ledger, kind=work.kind, divides=work.divides)
    collect(ledger, to / "rows.jsonl", form="jsonl")
    files = {file.name: file.read_bytes().replace(str(to).encode(), b"") for file in to.iterdir() if file.is_file()}
    return files, ledger, with_share


@pytest.mark.parametrize("adaptive", [1, 5])
def test_a_long_video_is_searched_by_several_with_the_bytes_of_one(folder: Path, tmp_path: Path, adaptive: int) -> None:
    videos = [folder / f"{name}.mp4" for name in ("long", "short", "damaged")]
    expected, _, none = made(detecting(folder, None, adaptive=adaptive), videos, tmp_path / "one", num_workers=1)
    found, ledger, with_share = made(detecting(folder, 20.0, adaptive=adaptive), videos, tmp_path / "many", num_ends=6)
    assert found == expected
    assert [len(expected), none] == [4, []]
    assert b'"status": "partial"' in expected["rows.jsonl"], "what is damaged has gaps"
    assert len(with_share) >= 8 + 3
    assert len(set(with_share)) > 2
    assert len(list(ledger.committed())) == len(videos), "shares are gone when the whole is there"


def test_nothing_is_kept_of_a_share_that_is_damaged(folder: Path) -> None:
    """What can be read of it may depend on what was read before: whoever has the whole reads it."""
    work = detecting(folder, None)
    model = load_model(work.model.name, device="cpu")
    shared = detection_job((), model=model, windows=work.windows, segments=work.segments).shared
    assert shared is not None
    assert shared.num_shares(str(folder / "damaged.mp4"), share_seconds=20.0) == 3
    journals = [shared.journal_of(str(folder / "damaged.mp4"), Share(number, 3)) for number in range(3)]
    assert [bool(journal) for journal in journals] == [True, False, True]
    assert shared.num_shares(str(folder / "none.mp4"), share_seconds=20.0) == 1


def test_features_of_a_long_video_are_made_by_several(folder: Path, tmp_path: Path) -> None:
    expected, *_ = made(extracting(folder, None), [folder / "long.mp4"], tmp_path / "one", num_workers=1)
    found, _, with_share = made(extracting(folder, 60.0), [folder / "long.mp4"], tmp_path / "many", num_ends=3)
    assert found == expected
    assert len(with_share) >= 3


@pytest.mark.parametrize("work_of", [detecting, extracting])
def test_shares_of_a_video_open_at_once_by_its_kept_table(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, work_of: Callable[..., Work]
) -> None:
    videos, tables = [folder / "long.mp4"], tmp_path / "tables"
    expected, *_ = made(work_of(folder, None), videos, tmp_path / "one", num_workers=1)
    inspect, seen = reading.inspect_file, list[str]()

    def counted(path: str, **more: Any) -> Any:
        seen.append(path)
        return inspect(path, **more)

    monkeypatch.setattr(reading, "inspect_file", counted)
    found, _, with_share = made(work_of(folder, 60.0, str(tables)), videos, tmp_path / "many")
    assert found == expected
    assert len(with_share) == 3
    assert len(seen) == 1


def test_a_share_that_ends_its_workers_is_an_error_of_the_video(folder: Path, tmp_path: Path) -> None:
    """As a video that nobody shared is one."""
    (tmp_path / "found").mkdir()
    ledger = Ledger(LocalStore(tmp_path / "run"))
    work, video = detecting(folder, 60.0), folder / "long.mp4"
    item = Item(str(video), video.stat().st_size)
    pool = InlinePool(ledger, work=work)
    give = pool.give

    def poisoned(worker: int, assignment: Assignment) -> None:
        if assignment.share is not None and assignment.share.number == 1:
            assert assignment.id == share_id(assignment.whole, Share(1, 3))
            while (attempt := ledger.attempt(assignment.id, "earlier")) is not None:
                ledger.explain(attempt, "earlier", "killed by SIGSEGV")
        give(worker, assignment)

    pool.give = poisoned  # type: ignore[method-assign]
    drive(pool, iter([item]), ledger, kind="detect", divides=True)
    assert pool.num_started == 3, "those that had nothing to do waited for shares"
    assert collect(ledger, tmp_path / "rows.jsonl", form="jsonl") == {"error": 1}
    assert "3 workers ended while they worked on it: killed by SIGSEGV" in (tmp_path / "rows.jsonl").read_text()
