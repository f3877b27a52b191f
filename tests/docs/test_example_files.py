"""The examples run as they stand."""

from __future__ import annotations

import runpy
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.docs.conftest import ROOT

EXAMPLES = ROOT / "examples"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Any:
    """`run(script, *arguments)` -> what it prints."""
    monkeypatch.chdir(tmp_path)

    def call(name: str, *arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return call


def test_frames_in_memory_are_named_and_searched(run: Any) -> None:
    printed = run("numpy_frames.py")
    assert "it shows: pan right" in printed
    assert "0.00 to 3.00 s: pan right" in printed


def test_a_folder_becomes_a_table_and_a_bad_file_stops_nothing(run: Any, material: Path, tmp_path: Path) -> None:
    shutil.copytree(material / "archive", tmp_path / "videos")
    (tmp_path / "videos" / "broken.mp4").write_text("no video")
    assert "3 of 4 videos searched" in run("folder_with_progress.py", "videos", "table.csv")
    header, *rows = (tmp_path / "table.csv").read_text().splitlines()
    assert header.startswith("video,start_seconds,end_seconds,label")
    assert {row.split(",")[3] for row in rows} == {"pan left", "static", "pan right"}


def test_tadaconv_learns_in_a_network_of_ones_own(run: Any) -> None:
    losses = [float(line.rpartition(" ")[2]) for line in run("custom_network.py").splitlines() if "loss" in line]
    assert losses[-1] < 0.1


def test_the_notebook_goes_around_the_whole_loop(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import nbformat
    from nbclient import NotebookClient

    for name, value in (("PYTHONPATH", str(ROOT)), ("MPLBACKEND", "agg"), ("OMP_NUM_THREADS", "1")):
        monkeypatch.setenv(name, value)
    notebook = nbformat.read(EXAMPLES / "whole_loop.ipynb", as_version=4)
    assert all(not cell.outputs for cell in notebook.cells if cell.cell_type == "code"), "it is kept without outputs"
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    printed = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))
    assert "left: average precision 1.00" in printed
    assert "right: average precision 1.00" in printed


def test_the_list_of_examples_has_all_of_them() -> None:
    files = {path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".ipynb")}
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert {name for name in files if f"({name})" in listed} == files
    assert len(files) >= 3
