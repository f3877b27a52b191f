"""Files that are whole or not there: temporary names, what a kill leaves, and runs that want the same file."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tadacli.errors import OutputError
from tadacli.files import held_file, held_folder, name_with, new_file, write_new

LONGEST = "n" * 251 + ".csv"


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_there_when_it_is_whole(tmp_path: Path) -> None:
    with new_file(tmp_path / "out") as stream:
        stream.write(b"half")
        assert "out" not in names_in(tmp_path)
    assert names_in(tmp_path) == ["out"]
    assert (tmp_path / "out").read_bytes() == b"half"


def test_nothing_is_left_of_one_that_fails(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), new_file(tmp_path / "out"):
        raise KeyboardInterrupt
    with pytest.raises(OutputError, match="out cannot be written: No space"), new_file(tmp_path / "out"):
        raise OSError(28, "No space left on device")
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("name", ["out.partial", "out.tmp", ".tada-0000000000000000.part"])
def test_a_file_of_a_person_beside_it_stays(tmp_path: Path, name: str) -> None:
    theirs, target = tmp_path / name, tmp_path / "elsewhere"
    theirs.symlink_to(target)
    write_new(tmp_path / "out", b"new")
    write_new(tmp_path / "out", b"newer", replace=True)
    assert theirs.is_symlink()
    assert not target.exists()
    assert (tmp_path / "out").read_bytes() == b"newer"


def test_temporary_names_cannot_be_known_beforehand(tmp_path: Path) -> None:
    names = set()
    for _ in range(8):
        with new_file(tmp_path / "out", replace=True) as stream:
            names.add(Path(stream.name).name)
    assert len(names) == 8


def test_a_name_of_255_bytes_will_do(tmp_path: Path) -> None:
    write_new(tmp_path / LONGEST, b"new")
    write_new(tmp_path / LONGEST, b"newer", replace=True)
    assert (tmp_path / LONGEST).read_bytes() == b"newer"


def test_names_that_belong_to_a_long_one_fit_and_differ() -> None:
    assert name_with("a.csv", ".unfinished") == "a.csv.unfinished"
    others = {name_with(name, ".unfinished") for name in (LONGEST, "m" + LONGEST[1:], "é" * 127)}
    assert len(others) == 3
    assert all(len(os.fsencode(name)) <= 255 and name.endswith(".unfinished") for name in others)


@pytest.mark.parametrize("size", [2_000, 200_000])  # less and more than a buffer holds
def test_a_full_disk_leaves_what_was_there(tmp_path: Path, size: int) -> None:
    write_new(tmp_path / "out", b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OutputError, match="out cannot be written: File too large"):
            write_new(tmp_path / "out", b"x" * size, replace=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert names_in(tmp_path) == ["out"]
    assert (tmp_path / "out").read_bytes() == b"old"


# --- other processes ----------------------------------------------------------------------------------


def in_another(program: str, *arguments: object) -> subprocess.Popen[str]:
    """A process that runs the program and has printed a line."""
    begin = "import sys, time\nfrom pathlib import Path\nfrom tadacli import files\n"
    command = [sys.executable, "-c", begin + program, *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline()
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


WRITES = """
with files.new_file(Path(sys.argv[1])) as stream:
    stream.write(b"half")
    stream.flush()
    print("begun", flush=True)
    time.sleep(600)
"""


def test_what_a_kill_left_goes_with_the_next_file_and_what_is_being_written_stays(tmp_path: Path) -> None:
    process = in_another(WRITES, tmp_path / "a")
    (half,) = names_in(tmp_path)
    write_new(tmp_path / "b", b"")
    assert names_in(tmp_path) == [half, "b"]
    end(process)
    assert names_in(tmp_path) == [half, "b"]
    program = "files.write_new(Path(sys.argv[1]), b'')\nprint('done')"
    in_another(program, tmp_path / "c").communicate()
    assert names_in(tmp_path) == ["b", "c"]


FILE = "held = files.held_file(Path(sys.argv[1]), create=True, resume=True)\nprint('held', flush=True)\ntime.sleep(600)"
FOLDER = "with files.held_folder(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(600)"


def open_file(path: Path) -> None:
    held_file(path, create=True, resume=True).close()


def open_folder(path: Path) -> None:
    with held_folder(path):
        pass


@pytest.mark.parametrize(("program", "take"), [(FILE, open_file), (FOLDER, open_folder)], ids=["file", "folder"])
def test_one_run_at_a_time(tmp_path: Path, program: str, take: Callable[[Path], None]) -> None:
    path = tmp_path / "out"
    if program == FOLDER:
        path.mkdir()
    process = in_another(program, path)
    with pytest.raises(OutputError, match="another run is writing to"):
        take(path)
    end(process)
    take(path)


def test_a_file_put_in_the_place_of_a_held_one_is_the_one_to_hold(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with held_file(path, create=True, resume=False):
        write_new(path, b"whole", replace=True)
        with held_file(path, create=False, resume=True) as stream:
            assert stream.read() == b"whole"
