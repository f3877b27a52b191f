"""A model that is not here yet: asked about on a terminal, fetched where that was said before, else what to do."""

from __future__ import annotations

import dataclasses
import io
import os
import pty
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from tadacli.cli.app import run
from tadacli.models import build
from tadacli.specs import WeightsSource
from tadacli.zoo import store
from tadacli.zoo.manifest import cards
from tests import media
from tests.cli.conftest import Tada
from tests.file_server import FileServer, Reply, serving

FIRST, SECOND, HINT = "small.first", "small.second", "hint: tada fetch small.first (about 2 MB)"
QUESTION = "2 MB from 127.0.0.1, licence Apache-2.0; fetch now? [Y/n] "
Terminal = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def content() -> bytes:
    return published(0)


def published(seed: int) -> bytes:
    stream = io.BytesIO()
    torch.manual_seed(seed)
    torch.save({"model_state": build("r2plus1d_tiny", num_classes=9).state_dict()}, stream)
    return stream.getvalue()


@pytest.fixture
def server(content: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FileServer]:
    """A server of two small models, which `tada` knows beside the built-in one."""
    monkeypatch.setenv("TADA_HOME", str(tmp_path / "home"))
    built_in = cards()["r2plus1d_tiny.camera_motion"]
    with serving(content) as files:
        models = {built_in.name: built_in}
        for name in (FIRST, SECOND):
            source = WeightsSource(url=f"{files.url}?{name}", licence="Apache-2.0")
            models[name] = dataclasses.replace(built_in, name=name, source=source)
        for module in ("names", "loading", "manifest"):  # what is imported here takes the real ones
            monkeypatch.setattr(f"tadacli.zoo.{module}.cards", lambda: models)
        yield files


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Iterator[Terminal]:
    """`terminal(*arguments, types="")` -> (exit code, stdout, what the terminal shows) of `tada` on a terminal."""
    shown = bytearray()
    master, slave = pty.openpty()

    def watch() -> None:
        while b"\0" not in shown:
            shown.extend(os.read(master, 1 << 16))

    thread = threading.Thread(target=watch)

    def call(*arguments: object, types: str = "") -> tuple[int, str, str]:
        thread.start()
        with open(slave, "r+b", buffering=0, closefd=False) as raw, monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["tada", *map(str, arguments)])
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.FileIO(slave, closefd=False))))
            patch.setattr(sys, "stderr", io.TextIOWrapper(raw, write_through=True))
            os.write(master, types.encode())
            code = run()
        os.write(slave, b"\0")  # the last that is shown
        thread.join()
        text = shown.partition(b"\0")[0].decode().replace("\r\n", "\n")
        return code, capfdbinary.readouterr()[0].decode(), text.removeprefix(types.replace("\x04", "^D\b\b"))

    yield call
    os.close(slave)
    os.close(master)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    media.render(tmp_path / "clip.mp4", 40)
    return tmp_path / "clip.mp4"


@pytest.mark.parametrize("answer", ["\n", "YES\n"])
def test_yes_fetches_and_the_command_goes_on(terminal: Terminal, server: FileServer, clip: Path, answer: str) -> None:
    code, out, shown = terminal("classify", clip, "--model", FIRST, types=answer)
    assert code == 0, shown
    assert f"{FIRST} is not on this machine yet.\nabout {QUESTION}" in shown
    assert shown.count("[Y/n]") == 1
    assert "trusted on first use" in shown
    assert '"status":"ok"' in out.replace(" ", "")
    assert store.stored(FIRST) is not None
    assert len(server.requests) == 1


@pytest.mark.parametrize("answer", ["n\n", "what?\n", "\x04"], ids="n what? end".split())
def test_no_says_what_to_do_and_asks_no_server(terminal: Terminal, server: FileServer, clip: Path, answer: str) -> None:
    code, out, shown = terminal("classify", clip, "--model", FIRST, types=answer)
    assert (code, out) == (1, "")
    assert shown.count("[Y/n]") == 1
    assert f"error: the weights of {FIRST} are not on this machine\n{HINT}" in shown
    assert server.requests == []
    assert store.stored(FIRST) is None


def test_quiet_asks_nothing(terminal: Terminal, server: FileServer, clip: Path) -> None:
    code, _, shown = terminal("classify", clip, "--model", FIRST, "--quiet", types="y\n")
    assert code == 1
    assert "[Y/n]" not in shown
    assert HINT in shown
    assert server.requests == []


def test_one_of_several_processes_asks_nothing(
    terminal: Terminal, server: FileServer, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    code, _, shown = terminal("classify", clip, "--model", FIRST, types="y\n")
    assert (code, "[Y/n]" in shown, server.requests) == (1, False, [])


def test_a_mirror_is_offered_where_one_is_set(
    terminal: Terminal, server: FileServer, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TADA_MIRROR", f"http://name:secret@localhost:{server.url.split(':')[2].split('/')[0]}/here")
    _, _, shown = terminal("classify", clip, "--model", FIRST, types="n\n")
    assert "about 2 MB from localhost, licence Apache-2.0; fetch now?" in shown
    assert "secret" not in shown


@pytest.mark.parametrize("command", [["classify"], ["detect"], ["features"]], ids=lambda command: command[0])
def test_in_a_pipe_nothing_is_fetched_unasked(tada: Tada, server: FileServer, clip: Path, command: list[str]) -> None:
    code, out, err = tada(
        *command, clip, "--model", FIRST, *(["-o", clip.parent / "f"] if "features" in command else [])
    )
    assert (code, out) == (1, b"")
    assert err.endswith(
        f"error: the weights of {FIRST} are not on this machine\n{HINT}, or give the file with --weights FILE\n"
    )
    assert server.requests == []


@pytest.mark.parametrize("how", ["--fetch", "TADA_FETCH"])
def test_in_a_pipe_it_is_fetched_where_that_was_said(
    tada: Tada, server: FileServer, clip: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    if how == "TADA_FETCH":
        monkeypatch.setenv(how, "1")
    code, out, err = tada("classify", clip, "--model", FIRST, *([how] if how == "--fetch" else []))
    assert code == 0, err
    assert b'"model":"small.first"' in out.replace(b" ", b"")
    assert "downloading" in err
    code, _, err = tada("detect", clip, "--model", FIRST, "--window", "0.5s")
    assert (code, "downloading" in err) == (0, False)
    assert len(server.requests) == 1


@pytest.mark.parametrize("command", ["detect", "features", "finetune"])
def test_other_commands_fetch_too_and_once(tada: Tada, server: FileServer, clip: Path, command: str) -> None:
    told = {"features": ("-o", clip.parent / "features"), "finetune": ("--data", clip.parent, "-o", "run")}
    inputs = () if command == "finetune" else (clip,)
    _, _, err = tada(command, *inputs, "--model", FIRST, "--fetch", *told.get(command, ()))
    assert "downloading" in err
    assert len(server.requests) == 1


def test_what_cannot_be_fetched_ends_the_command(tada: Tada, server: FileServer, clip: Path) -> None:
    server.replies.append(Reply(status=404, body=b""))
    code, out, err = tada("classify", clip, "--model", FIRST, "--fetch")
    assert (code, out) == (1, b"")
    assert f"error: {FIRST}: {server.url}?{FIRST} is not there (404)\n" in err


def test_a_file_of_weights_is_not_fetched(tada: Tada, server: FileServer, clip: Path, content: bytes) -> None:
    file = clip.with_suffix(".pyth")
    file.write_bytes(content)
    code, _, err = tada("classify", clip, "--model", FIRST, "--weights", file, "--fetch")
    assert (code, server.requests) == (0, []), err


@pytest.mark.usefixtures("server")
def test_finetune_asks_before_it_looks_at_the_data(terminal: Terminal, tmp_path: Path) -> None:
    run_folder = tmp_path / "run"
    code, _, shown = terminal("finetune", "--data", tmp_path, "--model", FIRST, "-o", run_folder, types="n\n")
    assert code == 1
    assert shown.index("[Y/n]") < shown.index(f"error: the weights of {FIRST} are not on this machine")
    assert not run_folder.exists()


# --- the beginning of a name --------------------------------------------------------------------------------


@pytest.mark.usefixtures("server")
def test_a_beginning_that_only_one_model_has_is_taken_and_said(tada: Tada, clip: Path) -> None:
    code, out, err = tada("classify", clip, "--model", "small.f", "--fetch")
    assert code == 0
    assert err.startswith("model small.first: the only usable model whose name begins with small.f\n")
    assert b"small.first" in out


def test_of_several_the_one_that_is_here_is_taken(tada: Tada, server: FileServer, clip: Path) -> None:
    code, _, err = tada("classify", clip, "--model", "small", "--fetch")
    assert code == 1
    assert "error: 'small' is the beginning of 2 models: small.first, small.second\n" in err
    assert server.requests == []
    tada("fetch", SECOND)
    code, _, err = tada("classify", clip, "--model", "small")
    assert code == 0
    assert err.startswith("model small.second: the only one on this machine of the 2 whose names begin with small\n")
    server.content = published(1)
    tada("fetch", FIRST)
    code, _, err = tada("classify", clip, "--model", "small")
    assert code == 1
    assert "on this machine are small.first, small.second\n" in err


@pytest.mark.usefixtures("server")
def test_a_path_and_a_network_are_no_beginnings(
    tada: Tada, clip: Path, monkeypatch: pytest.MonkeyPatch, untrained: Path
) -> None:
    monkeypatch.chdir(clip.parent)
    Path("small.f").write_bytes(untrained.read_bytes())
    code, _, err = tada("classify", clip, "--model", "small.f")
    assert "begins with" not in err
    code, _, err = tada("classify", clip, "--model", "nothing")
    assert (code, "error: unknown model 'nothing'" in err) == (1, True)
    code, _, err = tada("bench", clip, "--model", "r2plus1d_tiny", "--seconds", "-1")  # no measurement
    assert "begins with" not in err


# --- without a network --------------------------------------------------------------------------------------


def test_without_a_connection_no_model_is_waited_for_in_turn(tada: Tada, server: FileServer) -> None:
    server.close()
    code, _, err = tada("fetch", FIRST, SECOND)
    assert code == 1
    assert err.count("trying again") == 1
    assert f"error: {SECOND} was not tried, since there is no connection\n" in err
    assert "hint: see whether this machine has a network" in err


def test_a_process_of_its_own_without_a_network(tmp_path: Path) -> None:
    """The real command on a real terminal, where nobody answers at the place of the mirror and of Google Drive."""
    media.render(tmp_path / "clip.mp4", 40)
    environment = {
        **os.environ,
        "TADA_HOME": str(tmp_path / "home"),
        "TADA_MIRROR": "http://127.0.0.1:9",
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    master, slave = pty.openpty()
    os.write(master, b"y\n")
    command = [sys.executable, "-m", "tadacli", "classify", "clip.mp4", "--model", "tada2d_r50.k400_8x8"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, stdin=slave, stdout=subprocess.PIPE, stderr=slave, check=False
    )
    shown = os.read(master, 1 << 16).decode().replace("\r\n", "\n")
    os.close(slave)
    os.close(master)
    assert (done.returncode, done.stdout) == (1, b"")
    assert "about 110 MB from 127.0.0.1, licence Apache-2.0; fetch now? [Y/n]" in shown
    assert "error: tada2d_r50.k400_8x8: none of 2 sources gave the file" in shown
