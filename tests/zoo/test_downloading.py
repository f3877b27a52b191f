"""One download against a server that misbehaves: the exact file in the end, or a named error, and no mixture."""

from __future__ import annotations

import dataclasses
import email.utils
import gzip
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from fsspec.implementations.local import LocalFileSystem

from tadacli.errors import FetchError, NoConnectionError, OutputError
from tadacli.zoo import downloading
from tadacli.zoo import sources as remote_files
from tadacli.zoo.downloading import Patience, Room, download
from tadacli.zoo.sources import Source, drive_source
from tests.file_server import FileServer, Reply, serving

CONTENT = random.Random(0).randbytes(1_000_003)
OTHER = random.Random(1).randbytes(len(CONTENT))


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving(CONTENT) as files:
        yield files


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / "weights.part"


class Clock:
    """Waits that are noted and not waited for."""

    def __init__(self) -> None:
        self.waits: list[float] = []
        self.patience = Patience(attempts=4, sleep=self.waits.append, timeout_seconds=10)


def wait_for_size(part: Path, num_bytes: int) -> None:
    """Until the client has written so many bytes."""
    end = time.monotonic() + 10
    while (part.stat().st_size if part.exists() else 0) < num_bytes and time.monotonic() < end:
        time.sleep(0.002)


def cut(part: Path, num_bytes: int, *, have: int = 0) -> Reply:
    """The connection ends after so many bytes, once the client has them."""
    return Reply(send_bytes=num_bytes, before_end=lambda: wait_for_size(part, have + num_bytes))


@pytest.mark.parametrize("tenth", range(10))
def test_a_connection_that_is_cut_is_taken_up_where_it_ended(server: FileServer, part: Path, tenth: int) -> None:
    cut_at = len(CONTENT) * tenth // 10
    server.replies.append(cut(part, cut_at))
    download(Source(server.url), part, patience=Clock().patience)
    assert part.read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={cut_at}-" if cut_at else None]


@pytest.mark.parametrize("tenth", range(10))
def test_without_ranges_it_starts_again(server: FileServer, part: Path, tenth: int) -> None:
    server.has_ranges = False
    server.replies.append(cut(part, len(CONTENT) * tenth // 10))
    download(Source(server.url), part, patience=Clock().patience)
    assert part.read_bytes() == CONTENT


def test_a_server_that_cuts_every_time_is_borne_as_long_as_bytes_come(server: FileServer, part: Path) -> None:
    step = len(CONTENT) // 20
    server.replies.extend(cut(part, step, have=step * number) for number in range(19))
    clock = Clock()
    download(Source(server.url), part, patience=clock.patience)
    assert part.read_bytes() == CONTENT
    assert len(server.requests) == 20
    assert clock.waits == [1.0] * 19


def test_one_that_brings_nothing_new_is_given_up(server: FileServer, part: Path) -> None:
    server.has_ranges = False
    server.replies.extend(cut(part, 1000) for _ in range(20))
    clock = Clock()
    with pytest.raises(FetchError, match="ended in the middle of the file") as caught:
        download(Source(server.url), part, patience=clock.patience)
    assert "1,000 bytes are kept" in caught.value.hint
    assert clock.waits == [1.0, 2.0, 4.0]
    assert part.read_bytes() == CONTENT[:1000]


@pytest.mark.parametrize("etag", ['"second"', None, 'W/"second"'])
def test_a_file_that_changed_is_started_anew(server: FileServer, part: Path, etag: str | None) -> None:
    server.replies.append(cut(part, 500_000))
    with pytest.raises(FetchError):
        download(Source(server.url), part, patience=Patience(attempts=1))
    server.content, server.etag = OTHER, etag
    download(Source(server.url), part, patience=Clock().patience)
    assert part.read_bytes() == OTHER
    assert server.requests[1]["If-Range"] == '"first"'


def test_a_server_that_ignores_if_range_is_seen_through(server: FileServer, part: Path) -> None:
    server.replies.append(cut(part, 500_000))
    with pytest.raises(FetchError):
        download(Source(server.url), part, patience=Patience(attempts=1))
    server.content, server.etag = OTHER, '"second"'
    content_range = f"bytes 500000-{len(OTHER) - 1}/{len(OTHER)}"
    server.replies.append(Reply(status=206, body=OTHER[500_000:], headers={"Content-Range": content_range}))
    download(Source(server.url), part, patience=Clock().patience)
    assert part.read_bytes() == OTHER


def test_without_a_validator_nothing_is_continued(server: FileServer, part: Path) -> None:
    server.etag = None
    server.replies.append(cut(part, 500_000))
    download(Source(server.url), part, patience=Clock().patience)
    assert part.read_bytes() == CONTENT
    assert server.ranges == [None, None]


DATE = "Wed, 23 Aug 2023 08:00:00 GMT"


@pytest.mark.parametrize(
    ("etag", "date", "asked"),
    [
        ('"strong"', DATE, '"strong"'),
        ('W/"weak"', DATE, DATE),  # a weak tag may stay while bytes change
        (None, DATE, DATE),
        ('W/"weak"', None, None),
    ],
)
def test_what_a_continuation_is_tied_to(server: FileServer, part: Path, etag, date, asked) -> None:
    headers = {"ETag": etag, "Last-Modified": date}
    server.replies.append(dataclasses.replace(cut(part, 500_000), headers=headers))
    download(Source(server.url), part, patience=Clock().patience)
    assert part.read_bytes() == CONTENT
    assert server.requests[1].get("If-Range") == asked
    assert (server.ranges[1] is None) == (asked is None)


def test_a_shorter_file_upstream_is_started_anew(server: FileServer, part: Path) -> None:
    server.replies.append(cut(part, 500_000))
    with pytest.raises(FetchError):
        download(Source(server.url), part, patience=Patience(attempts=1))
    server.content = OTHER[:1000]  # under the same ETag: the server answers 416
    download(Source(server.url), part, patience=Clock().patience)
    assert part.read_bytes() == OTHER[:1000]


def test_a_longer_file_upstream_is_started_anew_though_it_claims_to_be_the_same(server: FileServer, part: Path) -> None:
    server.replies.append(cut(part, 500_000))
    with pytest.raises(FetchError):
        download(Source(server.url), part, patience=Patience(attempts=1))
    server.content = OTHER + b"more"  # under the same ETag: the server sends the rest of it
    download(Source(server.url), part, patience=Clock().patience)
    assert part.read_bytes() == OTHER + b"more"


def test_a_size_that_is_only_told_later_is_no_change(server: FileServer, part: Path) -> None:
    server.replies.append(Reply(headers={"Content-Length": None}))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, hard))
    try:
        with pytest.raises(OutputError, match="no space is left"):
            download(Source(server.url), part)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    download(Source(server.url), part)
    assert part.read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=600000-"]


def test_the_part_of_another_source_is_not_continued(server: FileServer, part: Path) -> None:
    server.replies.append(cut(part, 500_000))
    with pytest.raises(FetchError):
        download(Source(server.url), part, patience=Patience(attempts=1))
    download(Source(server.url + "?other"), part, patience=Clock().patience)
    assert part.read_bytes() == CONTENT
    assert server.ranges == [None, None]


def test_a_complete_part_asks_no_server(server: FileServer, part: Path) -> None:
    for _ in range(2):
        download(Source(server.url), part)
    assert len(server.requests) == 1
    assert part.read_bytes() == CONTENT


def test_a_length_that_is_too_long_is_an_error(server: FileServer, part: Path) -> None:
    for _ in range(10):
        # Once the client has all there is: what is lost on the way would count as progress when it comes later.
        everything = partial(wait_for_size, part, len(CONTENT))
        server.replies.append(Reply(length=len(CONTENT) + 5, status=200, body=CONTENT, before_end=everything))
    with pytest.raises(FetchError, match="could not be downloaded"):
        download(Source(server.url), part, patience=Clock().patience)


def test_a_size_that_is_not_the_known_one_is_refused_before_the_download(server: FileServer, part: Path) -> None:
    with pytest.raises(FetchError, match=r"1,000,003 bytes, not the 1,000,004"):
        download(Source(server.url), part, expected_bytes=len(CONTENT) + 1)
    assert not part.exists()


@pytest.mark.parametrize(
    "reply",
    [
        Reply(body=b"<!DOCTYPE html><html><title>Quota exceeded</title></html>", headers={"Content-Type": "text/html"}),
        Reply(body=b"\n<html><body>Log in to this Wi-Fi</body></html>"),
    ],
    ids=["said", "sniffed"],
)
def test_a_web_page_is_not_the_file(server: FileServer, part: Path, reply: Reply) -> None:
    server.replies.append(reply)
    with pytest.raises(FetchError, match="gives a web page, not the file"):
        download(Source(server.url), part)
    assert not part.exists()
    assert len(server.requests) == 1


def test_redirects_are_followed(server: FileServer, part: Path) -> None:
    server.replies.append(cut(part, 500_000))
    server.replies.append(Reply(status=302, body=b"", headers={"Location": "/elsewhere"}))
    download(Source(server.url), part, patience=Clock().patience)
    assert part.read_bytes() == CONTENT
    assert server.requests[-1]["path"] == "/elsewhere"
    assert server.ranges[-1] == "bytes=500000-"


def test_redirects_in_a_circle_are_an_error(server: FileServer, part: Path) -> None:
    server.replies.extend(Reply(status=302, body=b"", headers={"Location": "/weights.pyth"}) for _ in range(50))
    with pytest.raises(FetchError, match="cannot be downloaded"):
        download(Source(server.url), part, patience=Clock().patience)


@pytest.mark.parametrize(
    ("status", "retry_after", "waits"),
    [
        (429, "7", [7.0]),
        (503, "0", [0.0]),
        (429, "86400", [120.0]),  # not longer than the longest wait
        (429, None, [1.0]),
        (503, "soon", [1.0]),
        (503, email.utils.formatdate(0), [0.0]),  # a date that has passed
        (500, None, [1.0]),
        (502, None, [1.0]),
        (504, None, [1.0]),
    ],
)
def test_busy_servers_are_asked_again(server: FileServer, part: Path, status: int, retry_after, waits) -> None:
    server.replies.append(Reply(status=status, body=b"busy", headers={"Retry-After": retry_after}))
    clock, said = Clock(), []
    download(Source(server.url), part, patience=clock.patience, on_message=said.append)
    assert part.read_bytes() == CONTENT
    assert clock.waits == waits
    assert str(status) in said[0]


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_what_is_refused_is_not_asked_again(server: FileServer, part: Path, status: int) -> None:
    server.replies.append(Reply(status=status, body=b"no"))
    with pytest.raises(FetchError, match=str(status)):
        download(Source(server.url), part)
    assert len(server.requests) == 1


def test_a_server_in_trouble_is_given_up_in_the_end(server: FileServer, part: Path) -> None:
    server.replies.extend(Reply(status=500, body=b"") for _ in range(9))
    clock = Clock()
    with pytest.raises(FetchError, match=r"500 .*\(4 attempts\)"):
        download(Source(server.url), part, patience=clock.patience)
    assert clock.waits == [1.0, 2.0, 4.0]


def test_nobody_there_is_not_waited_for(part: Path) -> None:
    clock = Clock()
    with pytest.raises(NoConnectionError, match=r"127\.0\.0\.1.*\(2 attempts\)"):
        download(Source("http://127.0.0.1:9/weights.pyth"), part, patience=clock.patience)
    assert clock.waits == [1.0]


def test_a_server_that_was_there_and_went_away_is_waited_for(server: FileServer, part: Path) -> None:
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        server.close()

    server.replies.append(cut(part, 1000))
    with pytest.raises(FetchError, match=r"\(4 attempts\)") as caught:
        download(Source(server.url), part, patience=Patience(attempts=4, sleep=wait))
    assert not isinstance(caught.value, NoConnectionError)
    assert len(waits) in (3, 4)  # bytes that come before the end are sometimes only seen at the second attempt


def test_a_slow_server_is_waited_for_and_a_silent_one_is_not(server: FileServer, part: Path) -> None:
    server.replies.append(Reply(send_bytes=500_000, before_end=lambda: time.sleep(1.0)))
    patience = Patience(sleep=lambda _: None, timeout_seconds=0.3)
    said: list[str] = []
    download(Source(server.url), part, patience=patience, on_message=said.append)
    assert part.read_bytes() == CONTENT
    assert len(said) == 1  # the silence
    assert server.ranges[-1] is not None


def test_compressed_transfers_are_not_mixed_with_ranges(server: FileServer, part: Path) -> None:
    zipped = gzip.compress(CONTENT)
    server.replies.append(Reply(body=zipped, headers={"Content-Encoding": "gzip"}))
    download(Source(server.url), part)
    assert part.read_bytes() == CONTENT


def test_proxies_of_the_environment_are_used(server: FileServer, part: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", server.url.rpartition("/")[0])
    monkeypatch.setenv("http_proxy", server.url.rpartition("/")[0])
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    download(Source("http://weights.example/a.pyth"), part)
    assert part.read_bytes() == CONTENT
    assert server.requests[0]["path"] == "http://weights.example/a.pyth"


def test_a_full_disk_keeps_what_came(server: FileServer, part: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, hard))
    try:
        with pytest.raises(OutputError, match="no space is left"):
            download(Source(server.url), part)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert part.read_bytes() == CONTENT[:600_000]
    download(Source(server.url), part)
    assert part.read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=600000-"]


def test_too_little_space_is_seen_before_the_download(
    server: FileServer, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(part.parent)
    monkeypatch.setattr(downloading.shutil, "disk_usage", lambda _: usage._replace(free=2 * len(CONTENT) - 1))
    with pytest.raises(OutputError, match="2,000,006 are needed"):
        download(Source(server.url), part, room=Room(copies=2))
    assert not part.exists()


def test_a_killed_download_goes_on_in_the_next_run(server: FileServer, part: Path) -> None:
    server.replies.append(Reply(send_bytes=500_000, before_end=lambda: time.sleep(20)))
    program = (
        "import sys; from pathlib import Path; from tadacli.zoo.downloading import download\n"
        "from tadacli.zoo.sources import Source\n"
        "download(Source(sys.argv[1]), Path(sys.argv[2]))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program, server.url, str(part)])
    wait_for_size(part, 500_000)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert part.read_bytes() == CONTENT[:500_000]
    progress: list[tuple[int, int | None]] = []
    download(Source(server.url), part, on_progress=lambda done, total: progress.append((done, total)))
    assert part.read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=500000-"]
    assert (progress[0], progress[-1]) == ((500_000, len(CONTENT)), (len(CONTENT), len(CONTENT)))


def test_other_places_are_read_and_resumed_by_fsspec(tmp_path: Path, part: Path) -> None:
    published = tmp_path / "published.pyth"
    published.write_bytes(CONTENT)
    source = Source(f"file://{published}")
    download(source, part)
    assert part.read_bytes() == CONTENT
    part.write_bytes(CONTENT[:400_000])
    download(source, part)
    assert part.read_bytes() == CONTENT
    published.write_bytes(OTHER + b"more")
    part.write_bytes(CONTENT[:400_000])
    download(source, part)
    assert part.read_bytes() == OTHER + b"more"


def test_another_place_that_ends_early_is_an_error(tmp_path: Path, part: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "published.pyth").write_bytes(CONTENT)
    info = LocalFileSystem.info
    claimed = len(CONTENT) + 5
    monkeypatch.setattr(LocalFileSystem, "info", lambda *args, **more: {**info(*args, **more), "size": claimed})
    with pytest.raises(FetchError, match="ended after 1,000,003 of 1,000,008 bytes"):
        download(Source(f"file://{tmp_path}/published.pyth"), part, patience=Clock().patience)


@pytest.mark.parametrize("url", ["file:///not/there.pyth", "nonsense://host/file"])
def test_other_places_that_have_nothing(part: Path, url: str) -> None:
    with pytest.raises(FetchError, match="cannot be opened"):
        download(Source(url), part)


class TestGoogleDrive:
    @pytest.fixture(autouse=True)
    def _drive_is_here(self, server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
        base = server.url.rpartition("/")[0]
        monkeypatch.setattr(remote_files, "DRIVE_URL", base + "/uc?id={id}&export=download")
        self.confirmation = Reply(
            body=(
                "<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title></head><body>"
                f'<form id="download-form" action="{base}/download" method="get">'
                '<input type="hidden" name="id" value="abc"><input type="hidden" name="confirm" value="t">'
                "</form></body></html>"
            ).encode(),
            headers={"Content-Type": "text/html; charset=utf-8"},
        )
        self.quota = Reply(
            body=b'<html><body><p class="uc-error-caption">Sorry</p><p class="uc-error-subcaption">Too many users '
            b"have viewed or downloaded this file recently.</p></body></html>",
            headers={"Content-Type": "text/html; charset=utf-8"},
        )

    def test_a_small_file_comes_at_once(self, server: FileServer, part: Path) -> None:
        download(drive_source("abc"), part)
        assert part.read_bytes() == CONTENT
        assert server.requests[0]["path"] == "/uc?id=abc&export=download"

    def test_the_confirmation_page_is_answered_in_every_run(self, server: FileServer, part: Path) -> None:
        server.replies.extend([self.confirmation, cut(part, 500_000), self.confirmation])
        download(drive_source("abc"), part, patience=Clock().patience)
        assert part.read_bytes() == CONTENT
        assert [request["path"] for request in server.requests[1::2]] == ["/download?id=abc&confirm=t"] * 2
        assert server.ranges[3] == "bytes=500000-"

    @pytest.mark.parametrize("after_confirmation", [False, True])
    def test_a_quota_page_is_a_named_error(self, server: FileServer, part: Path, after_confirmation: bool) -> None:
        server.replies.extend([self.confirmation, self.quota] if after_confirmation else [self.quota])
        with pytest.raises(FetchError, match="Too many users have viewed") as caught:
            download(drive_source("abc"), part)
        assert "https://drive.google.com/file/d/abc/view" in caught.value.message
        assert not part.exists()

    def test_pages_without_an_end_are_an_error(self, server: FileServer, part: Path) -> None:
        server.replies.extend([self.confirmation] * 9)
        with pytest.raises(FetchError, match="pages in place of"):
            download(drive_source("abc"), part)

    def test_any_other_page_is_a_named_error(self, server: FileServer, part: Path) -> None:
        server.replies.append(Reply(body=b"<html>Sign in</html>", headers={"Content-Type": "text/html"}))
        with pytest.raises(FetchError, match="Google Drive does not give"):
            download(drive_source("abc"), part)
