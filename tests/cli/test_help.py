"""Help in panels that fit the window, examples that run, and what is said of what was mistyped."""

from __future__ import annotations

import shlex

import pytest
from typer.main import get_command

from tadacli.cli.app import app
from tadacli.cli.examples import EXAMPLES
from tests.cli.conftest import Tada

COMMANDS = [name for name in EXAMPLES if name]


def sections(text: str) -> dict[str, list[str]]:
    """The lines of a help below each heading."""
    found: dict[str, list[str]] = {}
    heading = ""
    for line in text.splitlines():
        if line.endswith(":") and not line.startswith(" "):
            heading = line[:-1]
        elif line:
            found.setdefault(heading, []).append(line)
    return found


def test_every_command_has_examples() -> None:
    assert set(COMMANDS) == set(get_command(app).commands)  # type: ignore[attr-defined]
    assert all(len(lines) >= 2 for lines in EXAMPLES.values())


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_fits_the_window(tada: Tada, monkeypatch: pytest.MonkeyPatch, command: str, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    code, out, err = tada(*command.split(), "--help")
    assert (code, err) == (0, "")
    text = out.decode()
    assert max(map(len, text.splitlines())) <= width
    assert all(line in text.replace(" \\\n     ", "") for line in EXAMPLES[command].values())
    if command:
        assert [line.split()[0] for line in sections(text)["Other"]] == ["-h,"]  # all else has its panel


def test_panels_of_detect(tada: Tada, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    found = sections(tada("detect", "--help")[1].decode())
    panels = ["Input", "Model", "Windows", "Segments", "Output", "Speed", "Several workers", "Other", "Examples"]
    assert list(found)[1:] == panels
    for panel, option in zip(panels, "--start --model --window --threshold --output --device".split(), strict=False):
        assert any(option in line for line in found[panel])


def test_long_choices_stand_in_the_text(tada: Tada, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = " ".join(tada("eval", "--help")[1].decode().split())
    assert "--dataset NAME k400, ssv2, ek100, ek100-detection, activitynet," in text


@pytest.mark.parametrize(("command", "line"), [(name, line) for name in COMMANDS for line in EXAMPLES[name].values()])
def test_examples_are_understood(command: str, line: str) -> None:
    program, name, *arguments = shlex.split(line)
    assert (program, name) == ("tada", command)
    get_command(app).commands[name].make_context(name, arguments)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("line", "error", "hint"),
    [
        ("detect a.mp4 --treshold 0.5", "tada detect has no option --treshold", "did you mean --threshold?"),
        ("detect a.mp4 --treshold=0.5", "tada detect has no option --treshold", "did you mean --threshold?"),
        ("detect a.mp4 --windo 2s", "tada detect has no option --windo", "did you mean --window?"),
        ("detect a.mp4 --min 2s", "tada detect has no option --min", "did you mean --min-duration?"),
        ("detect a.mp4 -z", "tada detect has no option -z", "tada detect --help lists its options"),
        ("fetch --quite", "tada fetch has no option --quite", "did you mean --quiet?"),
        ("detct a.mp4", "there is no command detct", "did you mean tada detect?"),
        ("play a.mp4", "there is no command play", "tada --help lists the commands"),
        ("--versoin", "tada has no option --versoin", "did you mean --version?"),
        ("classify", "INPUT is needed", "for example tada classify clip.mp4"),
        ("eval", "--dataset is needed", "for example tada eval --dataset folder --data-root clips"),
        ("detect --nms x", "--nms: 'x' is not one of 'hard', 'soft', 'none'", "tada detect --help lists its options"),
        ("doctor a", "got unexpected extra argument(s) (a)", "tada doctor --help lists its options"),
    ],
)
def test_mistakes(tada: Tada, line: str, error: str, hint: str) -> None:
    assert tada(*line.split()) == (2, b"", f"error: {error}\nhint: {hint}\n")


def test_without_a_command_the_help_is_shown(tada: Tada) -> None:
    code, out, err = tada()
    assert (code, out) == (2, b"")
    assert "classify" in err
