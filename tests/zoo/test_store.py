"""The store: where it is, what it remembers, and that it notices when a file is no longer what was written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import platformdirs
import pytest

from tadacli.errors import CheckpointError, FetchError
from tadacli.zoo import store
from tadacli.zoo.store import FileHash, StoredWeights

ORIGINAL = FileHash(1234, "ab" * 32)


@pytest.fixture(autouse=True)
def _own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TADA_HOME", str(tmp_path / "home"))


def put(tmp_path: Path, name: str = "net.data", content: bytes = b"weights") -> StoredWeights:
    partial = tmp_path / "partial"
    partial.write_bytes(content)
    return store.put(partial, name=name, original=ORIGINAL, source="http://a/b.pyth")


def test_the_folder_is_the_one_chosen_or_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert store.store_folder() == tmp_path / "home"
    monkeypatch.setenv("TADA_HOME", "~/weights")
    assert store.store_folder() == Path.home() / "weights"
    for unset in (lambda: monkeypatch.setenv("TADA_HOME", ""), lambda: monkeypatch.delenv("TADA_HOME")):
        unset()
        assert store.store_folder() == Path(platformdirs.user_cache_dir("tada", appauthor=False))


def test_what_is_put_is_found(tmp_path: Path) -> None:
    assert store.stored("net.data") is None
    assert store.all_stored() == []
    first, second = put(tmp_path, "b.2"), put(tmp_path, "a.1", b"other weights")
    assert store.stored("b.2") == first
    assert store.all_stored() == [second, first]
    assert second.path.read_bytes() == b"other weights"
    assert (first.size_bytes, first.original_size_bytes, first.original_sha256) == (7, 1234, "ab" * 32)
    for weights in (first, second):
        store.verify(weights)


@pytest.mark.parametrize("content", [b"weightz", b"weight", b"", b"weights and more"])
def test_damage_is_noticed(tmp_path: Path, content: bytes) -> None:
    weights = put(tmp_path)
    weights.path.write_bytes(content)
    assert store.stored("net.data") == weights  # which looks at no byte
    with pytest.raises(CheckpointError, match="is damaged") as caught:
        store.verify(weights)
    assert caught.value.hint == "tada fetch net.data fetches it again"


def test_half_of_it_is_nothing(tmp_path: Path) -> None:
    weights = put(tmp_path)
    weights.path.unlink()
    assert store.stored("net.data") is None
    with pytest.raises(CheckpointError, match="cannot be read"):
        store.verify(weights)
    for text in ("", "[]", '{"name": "net.data"}', "\x00"):
        weights = put(tmp_path)
        weights.path.with_suffix(".json").write_text(text)
        assert store.stored("net.data") is None
        assert store.all_stored() == []


def test_a_crash_leaves_no_description_of_other_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path)

    def crash(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(store, "write_new", crash)
    with pytest.raises(KeyboardInterrupt):
        put(tmp_path, content=b"newer weights")
    assert store.stored("net.data") is None


def test_the_lock_file_remembers_each_original() -> None:
    assert store.locked("net.data") is None
    store.lock("net.data", ORIGINAL)
    store.lock("a.1", FileHash(5, "cd" * 32))
    assert store.locked("net.data") == ORIGINAL
    assert store.locked_names(ORIGINAL) == ["net.data"]
    content = store.lock_file().read_bytes()
    store.lock("net.data", ORIGINAL)
    assert store.lock_file().read_bytes() == content
    assert content.index(b"a.1") < content.index(b"net.data")


@pytest.mark.parametrize("text", ["", "[1]", '{"net.data": {}}', '{"net.data": 3}', "{"])
def test_a_damaged_lock_file_is_no_licence(text: str) -> None:
    store.lock("net.data", ORIGINAL)
    store.lock_file().write_text(text)
    with pytest.raises(FetchError, match=r"lock\.json.* is damaged"):
        store.locked("net.data")
    with pytest.raises(FetchError, match="is damaged"):
        store.lock("net.data", ORIGINAL)
    assert store.lock_file().read_text() == text


def test_looking_into_the_store_needs_no_torch() -> None:
    program = "import sys, tadacli.zoo.store as s; s.all_stored(); s.stored('a'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
