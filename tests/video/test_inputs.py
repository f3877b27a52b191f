"""What the inputs of a command mean: files, folders, globs, lists, URLs, and odd names."""

from __future__ import annotations

import http.server
import io
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tadacli.errors import UsageError, VideoError
from tadacli.video.inputs import expand_inputs, local_path
from tests import media


@pytest.fixture(autouse=True)
def _tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (
        "a.mp4",
        "b.MKV",
        "notes.txt",
        "sub/a.mp4",
        "sub/deep/c.webm",
        "-dash.mp4",
        "[v1].mp4",
        "@at.mp4",
    ):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"x")
    Path("empty").mkdir()
    frames = Path("frames/P01_11")
    frames.mkdir(parents=True)
    for number in (1, 2):
        (frames / f"frame_{number:010d}.jpg").write_bytes(media.jpeg_bytes(number))


@pytest.mark.parametrize(
    ("inputs", "recursive", "expected", "reason"),
    [
        (["a.mp4"], False, ["a.mp4"], "a file"),
        (["notes.txt"], False, ["notes.txt"], "a file that is named is tried, whatever its ending"),
        (["gone.mp4"], False, ["gone.mp4"], "what is missing gets a result of its own"),
        (["sub"], False, ["sub/a.mp4"], "a folder, without what lies below"),
        (["sub"], True, ["sub/a.mp4", "sub/deep/c.webm"], "a folder with what lies below"),
        (["frames/P01_11"], False, ["frames/P01_11"], "a folder of frames is one video"),
        (["frames"], True, ["frames/P01_11"], "folders of frames are found below a folder"),
        (["*.mp4"], False, ["-dash.mp4", "@at.mp4", "[v1].mp4", "a.mp4"], "a glob, in order"),
        (["[v1].mp4"], False, ["[v1].mp4"], "a name that exists is no glob"),
        (["@at.mp4"], False, ["@at.mp4"], "a name that exists is no list"),
        (["-dash.mp4"], False, ["-dash.mp4"], "a name that begins with a dash"),
        (["a.mp4", "sub", "a.mp4"], False, ["a.mp4", "sub/a.mp4"], "each once, equal base names kept apart"),
        (["http://host/v.mp4?x=1"], False, ["http://host/v.mp4?x=1"], "a URL is taken as it is"),
    ],
)
def test_expansion(inputs, recursive: bool, expected, reason: str) -> None:
    assert expand_inputs(inputs, recursive=recursive) == expected, reason


def test_lists_from_a_file_and_from_stdin() -> None:
    text = "# comment\na.mp4\r\n\n-dash.mp4\nwith \u2028 odd end.mp4\nsub\n"
    Path("list.txt").write_text(text, encoding="utf-8", newline="")
    expected = ["a.mp4", "-dash.mp4", "with \u2028 odd end.mp4", "sub/a.mp4"]
    assert expand_inputs(["@list.txt"]) == expected
    assert expand_inputs(["-"], stdin=io.StringIO(text)) == expected


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    raw = os.path.join(os.fsencode(tmp_path), b"sub", b"caf\xe9.mp4")
    with open(raw, "wb") as file:
        file.write(b"x")
    assert os.fsencode(expand_inputs(["sub"])[1]) == b"sub/caf\xe9.mp4"
    Path("list.txt").write_bytes(b"sub/caf\xe9.mp4\n")
    assert os.fsencode(expand_inputs(["@list.txt"])[0]) == b"sub/caf\xe9.mp4"


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        ([], "no video was named"),
        (["-"], "no video was named"),
        (["empty"], "the folder empty holds no video"),
        (["*.avi"], "nothing matches"),
        (["@gone.txt"], r"the list gone\.txt cannot be read"),
    ],
)
def test_inputs_that_name_nothing(inputs, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        expand_inputs(inputs, stdin=io.StringIO(""))


class _Server(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/gone.mp4":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", "9" if self.path == "/cut.mp4" else "5")
        self.end_headers()
        self.wfile.write(b"video")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Server) as http_server:
        thread = threading.Thread(target=http_server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http_server.server_port}"
        http_server.shutdown()
        thread.join()


def test_a_url_is_downloaded_for_as_long_as_it_is_used(server: str) -> None:
    with local_path(f"{server}/clip.mp4?token=1") as path:
        assert Path(path).read_bytes() == b"video"
        assert path.endswith(".mp4")
    assert not Path(path).exists()


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("{server}/gone.mp4", "answered 404"),
        ("{server}/cut.mp4", "ended after 5 of 9 bytes"),
        ("http://127.0.0.1:1/v.mp4", "cannot be reached"),
        ("http://[broken/v.mp4", "URL"),
    ],
)
def test_a_download_that_fails_says_why(server: str, url: str, reason: str) -> None:
    with pytest.raises(VideoError, match=reason), local_path(url.format(server=server)):
        pass
