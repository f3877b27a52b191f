"""The parts of a page of several videos: whose they are, who may write there, and what is left of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tadacli.errors import OutputError
from tadacli.reports.detection_files import DetectionFiles

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
