"""The parts of a page of several videos: whose they are, who may write there, and what is left of them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tadacli.detection.settings import SegmentSettings
from tadacli.errors import OutputError
from tadacli.reports.detection_files import DetectionFiles
from tadacli.reports.score_data import MAX_SCORE_BYTES
from tests.reports.test_detection_page import detection

PART = f"{'0' * 32}-{'1' * 12}.part"


def files(report: Path, **how: bool) -> DetectionFiles:
    return DetectionFiles(["a.mp4", "b.mp4"], report, **how)


def stopped_with_a_part(run: DetectionFiles, folder: Path) -> None:
    def stop() -> None:
        with run.held():
            (folder / PART).touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()


def test_two_runs_never_share_the_parts_of_a_page(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    with files(page).held():
        (tmp_path / "page.html.parts" / PART).touch()
        with pytest.raises(OutputError, match="another run"), files(page).held():
            pass
        assert (tmp_path / "page.html.parts" / PART).exists()
    assert not list(tmp_path.iterdir())


def test_nothing_but_parts_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "page.html.parts"
    folder.mkdir()
    for name in ("film.part", PART):
        (folder / name).touch()
    with files(tmp_path / "page.html").held():
        assert [each.name for each in folder.iterdir()] == ["film.part"]
    assert [each.name for each in folder.iterdir()] == ["film.part"]


def test_parts_stay_for_a_run_that_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "page.html.parts"
    stopped_with_a_part(files(tmp_path / "page.html", keep_parts=True), folder)
    with files(tmp_path / "page.html", replace=True, keep_parts=True).held():
        assert (folder / PART).exists()
    stopped_with_a_part(files(tmp_path / "page.html"), folder)
    assert not folder.exists()


def test_a_link_in_the_place_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / PART).touch()
    (tmp_path / "page.html.parts").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match="is a link"), files(tmp_path / "page.html").held():
        pass
    assert (tmp_path / "elsewhere" / PART).exists()


def test_the_scores_of_all_videos_share_what_a_page_may_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tadacli.reports.detection_page.detection_part", lambda *_, **__: ("", ()))
    asked: list[int] = []
    found: Any = SimpleNamespace(
        result=SimpleNamespace(status="ok", path="a.mp4"),
        curves=lambda _: (),
        threshold_inputs=lambda _, max_bytes: asked.append(max_bytes),
    )
    row: Any = detection(path="a.mp4")
    with (run := files(tmp_path / "page.html")).held():
        run.write(found, row, SegmentSettings())
    assert asked == [MAX_SCORE_BYTES // 2]
