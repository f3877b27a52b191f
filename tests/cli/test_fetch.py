"""`tada fetch` as a person uses it: what is said, what is written, and how it ends."""

from __future__ import annotations

import dataclasses
import inspect
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import typer

from tadacli.cli import app
from tadacli.cli.fetch import fetch_command
from tadacli.models import build
from tadacli.specs import WeightsSource
from tadacli.zoo import store
from tadacli.zoo.image_weights import IMAGE_WEIGHTS
from tadacli.zoo.manifest import cards
from tests.file_server import FileServer, Reply, serving

FIRST, SECOND, OTHER = "tada2d_tiny.first", "tada2d_tiny.second", "other.third"


def published(seed: int) -> bytes:
    stream = io.BytesIO()
    torch.manual_seed(seed)
    torch.save({"model_state": build("r2plus1d_tiny", num_classes=9).state_dict()}, stream)
    return stream.getvalue()


CONTENT = published(0)


@pytest.fixture(autouse=True)
def _own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TADA_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("TADA_MIRROR", raising=False)
    if not any(command.callback is fetch_command for command in app.app.registered_commands):
        monkeypatch.setattr(app.app, "registered_commands", [*app.app.registered_commands, _command()])


def _command() -> typer.models.CommandInfo:
    return typer.models.CommandInfo("fetch", callback=fetch_command)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """A server, and a manifest with two models of the built-in network on it, and one of a network there is not."""
    built_in = cards()["r2plus1d_tiny.camera_motion"]
    with serving(CONTENT) as files:
        models = {built_in.name: built_in}
        for name in (FIRST, SECOND, OTHER):
            source = WeightsSource(url=f"{files.url}?{name}", licence="Apache-2.0", size_bytes=len(CONTENT))
            models[name] = dataclasses.replace(built_in, name=name, source=source)
        models[OTHER] = dataclasses.replace(models[OTHER], architecture="not_built")
        monkeypatch.setattr("tadacli.zoo.names.cards", lambda: models)  # which at first imports the real ones
        monkeypatch.setattr("tadacli.zoo.names.IMAGE_WEIGHTS", {})
        for module in ("loading", "manifest"):
            monkeypatch.setattr(f"tadacli.zoo.{module}.cards", lambda: models)
            monkeypatch.setattr(
                f"tadacli.zoo.{module}.manifest", lambda: {key: card.spec for key, card in models.items()}
            )
        yield files


def test_fetching_says_what_was_trusted_and_where_it_is(tada, server: FileServer, tmp_path: Path) -> None:
    code, out, err = tada("fetch", FIRST)
    weights = store.stored(FIRST)
    assert (code, out) == (0, b"")
    assert weights is not None
    assert f"{FIRST}: downloading {server.url}?{FIRST}\n" in err
    assert f"{FIRST}: {weights.path} (2 MB)\n" in err
    assert "trusted on first use, since no checksum of it is published" in err
    assert weights.original_sha256 in err
    assert str(tmp_path / "home" / "lock.json") in err
    code, out, err = tada("fetch", FIRST)
    assert (code, out, err) == (0, b"", f"{FIRST} is here, and its hash is right: {weights.path}\n")
    assert len(server.requests) == 1


def test_the_help_says_what_trust_means(tada) -> None:
    assert "Trust on first use" in (inspect.getdoc(fetch_command) or "")
    code, out, _ = tada("fetch", "--help")
    assert code == 0
    for option in "--dry-run --verify --offline --from --mirror --keep-original".split():
        assert option in out.decode()


@pytest.mark.usefixtures("server")
def test_quiet_is_quiet(tada) -> None:
    assert tada("fetch", FIRST, "--quiet") == (0, b"", "")


def test_an_unfinished_download_is_told_and_continued(tada, server: FileServer) -> None:
    server.replies.append(Reply(status=503, body=b"", headers={"Retry-After": "0"}))
    code, _, err = tada("fetch", FIRST)
    assert code == 0
    assert "the server answers 503 Service Unavailable; trying again in 0 s\n" in err


def test_one_failure_of_several_is_code_3_and_of_all_1(tada, server: FileServer) -> None:
    server.replies.append(Reply(status=404, body=b""))
    code, _, err = tada("fetch", FIRST, SECOND)
    assert code == 3
    assert f"error: {FIRST}: {server.url}?{FIRST} is not there (404)\n" in err
    assert f"hint: download {server.url}?{FIRST} in a browser, then: tada fetch --from FILE {FIRST}\n" in err
    assert store.stored(FIRST) is None
    assert store.stored(SECOND) is not None
    for names in ([FIRST], [FIRST, FIRST]):
        server.replies.append(Reply(status=404, body=b""))
        assert tada("fetch", *names)[0] == 1
    assert len(server.requests) == 4


def test_a_file_from_a_browser(tada, server: FileServer, tmp_path: Path) -> None:
    file = tmp_path / "weights.pyth"
    file.write_bytes(CONTENT)
    assert tada("fetch", "--from", file, FIRST, "--keep-original", "--offline")[0] == 0
    assert store.original_path(FIRST).read_bytes() == CONTENT
    assert server.requests == []
    code, _, err = tada("fetch", "--from", tmp_path / "none.pyth", FIRST)
    assert (code, err) == (
        1,
        f"error: there is no file {tmp_path / 'none.pyth'}\nhint: check the path given to --from\n",
    )
    for names in ([], [FIRST, SECOND]):
        assert tada("fetch", "--from", file, *names)[0] == 2


def test_dry_run_and_offline_ask_no_server(tada, server: FileServer) -> None:
    code, out, _ = tada("fetch", FIRST, "--dry-run")
    assert (code, out.decode()) == (
        0,
        f"{FIRST}: download about 2 MB from {server.url}?{FIRST}; convert to {store.weights_path(FIRST)}\n",
    )
    code, _, err = tada("fetch", FIRST, "--offline")
    assert code == 1
    assert "--offline forbids" in err
    assert not store.store_folder().exists() or not list(store.store_folder().rglob("*.safetensors"))
    assert server.requests == []
    tada("fetch", FIRST)
    assert f"{FIRST}: here" in tada("fetch", FIRST, "--dry-run")[1].decode()
    assert tada("fetch", FIRST, "--offline")[0] == 0
    assert len(server.requests) == 1


@pytest.mark.usefixtures("server")
def test_verify_finds_one_flipped_bit(tada) -> None:
    assert tada("fetch", "--verify") == (0, b"", "no weights are in the store\n")
    tada("fetch", FIRST)
    weights = store.stored(FIRST)
    assert weights is not None
    assert tada("fetch", "--verify") == (0, f"{FIRST}: right, SHA-256 {weights.sha256}\n".encode(), "")
    content = bytearray(weights.path.read_bytes())
    content[-100] ^= 1
    weights.path.write_bytes(content)
    code, out, err = tada("fetch", "--verify", FIRST)
    assert (code, out) == (1, b"")
    assert f"error: {weights.path} is damaged" in err
    assert f"hint: tada fetch {FIRST} fetches it again\n" in err
    assert tada("fetch", FIRST)[0] == 0
    assert tada("fetch", "--verify", FIRST, SECOND)[0] == 1  # the second is not there
    assert tada("fetch", "--verify", FIRST)[0] == 0


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ([], 2, "no model is named"),
        (["tada2d_tiny.frist"], 1, f"did you mean {FIRST}?"),
        ([OTHER], 1, f"{OTHER} cannot be used yet"),
        ([OTHER, "--from", "x.pyth"], 1, f"{OTHER} cannot be used yet"),
        (["--verify", "nothing"], 1, "unknown model 'nothing'"),
    ],
)
def test_what_is_not_understood(tada, arguments: list[str], code: int, says: str) -> None:
    found, _, err = tada("fetch", *arguments)
    assert found == code
    assert says in err


def test_the_built_in_model_needs_no_fetching(tada, server: FileServer) -> None:
    code, _, err = tada("fetch", "r2plus1d_tiny.camera_motion")
    assert (code, err) == (0, "r2plus1d_tiny.camera_motion comes with tada; there is nothing to fetch\n")
    assert server.requests == []


def test_a_mirror_of_all_models(tada, server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror = tmp_path / "mirror"
    server.replies.extend([Reply(), Reply(status=404, body=b"")])
    code, out, err = tada("fetch", "--all", "--mirror-to", mirror)
    assert (code, out) == (3, b"")
    assert "r2plus1d_tiny.camera_motion" not in err
    assert f"error: {SECOND}: {server.url}?{SECOND} is not there (404)\n" in err
    assert {file.name for file in mirror.iterdir()} == {f"{FIRST}.pyth", "mirror.json", "SHA256SUMS"}
    assert f"{FIRST} is in the mirror, and its hash is right\n" in tada("fetch", FIRST, "--mirror-to", mirror)[2]
    monkeypatch.setenv("TADA_HOME", str(tmp_path / "another machine"))
    server.close()
    monkeypatch.setenv("TADA_MIRROR", mirror.as_uri())
    assert tada("fetch", FIRST)[0] == 0
    assert "copy the published file to" in tada("fetch", SECOND, "--dry-run", "--mirror-to", mirror)[1].decode()
    code, _, err = tada("fetch", "--all", FIRST)
    assert (code, "--all are all models" in err) == (2, True)


def test_image_weights_are_fetched_like_models(tada, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, file = "resnet50.imagenet", tmp_path / "image.pth"
    torch.save({"conv1.weight": torch.ones(2, 3, 1, 1)}, file)
    digest = store.hash_file(file).sha256
    assert tada("fetch", name, "--from", file)[0] == 1  # it is not the published file
    assert store.stored(name) is None
    monkeypatch.setitem(IMAGE_WEIGHTS, name, dataclasses.replace(IMAGE_WEIGHTS[name], hash_begin=digest[:8]))
    code, out, err = tada("fetch", name, "--from", file)
    assert (code, out) == (0, b"")
    assert digest in err
    assert tada("fetch", "--verify")[1].decode().startswith(f"{name}: right, SHA-256 ")
    assert f"{name}: here" in tada("fetch", name, "--dry-run")[1].decode()
    code, _, err = tada("models", name)
    assert (code, "are image weights" in err, "--init imagenet starts from them" in err) == (1, True, True)
    assert (
        "vit_b16.clip: download a file of unknown size from https://" in tada("fetch", "--all", "--dry-run")[1].decode()
    )
