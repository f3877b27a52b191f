"""Copies of videos from elsewhere: bounded, the least recently used go first, one download for all who want it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tadacli.errors import UsageError, VideoError
from tadacli.files import held_file
from tadacli.video import inputs
from tadacli.video.copies import Fetch, KeptCopies
from tadacli.video.inputs import local_path
from tadacli.zoo.downloading import OnProgress, Patience
from tests.file_server import serving

QUICK = Patience(attempts=2, sleep=lambda _: None)


@pytest.fixture
def copies(tmp_path: Path) -> KeptCopies:
    return KeptCopies(tmp_path / "cache", 100, patience_seconds=0.0)


def of_size(num_bytes: int, fetched: list[int] | None = None) -> Fetch:
    def fetch(part: Path, on_progress: OnProgress) -> None:
        on_progress(0, num_bytes)
        part.write_bytes(bytes(num_bytes))
        if fetched is not None:
            fetched.append(num_bytes)

    return fetch


def use(copies: KeptCopies, url: str, num_bytes: int = 40, *, seconds: float | None = None) -> Path:
    """The file of a copy that is used; `seconds` is when."""
    with copies.copy_of(url, "1", of_size(num_bytes), suffix=".mp4") as file:
        assert Path(file).stat().st_size == num_bytes
    if seconds is not None:
        os.utime(file, (seconds, seconds))
    return Path(file)


def there(copies: KeptCopies) -> set[Path]:
    return {file for file in copies.folder.iterdir() if file.name != ".lock"}


def test_what_was_not_used_for_longest_goes(copies: KeptCopies) -> None:
    first, second = use(copies, "a", seconds=1000), use(copies, "b", seconds=2000)
    assert first.suffix == ".mp4"
    assert use(copies, "a") == first, "it is used again, and not fetched"
    third = use(copies, "c")
    assert there(copies) == {first, third}
    assert use(copies, "b") == second
    assert len(there(copies)) == 2


def test_another_version_is_another_copy(copies: KeptCopies) -> None:
    for version in ("1", "2"):
        with copies.copy_of("a", version, of_size(int(version))) as file:
            assert Path(file).stat().st_size == int(version)


def test_what_is_in_use_stays(copies: KeptCopies) -> None:
    with ExitStack() as opened:
        held = [Path(opened.enter_context(copies.copy_of(url, "1", of_size(40)))) for url in "ab"]
        with pytest.raises(VideoError, match=r"no room for c in .*cache: its copies are in use"):
            use(copies, "c")
        assert set(held) <= there(copies)
    use(copies, "c")
    with pytest.raises(VideoError, match=r"huge has 101 bytes, and the copies in .* may have 100"):
        use(copies, "huge", 101)


def test_room_is_taken_before_there_are_bytes(copies: KeptCopies) -> None:
    def fetch(part: Path, on_progress: OnProgress) -> None:
        on_progress(0, 70)
        with pytest.raises(VideoError, match="no room"):
            use(copies, "b", 40)
        assert use(copies, "c", 30).exists()
        part.write_bytes(bytes(70))

    with copies.copy_of("a", "1", fetch):
        pass
    assert sum(file.stat().st_size for file in there(copies) if file.suffix not in (".part", ".room")) <= 100


def test_one_fetches_and_the_others_wait(copies: KeptCopies) -> None:
    fetched: list[int] = []
    begin = threading.Barrier(4)

    def want(_: int) -> int:
        begin.wait()
        with copies.copy_of("a", "1", of_size(7, fetched)) as file:
            return Path(file).stat().st_size

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(want, range(4))) == [7] * 4
    assert fetched == [7]


def test_what_a_kill_left_is_gone_on_with_or_makes_room(copies: KeptCopies) -> None:
    def killed(part: Path, on_progress: OnProgress) -> None:
        on_progress(0, 90)
        part.write_bytes(bytes(60))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), copies.copy_of("a", "1", killed):
        pass
    (part,) = there(copies)
    room = part.with_suffix(".room")
    held_file(room, create=True, resume=False).close()
    room.write_bytes(b"90")  # as a kill leaves it, and nobody holds it

    def go_on(part: Path, _: OnProgress) -> None:
        assert part.stat().st_size == 60
        raise VideoError("the server is away")

    with pytest.raises(VideoError, match="away"), copies.copy_of("a", "1", go_on):
        pass
    room.write_bytes(b"90")
    use(copies, "b", 60)
    assert not part.exists()
    assert not room.exists()


def test_a_video_of_a_server_is_kept_by_its_etag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TADA_CACHE", str(tmp_path / "cache"))
    with serving(b"video") as server:
        url = f"{server.url}/clip.mp4"
        paths = []
        for _ in range(2):
            with local_path(url, patience=QUICK) as path:
                assert Path(path).read_bytes() == b"video"
                paths.append(path)
        assert paths[0] == paths[1]
        Path(path).write_bytes(b"kept!")
        with local_path(url, patience=QUICK) as path:
            assert Path(path).read_bytes() == b"kept!", "it is not fetched again"
        server.content, server.etag = b"another", '"second"'
        with local_path(url, patience=QUICK) as path:
            assert Path(path).read_bytes() == b"another"
        server.etag = None
        with local_path(url, patience=QUICK) as path:
            assert not path.startswith(str(tmp_path / "cache")), "nothing would say that it changes"
        monkeypatch.setenv("TADA_CACHE_SIZE", "much")
        with pytest.raises(UsageError, match="TADA_CACHE_SIZE much is no size"), local_path(url):
            pass


@pytest.mark.parametrize("cache", [True, False])
def test_a_video_that_changes_while_it_is_fetched_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: bool
) -> None:
    fsspec = pytest.importorskip("fsspec")
    system = fsspec.filesystem("memory")
    system.pipe_file("/clip.mp4", b"video")
    versions = iter(["1", "2"])
    if cache:
        monkeypatch.setenv("TADA_CACHE", str(tmp_path / "cache"))
    changed: Callable[[str], str] = lambda _: next(versions)  # noqa: E731
    monkeypatch.setattr(inputs, "is_in_store", lambda name: name.startswith("memory://"))
    monkeypatch.setattr(inputs, "version_in_store", changed)
    with pytest.raises(VideoError, match="has changed while it was fetched"), local_path("memory://clip.mp4"):
        pass
    assert not [file for file in tmp_path.rglob("*") if file.is_file() and file.name != ".lock"]


def test_a_video_of_this_machine_does_not_ask_for_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TADA_CACHE", str(tmp_path))
    monkeypatch.setenv("TADA_CACHE_SIZE", "much")
    assert inputs.is_kept("a.mp4", "a.mp4")
