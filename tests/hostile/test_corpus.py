"""The hostile corpus: each file is an error of its own, the batch is finished, and memory stays small."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import media
from tests.hostile import corpus

MEMORY_BYTES = 1_500_000_000
SECONDS_EACH = 20
MAX_FILE_BYTES = 1 << 20  # on disk, of what is made here

# Runs a command, and then says on stderr how many bytes of memory it took at most (itself: what getrusage gives is
# never less than the peak of the process that started it, which here runs the tests).
MEASURED = """
import sys
from tadacli.cli.app import run
code = run()
from tadacli.training.estimate import peak_resident_bytes
print("peak", peak_resident_bytes(), file=sys.stderr)
sys.exit(code)
"""


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A good video before and after all that is hostile, by name."""
    folder = tmp_path_factory.mktemp("corpus")
    media.render(folder / "first.mp4", 60)
    media.render(folder / "last.mp4", 60)
    made = {name: folder / name for name in corpus.VIDEOS}
    for name, path in made.items():
        corpus.VIDEOS[name](path)
        assert path.is_dir() or path.stat().st_size < MAX_FILE_BYTES
    return {"first": folder / "first.mp4", **made, "last": folder / "last.mp4"}


@pytest.mark.parametrize("command", ["classify", "detect"])
def test_every_file_is_an_error_of_its_own(command: str, videos: dict[str, Path], tmp_path: Path) -> None:
    output = tmp_path / "rows.jsonl"
    arguments = [command, *map(str, videos.values()), "--device", "cpu", "-o", str(output)]
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS_EACH * len(videos),
        env={**os.environ, "TADA_DEBUG": ""},
    )
    rows = {Path(row["path"]).name: row for row in map(json.loads, output.read_text().splitlines())}
    assert list(rows) == [path.name for path in videos.values()]
    errors = {name: row["error"] for name, row in rows.items()}
    assert {name for name, error in errors.items() if not error} == {"first.mp4", "last.mp4"}
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    assert int(done.stderr.rsplit("peak ", 1)[1]) < MEMORY_BYTES
    for name, said in WORDS.items():
        assert said in errors[name], (name, errors[name])


# What some of the errors say.
WORDS = {
    "frames that claim 60,000 x 60,000": "is 60000x60000 pixels: no more than 67 million are read",
    "frames that claim 16,000 x 16,000": "is 16000x16000 pixels: no more than 67 million are read",
    "frames of 8 GiB": "has more than 128 MiB",
    "large.png": "more than 67 million pixels",
    "member of 8 GiB.tar": "frame 1 has 8589934591 bytes",
    "negative member.tar": "frame 2 has -1536 bytes",
    "negative other member.tar": "a member has a negative size",
    "sparse member.tar": "frame 1 is stored as a sparse file",
    "header of 8 GiB.tar": "it has a header of",
    "other.tar.bz2": "it unpacks to more than",
    "local.m3u8": "is a text file, a playlist, and what it names is not opened",
    "local.mp4": "is a text file, a playlist, and what it names is not opened",
    "local.ffconcat": "is a text file, a playlist, and what it names is not opened",
    "remote.sdp": "is a text file, a playlist, and what it names is not opened",
}
