"""`tada doctor`, as a person runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import typer

from tadacli.cli import app
from tadacli.cli.doctor import doctor_command
from tadacli.doctor import diagnosis as doctor
from tadacli.doctor.findings import Finding
from tests.cli.conftest import Tada

GOOD = Finding("first", "one", "ok", "fine")
NOTE = Finding("first", "two", "note", "slow", "unset IT")
BAD = Finding("second", "three", "problem", "broken, at [v1]/café", "mend it")


@pytest.fixture(autouse=True)
def _own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TADA_HOME", str(tmp_path / "home"))
    if not any(command.callback is doctor_command for command in app.app.registered_commands):
        command = typer.models.CommandInfo("doctor", callback=doctor_command)
        monkeypatch.setattr(app.app, "registered_commands", [*app.app.registered_commands, command])


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Callable[[Sequence[Finding]], None]:
    """Has the checks find these."""
    return lambda findings: monkeypatch.setattr(doctor, "CHECKS", (("all", lambda: findings),))


def test_a_healthy_installation_exits_with_0() -> None:
    """As a process of its own: how much SVT-AV1 says is settled when a process uses it first."""
    done = subprocess.run([sys.executable, "-m", "tadacli", "doctor"], capture_output=True, text=True, check=False)
    text = done.stdout
    assert (done.returncode, done.stderr) == (0, "")
    assert "problem" not in text
    for name in ("torch", "FFmpeg", "cpu", "h264", "av1", "folder", "weights", "self-test on cpu"):
        assert f"\n  ok       {name}: " in text


def test_findings_stand_below_their_groups_with_what_mends_them(tada: Tada, found) -> None:
    found([GOOD, NOTE, BAD])
    code, out, err = tada("doctor")
    assert (code, err) == (1, "")
    assert out.decode() == (
        "1 problem: three; 1 note: two (3 checks)\n\n"
        "first\n  ok       one: fine\n  note     two: slow\n           fix: unset IT\n\n"
        "second\n  problem  three: broken, at [v1]/café\n           fix: mend it\n\n"
        "1 problem: three; 1 note: two (3 checks)\n"
    )


@pytest.mark.parametrize(
    ("findings", "code", "verdict"),
    [
        ([GOOD], 0, "all well (1 check)"),
        ([GOOD, NOTE, NOTE], 0, "all well; 2 notes: two, two (3 checks)"),
        ([BAD, BAD, GOOD], 1, "2 problems: three, three (3 checks)"),
    ],
)
def test_only_problems_make_it_fail(findings: list[Finding], code: int, verdict: str, tada: Tada, found) -> None:
    found(findings)
    done, out, _ = tada("doctor")
    lines = out.decode().splitlines()
    assert (done, lines[0], lines[-1]) == (code, verdict, verdict)
    done, out, _ = tada("doctor", "--json")
    assert (done, json.loads(out)["num_problems"]) == (code, findings.count(BAD))


def test_json_has_all_of_every_finding(tada: Tada, found) -> None:
    found([GOOD, NOTE, BAD])
    code, out, err = tada("doctor", "--json")
    whole = json.loads(out)
    assert (code, err) == (1, "")
    assert [Finding(**values) for values in whole["findings"]] == [GOOD, NOTE, BAD]


def test_a_crash_is_a_problem_unless_its_place_is_asked_for(tada: Tada, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash() -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(doctor, "CHECKS", (("store", crash),))
    code, out, err = tada("doctor")
    assert (code, err) == (1, "")
    assert "problem  check: it failed: boom\n           fix: TADA_DEBUG=1 tada doctor" in out.decode()
    monkeypatch.setenv("TADA_DEBUG", "1")
    with pytest.raises(RuntimeError, match="boom"):
        tada("doctor")


def test_broken_weights_in_the_store_make_it_fail(tada: Tada, tmp_path: Path) -> None:
    (tmp_path / "home" / "models").mkdir(parents=True)
    (tmp_path / "home" / "models" / "tada2d_r50.k400_8x8.safetensors").write_bytes(b"half")
    code, out, _ = tada("doctor", "--json")
    problems = [each for each in json.loads(out)["findings"] if each["status"] == "problem"]
    assert code == 1
    assert [(each["group"], each["fix"]) for each in problems] == [("store", "tada fetch tada2d_r50.k400_8x8")]
