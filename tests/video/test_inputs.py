"""What the inputs of a command mean: files, folders, globs, lists, URLs, and odd names."""

from __future__ import annotations

import importlib
import io
import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

from tadacli.errors import UsageError, VideoError
from tadacli.video.inputs import PassedOver, expand_inputs, iter_inputs, local_path
from tadacli.video.lists import ListedPart
from tadacli.zoo.downloading import Patience
from tests import media
from tests.file_server import FileServer, Reply, serving

FRAMES = (
    *("frame_0000000001.jpg", "frame_00001.jpg", "img_00001.jpg", "image_00001.jpg", "img_00000.PNG", "000001.jpg"),
    *("1.jpg", "0.png", "image-1.jpeg", "frame0001.png"),
)


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
    for name in ("._clip.mp4", ".DS_Store", ".trash/old.mp4", "clip.PS"):
        Path("hidden", name).parent.mkdir(parents=True, exist_ok=True)
        Path("hidden", name).write_bytes(b"x")
    for number, name in enumerate(FRAMES):
        Path(f"series/v{number}").mkdir(parents=True)
        Path(f"series/v{number}", name).write_bytes(b"x")
    for name in ("a.mov", "1.jpg", "camera/IMG_0012.JPG", "camera/img_0013.jpg"):
        Path("photos", name).parent.mkdir(parents=True, exist_ok=True)
        Path("photos", name).write_bytes(b"x")
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
        (["empty"], False, ["empty"], "a folder without a video gets a result of its own saying so"),
        (["empty", "a.mp4"], False, ["empty", "a.mp4"], "and stops nothing"),
        (["hidden"], True, ["hidden/clip.PS"], "hidden files and folders are passed over"),
        (["hidden/._clip.mp4"], False, ["hidden/._clip.mp4"], "but not one that is named"),
        (["series"], False, [f"series/v{number}" for number in range(len(FRAMES))], "frames by all their names"),
        (["photos"], True, ["photos/a.mov"], "pictures of a camera and of a video are no frames"),
        (["http://host/v.mp4?x=1"], False, ["http://host/v.mp4?x=1"], "a URL is taken as it is"),
    ],
)
def test_expansion(inputs, recursive: bool, expected, reason: str) -> None:
    assert expand_inputs(inputs, recursive=recursive) == expected, reason


def test_a_list_that_names_itself_is_refused_and_one_named_twice_is_not() -> None:
    Path("inner.txt").write_text("sub/a.mp4\n@outer.txt\n")
    Path("outer.txt").write_text("@inner.txt\n")
    with pytest.raises(UsageError, match=r"the list outer\.txt names itself"):
        expand_inputs(["@outer.txt"])
    Path("inner.txt").write_text("sub/a.mp4\n")
    assert expand_inputs(["@outer.txt", "@inner.txt"]) == ["sub/a.mp4"]


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


def passed_over(*inputs: str, recursive: bool = False) -> str:
    counts = PassedOver()
    expand_inputs(inputs, recursive=recursive, passed_over=counts)
    return str(counts)


def test_what_a_walk_passes_over_is_counted() -> None:
    assert passed_over("a.mp4", "notes.txt", "http://host/v.txt", "frames/P01_11") == ""
    assert passed_over("hidden", recursive=True) == "passed over in folders: 3 hidden"
    assert passed_over("sub") == "passed over in folders: 1 folder below (see --recursive)"
    Path("sub/x.\x1b[2J").write_bytes(b"x")
    Path("sub/y." + "z" * 50).write_bytes(b"x")
    Path("sub/z.TXT").write_bytes(b"x")
    assert passed_over("sub", recursive=True) == "passed over in folders: 2 other, 1 .txt"
    for suffix in "abcdefgh":
        Path(f"sub/v.{suffix}").write_bytes(b"x")
    assert passed_over("sub", recursive=True).endswith(" 1 .d, 5 of 5 more kinds")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list every folder")
def test_a_folder_that_cannot_be_listed_gets_a_result_of_its_own() -> None:
    Path("sub/deep").chmod(0)
    assert expand_inputs(["sub", "a.mp4"], recursive=True) == ["sub/a.mp4", "sub/deep", "a.mp4"]
    Path("sub/deep").chmod(0o755)


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        ([], "no video was named"),
        (["-"], "no video was named"),
        (["*.avi"], "nothing matches"),
        (["@gone.txt"], r"the list gone\.txt cannot be read"),
    ],
)
def test_inputs_that_name_nothing(inputs, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        expand_inputs(inputs, stdin=io.StringIO(""))


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving(b"video") as files:
        yield files


QUICK = Patience(attempts=2, sleep=lambda _: None)


def test_a_url_is_downloaded_for_as_long_as_it_is_used(server: FileServer) -> None:
    with local_path(f"{server.url}/clip.mp4?token=1") as path:
        assert Path(path).read_bytes() == b"video"
        assert path.endswith(".mp4")
    assert not Path(path).exists()


@pytest.mark.parametrize("reply", [Reply(status=503, body=b""), Reply(send_bytes=2)], ids=["busy", "cut"])
def test_a_download_that_fails_for_a_moment_is_tried_again(server: FileServer, reply: Reply) -> None:
    server.replies.append(reply)
    with local_path(f"{server.url}/clip.mp4", patience=QUICK) as path:
        assert Path(path).read_bytes() == b"video"


@pytest.mark.parametrize(
    ("url", "reply", "reason"),
    [
        ("{server}/v.mp4", Reply(status=404, body=b""), "is not there .404."),
        ("{server}/v.mp4", Reply(status=403, body=b""), "the server answers 403"),
        ("{server}/v.mp4", Reply(status=200, body=b"video", length=9), "ended in the middle of the file"),
        ("{server}/v.mp4", Reply(body=b"<html>Log in</html>"), "gives a web page, not the file"),
        ("http://127.0.0.1:1/v.mp4", Reply(), "could not be downloaded: .*127.0.0.1"),
        ("http://[broken/v.mp4", Reply(), "URL"),
    ],
)
def test_a_download_that_fails_says_why(server: FileServer, url: str, reply: Reply, reason: str) -> None:
    # One more than the attempts: bytes that come before the end are sometimes only seen at the second one, which then
    # counts as the first.
    server.replies.extend([reply] * 3)
    video = url.format(server=server.url)
    with pytest.raises(VideoError, match=reason), local_path(video, patience=QUICK):
        pass


def parquet_list(path: Path, columns: dict[str, list[object]]) -> str:
    """A list in Parquet, as an input."""
    pyarrow = pytest.importorskip("pyarrow")
    importlib.import_module("pyarrow.parquet").write_table(pyarrow.table(columns), path)
    return f"@{path}"


def test_a_list_in_parquet_is_read_as_it_is_needed(tmp_path: Path) -> None:
    rows: list[object] = [f"{number}.mp4" for number in range(20_000)]
    listed = parquet_list(tmp_path / "list.parquet", {"caption": ["x"] * len(rows), "path": rows})
    assert expand_inputs([listed]) == rows
    coming = iter_inputs([listed, "*/nothing.mp4"])
    assert [next(coming) for _ in rows] == rows
    with pytest.raises(UsageError, match="nothing matches"):
        next(coming)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"file": ["a.mp4"]}, "has no column path"),
        ({"path": ["a.mp4"], "start": [1.0]}, "has a column start, and spans are not read here"),
    ],
)
def test_a_list_that_says_something_else_is_refused(
    tmp_path: Path, columns: dict[str, list[object]], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        expand_inputs([parquet_list(tmp_path / "list.parquet", columns)])


def test_a_list_names_parts_of_videos(tmp_path: Path) -> None:
    columns: dict[str, list[object]] = {
        "path": ["a.mp4", "a.mp4", "a.mp4", "sub", "b.mp4", "c.mp4", "a.mp4"],
        "start": [1, 1, 2, None, 3, -1, None],
        "end": [2.5, 2.5, None, None, 3, 1, None],
        "id": ["x", "x", "x", None, "", "y", None],
    }
    listed = parquet_list(tmp_path / "list.parquet", columns)
    first, again, *others = found = list(iter_inputs([listed], parts=True))
    assert isinstance(first, ListedPart)
    assert (first.part, first.refusal) == ((1.0, 2.5, "x"), "")
    assert first == again == pickle.loads(pickle.dumps(first)) != "a.mp4"
    assert first != ListedPart.of("a.mp4", 1.0, 2.5, "z")
    assert str(first) == "a.mp4"
    assert os.path.getsize(first) == 1
    assert [getattr(video, "refusal", None) and str(video) for video in others] == [
        "a.mp4",
        None,
        "b.mp4",
        "c.mp4",
        None,
    ]
    assert "another row with the id 'x'" in others[0].refusal  # type: ignore[attr-defined]
    assert others[1] == "sub/a.mp4", "a row that says nothing else is expanded"
    assert "from 3 s to 3 s" in others[2].refusal  # type: ignore[attr-defined]
    assert "before 0 s" in others[3].refusal  # type: ignore[attr-defined]
    assert expand_inputs([listed], parts=True) == list(dict.fromkeys(found))
    assert len(set(found)) == len(found) - 1


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"path": ["a.mp4"], "start": ["1"]}, "the column start .* holds string"),
        ({"path": ["a.mp4", "b.mp4"], "end": [1.0, float("nan")]}, "row 2 of the list .* is no number of seconds"),
        ({"path": ["a.mp4"], "id": ["x" * 300]}, "has an id of 300 signs"),
    ],
)
def test_a_list_without_numbers_is_refused(tmp_path: Path, columns: dict[str, list[object]], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        expand_inputs([parquet_list(tmp_path / "list.parquet", columns)], parts=True)


def test_a_list_that_is_no_parquet_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    (tmp_path / "list.parquet").write_text("a.mp4\n")
    with pytest.raises(UsageError, match="cannot be read as Parquet"):
        expand_inputs([f"@{tmp_path / 'list.parquet'}"])
