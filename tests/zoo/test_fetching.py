"""From a published file to weights in the store: exactly that file, checked and converted, or a named error."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import io
import json
import os
import pickle
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tadacli.errors import CheckpointError, FetchError, OutputError, SpecError, TadaError
from tadacli.models import build, build_over_features
from tadacli.models.inference import fuse
from tadacli.specs import ModelSpec, WeightsSource
from tadacli.zoo import conversion as weights_import
from tadacli.zoo import fetching, store
from tadacli.zoo.checkpoints import write_checkpoint
from tadacli.zoo.downloading import Patience
from tadacli.zoo.fetching import fetch, fetch_file, sources_of
from tadacli.zoo.loading import load_model, load_proposal_model
from tadacli.zoo.manifest import cards, manifest
from tests.file_server import FileServer, Reply, serving
from tests.parity import goldens

NAME = "r2plus1d_tiny.published"
QUICK = Patience(attempts=3, sleep=lambda _: None)


def states(seed: int = 0) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return build("r2plus1d_tiny", num_classes=9).state_dict()


def published(seed: int = 0, **options: bool) -> bytes:
    """A checkpoint in the published layout."""
    stream = io.BytesIO()
    torch.save(
        {"model_state": states(seed), "optimizer_state": {"lr": 0.1}, "cfg": "{}", "epoch": 3}, stream, **options
    )
    return stream.getvalue()


CONTENT, OTHER = published(0), published(1)


@pytest.fixture(autouse=True)
def _own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TADA_HOME", str(tmp_path / "home"))


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving(CONTENT) as files:
        yield files


def spec_for(url: str | None, **source: Any) -> ModelSpec:
    spec = manifest()["r2plus1d_tiny.camera_motion"]
    places = WeightsSource(url=url or "", licence="Apache-2.0", **source)
    return dataclasses.replace(spec, name=NAME, source=places)


def assert_clean(*, empty: bool) -> None:
    """Nothing is left over, and there is either a whole model or none."""
    files = [file for file in store.store_folder().rglob("*") if file.is_file() and file.suffix != ".lock"]
    left = {str(file.relative_to(store.store_folder())) for file in files}
    assert left == (set() if empty else {f"models/{NAME}.safetensors", f"models/{NAME}.json", "lock.json"})


def assert_holds(seed: int = 0) -> None:
    """The store has a model that loads, with the weights of this seed."""
    weights = store.stored(NAME)
    assert weights is not None
    store.verify(weights)
    model = load_model(weights.path, device="cpu")
    as_trained = build(model.spec.architecture, num_classes=model.spec.num_classes).eval()
    as_trained.load_state_dict(states(seed))
    expected = fuse(as_trained).state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in model.network.state_dict().items())


def test_a_published_file_becomes_a_model_of_our_own(server: FileServer) -> None:
    fetched = fetch(spec_for(server.url))
    assert (fetched.how, fetched.is_first_use) == ("downloaded", True)
    assert_holds()
    assert_clean(empty=False)
    inside = load_model(fetched.weights.path, device="cpu").spec
    assert inside.heads == spec_for(server.url).heads
    assert inside.source.sha256 == fetched.weights.original_sha256
    assert inside.source.size_bytes == len(CONTENT)
    assert inside.source.url == fetched.weights.source == server.url


def test_a_network_over_features_is_fetched_like_any_other(server: FileServer) -> None:
    sizes = {"in_channels": 16, "num_bins": 8, "max_duration_bins": 4}
    network = build_over_features("bmn", **sizes)
    stream = io.BytesIO()
    torch.save({"model_state": {**network.state_dict(), "head.sample_mask": torch.zeros(8, 32 * 4 * 8)}}, stream)
    server.content = stream.getvalue()
    known = cards()["bmn.ek100_vivit"].spec
    spec = dataclasses.replace(
        known,
        name=NAME,
        arguments=sizes,
        features=dataclasses.replace(known.features, num_channels=16, num_bins=8),
        source=WeightsSource(url=server.url, licence="Apache-2.0"),
    )
    fetched = fetch(spec)
    assert_clean(empty=False)
    inside = load_proposal_model(fetched.weights.path, device="cpu")
    assert inside.spec.source.size_bytes == len(server.content)
    assert {name: value.tolist() for name, value in inside.network.state_dict().items()} == {
        name: value.tolist() for name, value in network.state_dict().items()
    }


def test_it_is_fetched_once(server: FileServer) -> None:
    first = fetch(spec_for(server.url))
    second = fetch(spec_for(server.url))
    assert (second.how, second.weights) == ("stored", first.weights)
    assert len(server.requests) == 1


def test_what_got_damaged_is_fetched_again_to_the_same_bytes(server: FileServer) -> None:
    first = fetch(spec_for(server.url)).weights
    first.path.write_bytes(first.path.read_bytes()[:-1])
    said: list[str] = []
    second = fetch(spec_for(server.url), on_message=said.append)
    assert "is damaged" in said[0]
    assert (second.how, second.is_first_use, second.weights) == ("downloaded", False, first)
    assert_holds()


def test_after_the_first_use_no_other_file_is_taken(server: FileServer) -> None:
    first = fetch(spec_for(server.url)).weights
    first.path.unlink()
    server.content, server.etag = OTHER, '"second"'
    with pytest.raises(FetchError, match="is not the file that was first fetched") as caught:
        fetch(spec_for(server.url))
    assert str(store.lock_file()) in caught.value.hint
    assert store.stored(NAME) is None
    server.content = CONTENT
    fetch(spec_for(server.url))
    assert_holds()


def test_a_hash_in_the_manifest_is_enforced_from_the_first_use(server: FileServer) -> None:
    right = hashlib.sha256(CONTENT).hexdigest()
    for source in ({"sha256": "0" * 64}, {"sha256": right, "size_bytes": len(CONTENT) - 1}):
        with pytest.raises(FetchError, match=r"is not the published file|should have"):
            fetch(spec_for(server.url, **source))
        assert_clean(empty=True)
    fetched = fetch(spec_for(server.url, sha256=right, size_bytes=len(CONTENT)))
    assert not fetched.is_first_use
    assert_holds()


@pytest.mark.parametrize(
    "reply",
    [
        Reply(body=b"<html>Google Drive - Quota exceeded</html>", headers={"Content-Type": "text/html"}),
        Reply(body=b"", length=0),
        Reply(body=CONTENT[: len(CONTENT) // 2]),
        Reply(length=len(CONTENT) - 1000),  # the server claims less than there is
        Reply(body=CONTENT[:-1]),
        Reply(headers={"Content-Length": None}, send_bytes=len(CONTENT) // 2),  # ends without saying where it should
        Reply(body=CONTENT[:900_000] + b"\xff" + CONTENT[900_001:]),  # one flipped byte in the weights
        Reply(body=b"no such file"),
        Reply(status=404, body=b""),
        Reply(status=500, body=b""),
    ],
    ids="page empty half short-length one-byte-short no-length flipped text 404 500".split(),
)
def test_never_half_a_file(server: FileServer, reply: Reply) -> None:
    server.replies.extend([reply] * 9)
    with pytest.raises((FetchError, CheckpointError)) as caught:
        fetch(spec_for(server.url), patience=QUICK)
    assert caught.value.hint
    assert_clean(empty=True)
    server.replies.clear()
    fetch(spec_for(server.url))
    assert_holds()
    assert_clean(empty=False)


def test_sources_are_tried_in_order(server: FileServer) -> None:
    spec = spec_for(server.url, google_drive="abc")
    base = server.url.rpartition("/")[0]
    assert [source.url for source in sources_of(spec, mirror=base + "/")] == [
        f"{base}/{NAME}.pyth",
        server.url,
        "https://drive.google.com/file/d/abc/view",
    ]
    server.replies.append(Reply(status=404, body=b""))
    said: list[str] = []
    fetched = fetch(spec, mirror=base, on_message=said.append)
    assert fetched.weights.source == server.url
    assert [request["path"] for request in server.requests] == [f"/{NAME}.pyth", "/weights.pyth"]
    assert any("trying the next source" in text for text in said)
    assert_holds()


def test_a_wrong_file_on_a_mirror_is_not_the_end(server: FileServer, tmp_path: Path) -> None:
    fetch(spec_for(server.url)).weights.path.unlink()
    (tmp_path / f"{NAME}.pyth").write_bytes(OTHER)
    assert fetch(spec_for(server.url), mirror=str(tmp_path)).weights.source == server.url
    assert_holds()


def test_a_folder_is_a_mirror(tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.pyth").write_bytes(CONTENT)
    fetch(spec_for(None), mirror=str(tmp_path))
    assert_holds()


def test_when_no_source_has_it_all_reasons_are_said(server: FileServer) -> None:
    server.replies.extend([Reply(status=404, body=b""), Reply(status=403, body=b"")])
    with pytest.raises(FetchError, match=r"none of 2 sources.*404.*403") as caught:
        fetch(spec_for(server.url), mirror=server.url.rpartition("/")[0], patience=QUICK)
    assert caught.value.hint == f"download {server.url} in a browser, then: tada fetch --from FILE {NAME}"


def test_offline_asks_no_server(server: FileServer) -> None:
    with pytest.raises(FetchError, match="--offline forbids"):
        fetch(spec_for(server.url), offline=True)
    assert server.requests == []
    fetch(spec_for(server.url))
    assert fetch(spec_for(server.url), offline=True).how == "stored"
    assert len(server.requests) == 1


def test_a_network_that_cannot_be_built_is_not_downloaded(server: FileServer) -> None:
    spec = dataclasses.replace(spec_for(server.url), architecture="not_built_yet")
    with pytest.raises(SpecError, match="not_built_yet"):
        fetch(spec)
    assert server.requests == []


def test_the_original_is_kept_if_asked_for(server: FileServer) -> None:
    fetch(spec_for(server.url))
    assert not store.original_path(NAME).exists()
    assert fetch(spec_for(server.url), keep_original=True).how == "downloaded"
    assert store.original_path(NAME).read_bytes() == CONTENT
    assert fetch(spec_for(server.url), keep_original=True).how == "stored"


def test_a_file_from_a_browser_gives_the_same_weights(server: FileServer, tmp_path: Path) -> None:
    file = tmp_path / "K400 (1).pyth"
    file.write_bytes(CONTENT)
    imported = fetch_file(spec_for(server.url), file)
    assert (imported.how, imported.is_first_use) == ("imported", True)
    assert file.read_bytes() == CONTENT
    content = imported.weights.path.read_bytes()
    imported.weights.path.unlink()
    assert fetch(spec_for(server.url)).weights.path.read_bytes() == content


def test_the_file_of_another_model_is_recognised(server: FileServer, tmp_path: Path) -> None:
    fetch(spec_for(server.url))
    file = tmp_path / "a.pyth"
    file.write_bytes(CONTENT)
    with pytest.raises(FetchError, match=f"is the file of {NAME}, not of r2plus1d_tiny.second"):
        fetch_file(dataclasses.replace(spec_for(None), name="r2plus1d_tiny.second"), file)
    write_checkpoint(tmp_path / "b.safetensors", states(2), spec_for(None))
    with pytest.raises(CheckpointError, match=f"holds {NAME}, not r2plus1d_tiny.second"):
        fetch_file(dataclasses.replace(spec_for(None), name="r2plus1d_tiny.second"), tmp_path / "b.safetensors")


def test_old_pickles_without_a_zip_around_them_convert(tmp_path: Path) -> None:
    (tmp_path / "old.pth").write_bytes(published(0, _use_new_zipfile_serialization=False))
    fetch_file(spec_for(None), tmp_path / "old.pth")
    assert_holds()


class Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def zip_of(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("UP", ".."), content)
    return stream.getvalue()


def tar_of(name: str, mode: str = "w") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:
        member = tarfile.TarInfo(name)
        member.size = len(CONTENT)
        archive.addfile(member, io.BytesIO(CONTENT))
    return stream.getvalue()


def with_member(name: str) -> bytes:
    """The published file, whose zip has one member more."""
    stream = io.BytesIO(CONTENT)
    with zipfile.ZipFile(stream, "a") as archive:
        archive.writestr(name, b"x")
    return stream.getvalue()


def trapped(path: Path, **options: bool) -> bytes:
    stream = io.BytesIO()
    torch.save({"model_state": states(), "cfg": Trap(path)}, stream, **options)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda trap: trapped(trap), "not a plain weights file"),
        (lambda trap: trapped(trap, _use_new_zipfile_serialization=False), "not a plain weights file"),
        (lambda trap: pickle.dumps(Trap(trap)), "not a plain weights file"),
        (lambda _: zip_of(**{"UP/evil.pyth": CONTENT}), r"zip archive with the member '\.\./evil\.pyth'"),
        (lambda _: with_member("archive/../../evil"), r"'archive/\.\./\.\./evil', which leads outside"),
        (lambda _: with_member("/etc/evil"), "'/etc/evil', which leads outside"),
        (lambda _: with_member("..\\evil"), "which leads outside"),
        (lambda _: with_member("C:\\evil"), "which leads outside"),
        (lambda _: zip_of(**{"weights.pyth": CONTENT}), "is a zip archive, not a weights file"),
        (lambda _: tar_of("../evil.pyth"), r"tar archive with the member '\.\./evil\.pyth'"),
        (lambda _: tar_of("weights.pyth"), "is a tar archive, not a weights file"),
        (lambda _: tar_of("../evil.pyth", "w:gz"), "is a gzip archive"),
        (lambda _: tar_of("../evil.pyth", "w:bz2"), "is a bzip2 archive"),
        (lambda _: tar_of("../evil.pyth", "w:xz"), "is a xz archive"),
    ],
)
def test_hostile_files_are_refused_and_never_run(server: FileServer, tmp_path: Path, make, message: str) -> None:
    (tmp_path / "in").mkdir()
    trap = tmp_path / "trap"
    server.content = make(trap)
    file = tmp_path / "in" / "downloaded.pyth"
    file.write_bytes(server.content)
    for act in (lambda: fetch(spec_for(server.url)), lambda: fetch_file(spec_for(None), file)):
        with pytest.raises(CheckpointError, match=message):
            act()
    assert not trap.exists()
    assert [path.name for path in tmp_path.rglob("*evil*")] == []
    assert_clean(empty=True)


def test_the_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save({"model_state": build("r2plus1d_tiny", num_classes=5).state_dict()}, tmp_path / "five.pyth")
    with pytest.raises(CheckpointError, match="does not fit"):
        fetch_file(spec_for(None), tmp_path / "five.pyth")
    assert_clean(empty=True)


def test_no_space_for_the_converted_file_keeps_the_download(
    server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(weights_import, "convert", full)
        with pytest.raises(OutputError, match="no space is left"):
            fetch(spec_for(server.url))
    assert store.stored(NAME) is None
    fetch(spec_for(server.url))
    assert len(server.requests) == 1
    assert_holds()
    assert_clean(empty=False)


def test_a_run_that_died_while_converting_is_continued_without_a_download(
    server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        # What a killed process leaves: no exception handler runs.
        patch.setattr(fetching, "_keep", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        patch.setattr(Path, "unlink", lambda *_, **__: None)
        with pytest.raises(KeyboardInterrupt):
            fetch(spec_for(server.url))
    fetch(spec_for(server.url))
    assert len(server.requests) == 1
    assert_holds()
    assert_clean(empty=False)


def test_a_folder_that_cannot_be_written_is_a_named_error(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("TADA_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(OutputError, match="cannot be written") as caught:
        fetch(spec_for(server.url))
    assert "TADA_HOME" in caught.value.hint


PROGRAM = """
import json, sys
from tadacli.zoo.fetching import fetch
from tadacli.specs import spec_from_dict
fetched = fetch(spec_from_dict(json.loads(sys.argv[1])), on_message=lambda text: print(text, flush=True))
print(fetched.how, flush=True)
"""


def test_two_runs_share_one_download(server: FileServer) -> None:
    is_begun, may_end = threading.Event(), threading.Event()
    half = len(CONTENT) // 2

    def hold() -> None:
        is_begun.set()
        may_end.wait(60)

    server.replies.append(
        Reply(before_end=hold, headers={"Connection": "close"}, body=CONTENT[:half], length=len(CONTENT))
    )
    command = [sys.executable, "-c", PROGRAM, json.dumps(spec_for(server.url).to_dict())]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert is_begun.wait(60)
    second = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert second.stdout is not None
    line = second.stdout.readline()
    may_end.set()
    outputs = [process.communicate(timeout=60)[0] for process in (first, second)]
    assert "another run is fetching it" in line
    assert (first.returncode, second.returncode) == (0, 0)
    assert [output.splitlines()[-1] for output in outputs] == ["downloaded", "stored"]
    # The connection that was held and cut in the middle, and its continuation by the same run.
    assert len(server.requests) == 2
    assert server.requests[1]["Range"].startswith("bytes=")
    assert_holds()
    assert_clean(empty=False)


def test_golden_weights_in_the_published_layout_give_the_golden_outputs(tmp_path: Path) -> None:
    case, arrays = goldens.load("tada2d_r50_k400_8f")
    weights = goldens.weights(case["state_dict"], case["seed"])
    file = tmp_path / "K400_8x8.pyth"
    torch.save({"model_state": weights, "optimizer_state": {}, "cfg": '{"MODEL": {}}', "epoch": 100}, file)
    fetch_file(manifest()["tada2d_r50.k400_8x8"], file)
    network = load_model("tada2d_r50.k400_8x8", device="cpu").network
    clips = goldens.inputs(case["input_shapes"][0], case["seed"] * 100)
    with torch.inference_mode():
        goldens.assert_close(network(clips), arrays["logits_0"], "logits")


def test_every_error_is_one_that_a_person_can_act_on(server: FileServer) -> None:
    for status in (400, 418, 451, 501):
        server.replies.append(Reply(status=status, body=b""))
        with pytest.raises(TadaError) as caught:
            fetch(spec_for(server.url), patience=QUICK)
        assert "in a browser, then: tada fetch --from FILE" in caught.value.hint
