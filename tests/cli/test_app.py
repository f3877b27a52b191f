"""The command itself: help, version, start-up, and the boundary where errors become messages."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tadacli import __version__
from tadacli.errors import TadaError

HEAVY = ("torch", "torchvision", "av", "pandas", "numpy", "safetensors")


@pytest.mark.parametrize("arguments", [["--help"], ["classify", "--help"], ["--version"], ["models"]])
def test_help_loads_no_heavy_library(arguments: list[str]) -> None:
    program = (
        "import sys\n"
        f"sys.argv = ['tada', *{arguments!r}]\n"
        "from tadacli.cli.app import run\n"
        "code = run()\n"
        f"loaded = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "sys.exit(f'loaded {loaded}' if loaded else code)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_version(tada) -> None:
    assert tada("--version") == (0, f"tada {__version__}\n".encode(), "")


def test_help_names_every_option_of_the_command(tada) -> None:
    code, out, _ = tada("classify", "--help")
    assert code == 0
    for option in (
        "--model --weights --views --topk --device --dtype --batch-size --format --output --resume --recursive "
        "--min-score --quiet"
    ).split():
        assert option in out.decode()


def test_known_errors_become_two_lines(tada) -> None:
    said = "error: unknown model 'none'\nhint: tada models lists the known ones\n"
    assert tada("models", "none") == (1, b"", said)


def test_debug_shows_where_they_came_from(tada, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TADA_DEBUG", "1")
    with pytest.raises(TadaError):
        tada("models", "none")
