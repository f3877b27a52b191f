"""Videos by URL: who asks is never shown, what comes is bounded, and what it names is not opened."""

from __future__ import annotations

import base64
import socket
from pathlib import Path

import pytest

from tadacli.classification import classify, iter_classifications
from tadacli.detection.detecting import detect
from tadacli.errors import FetchError, UsageError, VideoError
from tadacli.video.inputs import expand_inputs, local_path
from tadacli.zoo.addresses import address, credentials_of
from tadacli.zoo.downloading import Limit, Patience, download
from tadacli.zoo.loading import Model, load_model
from tadacli.zoo.sources import Source
from tests import media, trees
from tests.cli.conftest import Tada, tada, untrained  # noqa: F401 - fixtures
from tests.file_server import Reply, serving

SECRET = "s3cr:t/p@ss"
USER_INFO = "anna:s3cr%3At%2Fp%40ss"


def at_once(seconds: float) -> None:
    pytest.fail(f"waits {seconds} s, and was not to try again")


IMPATIENT = Patience(sleep=at_once)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    trees.write_model(path, {"": ("a", "b")})
    return load_model(path, device="cpu")


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("video") / "v.mp4"
    media.render(path, 30)
    return path.read_bytes()


def with_user(url: str) -> str:
    return url.replace("://", f"://{USER_INFO}@")


# --- who asks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "shown", "credentials"),
    [
        ("http://anna:pw@host/v.mp4", "http://host/v.mp4", "anna:pw"),
        ("HTTPS://anna@host:8080/v.mp4?a=b@c", "HTTPS://host:8080/v.mp4?a=b@c", "anna"),
        ("http://anna:p/w@host/v.mp4", "http://host/v.mp4", "anna:p/w"),
        ("http://anna:p@w@host/v.mp4", "http://host/v.mp4", "anna:p@w"),
        ("http://host/a@b.mp4", "http://host/a@b.mp4", ""),
        ("http://host:80/a@b.mp4", "http://host:80/a@b.mp4", ""),
        ("/videos/http:a@b.mp4", "/videos/http:a@b.mp4", ""),
    ],
)
def test_a_user_and_a_password_are_no_part_of_what_is_shown(given: str, shown: str, credentials: str) -> None:
    assert address(given) == shown
    assert credentials_of(address(address(given))) == credentials
    assert expand_inputs([given]) == [shown]


def test_credentials_work(model: Model, video: bytes) -> None:
    with serving(video) as files:
        (result,) = classify([with_user(f"{files.url}/v.mp4")], model=model)
        (found,) = detect([with_user(f"{files.url}/v.mp4")], model=model)
    assert (result.status, found.status) == ("ok", "ok")
    assert result.path == found.path == f"{files.url}/v.mp4"
    expected = "Basic " + base64.b64encode(f"anna:{SECRET}".encode()).decode()
    assert [request["Authorization"] for request in files.requests] == [expected] * 2


def test_another_host_is_not_told_who_asks(model: Model, video: bytes) -> None:
    with serving(video) as other, serving(video) as files:
        files.replies.append(Reply(status=302, body=b"", headers={"Location": f"{other.url}/v.mp4"}))
        (result,) = classify([with_user(f"{files.url}/v.mp4")], model=model)
    assert result.status == "ok"
    assert "Authorization" in files.requests[0]
    assert "Authorization" not in other.requests[0]


@pytest.mark.parametrize("debug", ["", "1"])
@pytest.mark.parametrize("command", ["classify", "detect"])
def test_credentials_reach_no_row_and_no_message(
    command: str,
    debug: str,
    tada: Tada,  # noqa: F811
    untrained: Path,  # noqa: F811
    video: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TADA_DEBUG", debug)
    output = tmp_path / "rows.jsonl"
    with serving(video) as files:
        files.replies += [Reply(), Reply(status=401, body=b"no"), Reply(body=b"no video")]
        urls = [with_user(f"{files.url}/{name}.mp4") for name in ("good", "refused", "text")]
        urls.append(f"http://{USER_INFO}@host.invalid/unknown.mp4")
        code, out, err = tada(command, *urls, "--model", untrained, "--device", "cpu", "-o", output)
        again, _, _ = tada(command, *urls, "--model", untrained, "--device", "cpu", "-o", output, "--resume")
    assert (code, again) == (3, 3)
    assert len(files.requests) == 3  # nothing is asked for again that has its row
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert len(output.read_text().splitlines()) == 4
    for text in (out.decode(), err, written.decode()):
        assert not any(secret in text for secret in ("anna", "s3cr", base64.b64encode(b"anna")[:5].decode()))


# --- how much comes ---------------------------------------------------------------------------------


def test_a_file_that_is_too_large_is_not_fetched(model: Model, video: bytes) -> None:
    with serving(video) as files:
        results = list(iter_classifications([f"{files.url}/v.mp4"], model=model, max_download=len(video) - 1))
        assert f"has more than the {len(video) - 1:,} bytes that are fetched at most" in results[0].error
        (whole,) = iter_classifications([f"{files.url}/v.mp4"], model=model, max_download=len(video))
    assert whole.status == "ok"


def test_what_is_fetched_again_for_pictures_is_bounded_too(
    tada: Tada,  # noqa: F811
    untrained: str,  # noqa: F811
    video: bytes,
    tmp_path: Path,
) -> None:
    asked = ("--model", untrained, "--device", "cpu", "--max-download", len(video))
    drawn = tmp_path / "drawn.mp4"
    with serving(video) as files:
        files.replies += [Reply(), Reply(body=video + b"more"), Reply(body=video + b"more")]
        url = f"{files.url}/v.mp4"
        code, _, err = tada("detect", url, *asked, "--report", tmp_path / "page.html", "--render", drawn)
    assert (code, len(files.requests)) == (0, 3)
    assert err.count(f"has more than the {len(video):,} bytes that are fetched at most") == 2
    assert not drawn.exists()


def test_a_server_that_does_not_say_how_much_comes_is_stopped(tmp_path: Path) -> None:
    content = bytes(1 << 20)
    with serving(content) as files:
        files.replies.append(Reply(headers={"Content-Length": None, "Connection": "close"}))
        with pytest.raises(FetchError, match="has more than the 1,000 bytes"):
            download(Source(f"{files.url}/v"), tmp_path / "part", limit=Limit(1000), patience=IMPATIENT)
    assert (tmp_path / "part").stat().st_size <= 1000


def test_a_server_that_takes_too_long_is_left(tmp_path: Path) -> None:
    """The clock of the test: each look at it is ten seconds later."""
    seconds = iter(range(0, 10_000, 10))
    limit = Limit(seconds=45, clock=lambda: float(next(seconds)))
    with serving(bytes(5 << 20)) as files:
        files.replies += [Reply(send_bytes=1000)] * 20
        with pytest.raises(FetchError, match="takes longer than the 45 s"):
            download(Source(f"{files.url}/v"), tmp_path / "part", limit=limit, patience=Patience(sleep=lambda _: None))


@pytest.mark.parametrize("size", ["0", "-1", "4XB", "", "1e9", "many", "99999999999999GB"])
def test_a_size_that_is_none_is_a_usage_error(tada: Tada, size: str) -> None:  # noqa: F811
    code, _, err = tada("classify", "v.mp4", "--max-download", size)
    assert code == UsageError.exit_code
    assert "--max-download" in err


# --- what comes -------------------------------------------------------------------------------------


def test_a_name_without_an_address_fails_at_the_first_try(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with (
        pytest.raises(VideoError, match=r"there is no address for the host video\.example"),
        local_path("http://video.example/v.mp4", patience=IMPATIENT),
    ):
        pass


@pytest.mark.parametrize("name", ["a" * 70 + ".example", "[", "host:port", "host:99999", "\u2603" * 80])
def test_a_host_that_cannot_be_is_an_error(name: str) -> None:
    with pytest.raises(VideoError), local_path(f"http://{name}/v.mp4", patience=IMPATIENT):
        pass


@pytest.mark.parametrize("num_headers", [101, 2000])
def test_many_headers_are_no_end_of_a_batch(model: Model, video: bytes, num_headers: int) -> None:
    with serving(video) as files:
        files.replies.append(Reply(headers={f"X-{number}": "x" * 100 for number in range(num_headers)}))
        many, after = classify([f"{files.url}/many.mp4", f"{files.url}/after.mp4"], model=model)
    assert many.status in ("ok", "error")
    assert after.status == "ok"


@pytest.mark.parametrize("suffix", ["m3u8", "mp4", "ffconcat"])
def test_a_playlist_opens_neither_files_nor_hosts(model: Model, video: bytes, tmp_path: Path, suffix: str) -> None:
    (tmp_path / "local.ts").write_bytes(video)
    with serving(video) as other, serving(b"") as files:
        for named in (f"{other.url}/v.mp4", f"file:{tmp_path}/local.ts", str(tmp_path / "local.ts"), "part.mp4"):
            lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:9", "#EXTINF:9,", named, "#EXT-X-ENDLIST", ""]
            text = f"ffconcat version 1.0\nfile '{named}'\n" if suffix == "ffconcat" else "\n".join(lines)
            files.content = text.encode()
            (result,) = classify([f"{files.url}/list.{suffix}"], model=model)
            assert result.status == "error"
            assert "a playlist, and what it names is not opened" in result.error
            assert result.error.startswith(f"{files.url}/list.{suffix} ")
    assert other.requests == []
