"""A folder of published files that a lab fills once: it serves every machine, exactly those files, or says why not."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import io
import json
import subprocess
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import fsspec
import pytest
import torch

from tadacli.errors import FetchError
from tadacli.models import build
from tadacli.specs import WeightsSource
from tadacli.zoo import store
from tadacli.zoo.downloading import Patience
from tadacli.zoo.fetching import Fetched, NotFetched, fetch
from tadacli.zoo.manifest import manifest
from tadacli.zoo.mirroring import fill_mirror
from tadacli.zoo.offers import plan_of
from tests.file_server import FileServer, Reply, serving

FIRST, SECOND = "small.first", "small.second"
QUICK = Patience(attempts=2, sleep=lambda _: None)


def published(seed: int) -> bytes:
    stream = io.BytesIO()
    torch.manual_seed(seed)
    torch.save({"model_state": build("r2plus1d_tiny", num_classes=9).state_dict()}, stream)
    return stream.getvalue()


CONTENTS = {FIRST: published(0), SECOND: published(1)}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TADA_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def authors() -> Iterator[FileServer]:
    """The authors' server, which has one file at a time."""
    with serving(CONTENTS[FIRST]) as server:
        yield server


def spec_of(name: str, server: FileServer) -> Any:
    source = WeightsSource(url=f"{server.url}?{name}", licence="Apache-2.0")
    return dataclasses.replace(manifest()["r2plus1d_tiny.camera_motion"], name=name, source=source)


def fill(folder: Path, server: FileServer, **how: Any) -> list[Fetched | NotFetched]:
    """The mirror with both models, each from a server that has its content at that time."""
    found = []
    for name in (FIRST, SECOND):
        server.content = CONTENTS[name]
        found += fill_mirror([spec_of(name, server)], folder, patience=QUICK, **how)
    return found


def names_in(folder: Path) -> set[str]:
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}


@pytest.mark.usefixtures("home")
def test_a_mirror_has_the_published_files_their_hashes_and_a_list_of_both(authors: FileServer, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    assert [each.how for each in fill(mirror, authors)] == ["downloaded", "downloaded"]
    assert names_in(mirror) == {f"{FIRST}.pyth", f"{SECOND}.pyth", "mirror.json", "SHA256SUMS"}
    for name, content in CONTENTS.items():
        assert (mirror / f"{name}.pyth").read_bytes() == content
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=mirror, check=True)
    listed = json.loads((mirror / "mirror.json").read_text())["files"]
    assert listed[f"{SECOND}.pyth"] == {
        "size_bytes": len(CONTENTS[SECOND]),
        "sha256": hashlib.sha256(CONTENTS[SECOND]).hexdigest(),
        "source": f"{authors.url}?{SECOND}",
        "licence": "Apache-2.0",
    }
    assert not list(store.original_path(FIRST).parent.glob("*"))  # the store keeps what it needs
    before = len(authors.requests)
    assert [each.how for each in fill(mirror, authors)] == ["mirrored", "mirrored"]
    assert len(authors.requests) == before


@pytest.mark.usefixtures("home")
def test_what_is_damaged_or_missing_in_a_mirror_is_put_right(authors: FileServer, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    fill(mirror, authors, keep_original=True)
    assert store.original_path(FIRST).read_bytes() == CONTENTS[FIRST]
    (mirror / f"{FIRST}.pyth").unlink()
    content = bytearray(CONTENTS[SECOND])
    content[-1] ^= 1
    (mirror / f"{SECOND}.pyth").unlink()
    (mirror / f"{SECOND}.pyth").write_bytes(content)
    before = len(authors.requests)
    assert [each.how for each in fill(mirror, authors)] == ["stored", "stored"]
    assert len(authors.requests) == before
    assert {name: (mirror / f"{name}.pyth").read_bytes() for name in CONTENTS} == CONTENTS


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mirror")
    with pytest.MonkeyPatch.context() as patch, serving(b"") as server:
        patch.setenv("TADA_HOME", str(folder / "home"))
        fill(folder / "files", server)
    return folder / "files"


@pytest.fixture
def web(mirror: Path) -> Iterator[str]:
    """The mirror as any web server has it."""
    handler = type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(mirror)))
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("kind", ["folder", "file://", "http", "hub", "bucket"])
def test_a_mirror_serves_its_files_wherever_it_stands(mirror: Path, web: str, authors: FileServer, kind: str) -> None:
    bucket = fsspec.filesystem("memory")  # stands for s3:// and hf://, which fsspec opens in the same way
    for file in mirror.iterdir():
        bucket.pipe(f"/bucket/{file.name}", file.read_bytes())
    address = {
        "folder": str(mirror),
        "file://": mirror.as_uri() + "/",
        "http": web,
        "hub": f"{web}/{{file}}?Revision=master",
        "bucket": "memory://bucket",
    }[kind]
    for name in CONTENTS:
        fetched = fetch(spec_of(name, authors), mirror=address, patience=QUICK)
        assert fetched.how == "downloaded"
        assert fetched.weights is not None
        assert fetched.weights.original_sha256 == hashlib.sha256(CONTENTS[name]).hexdigest()
    assert authors.requests == []


@pytest.mark.usefixtures("home")
def test_who_asks_a_mirror_is_told_to_it_and_to_nobody_else(mirror: Path, authors: FileServer, tmp_path: Path) -> None:
    said = list[str]()
    with serving(CONTENTS[FIRST]) as private:
        private.others["mirror.json"] = (mirror / "mirror.json").read_bytes()
        place = private.url.replace("://", "://anna:s3cret@").rsplit("/", 1)[0]
        fetched = fetch(spec_of(FIRST, authors), mirror=place, patience=QUICK, on_message=said.append)
        asked = {request["path"].rsplit("/", 1)[1]: request.get("Authorization") for request in private.requests}
        basic = "Basic " + base64.b64encode(b"anna:s3cret").decode()
        assert asked == {f"{FIRST}.pyth": basic, "mirror.json": basic}
        private.replies += [Reply(), Reply(status=403)]
        store.weights_path(FIRST).unlink()
        fetch(spec_of(FIRST, authors), mirror=place, patience=QUICK, on_message=said.append)
        assert any("is not compared with the list of its mirror" in text and "403" in text for text in said)
    assert fetched.weights is not None
    assert f"{FIRST}: downloading {private.url.rsplit('/', 1)[0]}/{FIRST}.pyth" in said
    kept = [file.read_text(errors="replace") for file in tmp_path.rglob("*") if file.is_file()]
    assert not [text for text in (*said, *kept, plan_of(spec_of(FIRST, authors), mirror=place)) if "s3cret" in text]


@pytest.mark.usefixtures("home")
def test_a_file_that_is_not_the_listed_one_is_not_taken(mirror: Path, authors: FileServer, tmp_path: Path) -> None:
    copy, said = tmp_path / "copy", list[str]()
    copy.mkdir()
    (copy / "mirror.json").write_bytes((mirror / "mirror.json").read_bytes())
    other = published(2)
    (copy / f"{FIRST}.pyth").write_bytes(other)
    fetched = fetch(spec_of(FIRST, authors), mirror=str(copy), patience=QUICK, on_message=said.append)
    assert fetched.weights is not None
    assert fetched.weights.source == f"{authors.url}?{FIRST}"
    assert any("is not the file that its mirror lists" in text for text in said)
    alone = dataclasses.replace(spec_of(SECOND, authors), source=WeightsSource())
    (copy / f"{SECOND}.pyth").write_bytes(other[: len(CONTENTS[SECOND])])
    with pytest.raises(FetchError, match="is not the file that its mirror lists"):
        fetch(alone, mirror=str(copy), patience=QUICK)
    assert store.stored(SECOND) is None


@pytest.mark.usefixtures("home")
def test_a_folder_without_a_list_is_a_mirror_too(authors: FileServer, tmp_path: Path) -> None:
    (tmp_path / f"{FIRST}.pyth").write_bytes(CONTENTS[FIRST])
    assert fetch(spec_of(FIRST, authors), mirror=str(tmp_path), patience=QUICK).how == "downloaded"
    assert authors.requests == []


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "is damaged"),
        ("[]", "mirror.json"),
        ('{"format": "tada mirror 9", "files": {}}', "no list of this version"),
        ('{"format": "tada mirror 1", "files": {"a": {"size_bytes": -1, "sha256": "0"}}}', "a size or a SHA-256"),
        (
            '{"format": "tada mirror 1", "files": {"../a": {"size_bytes": 1, "sha256": "%s"}}}' % ("0" * 64),
            "no name of one",
        ),
        (
            '{"format": "tada mirror 1", "files": {"a": {"size_bytes": 1, "sha256": "%s", "b": 1}}}' % ("0" * 64),
            "files.a.b",
        ),
    ],
)
def test_a_damaged_list_is_an_error_and_no_mirror(authors: FileServer, tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "mirror.json").write_text(content)
    (tmp_path / f"{FIRST}.pyth").write_bytes(CONTENTS[FIRST])
    with pytest.raises(FetchError, match=says):
        list(fill_mirror([spec_of(FIRST, authors)], tmp_path, patience=QUICK))
    if content == "[]":
        return  # what some servers give for any name
    authors.replies.append(Reply(status=404, body=b""))
    with pytest.raises(FetchError, match=says):
        fetch(spec_of(FIRST, authors), mirror=str(tmp_path), patience=QUICK)
    assert store.stored(FIRST) is None
