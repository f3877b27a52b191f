"""Files elsewhere, opened at a byte: over http(s), on Google Drive, or in any other place that fsspec knows.

fsspec does the transfers. Google Drive's pages are read by gdown; its own download is not used, since on resuming
it asks whether the file changed since this run began, not since the kept part was written.
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from tadacli.errors import FetchError, NoConnectionError, NotThereError
from tadacli.version import __version__

DRIVE_URL = "https://drive.google.com/uc?id={id}&export=download"
_CHUNK_BYTES = 1 << 20
_PAGE_BYTES = 4 << 20
_MAX_DRIVE_PAGES = 2
# Within it the system has tried three times to connect.
_CONNECT_SECONDS = 8.0
_RETRIED = {408, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True)
class Source:
    """A place that has a file: the address for people and records, and its id if that is Google Drive.

    Of a mirror's file, `mirror` is the mirror, and `file` its name there. `credentials` are the user name and password
    for its server, "NAME:PASSWORD" escaped as in a URL; nothing shows them, and no other server gets them.
    """

    url: str
    google_drive: str = ""
    mirror: str = ""
    file: str = ""
    credentials: str = field(default="", repr=False)

    @property
    def authorization(self) -> dict[str, str]:
        """The header that says who asks; none without credentials."""
        if not self.credentials:
            return {}
        pair = ":".join(unquote(part) for part in (self.credentials + ":").split(":", 2)[:2])
        return {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}


def drive_source(file_id: str) -> Source:
    """A file on Google Drive; its address is the page that a browser shows."""
    return Source(f"https://drive.google.com/file/d/{file_id}/view", google_drive=file_id)


class TransferError(Exception):
    """A failure that may pass.

    `reason` says what happened, `wait_seconds` how long to wait if the server said so. With `is_stale` the bytes that
    are here are of no use; with `is_unreachable` there was no connection to the server.
    """

    def __init__(
        self,
        reason: str,
        *,
        wait_seconds: float | None = None,
        is_stale: bool = False,
        is_unreachable: bool = False,
    ) -> None:
        super().__init__(reason)
        self.reason, self.wait_seconds = reason, wait_seconds
        self.is_stale, self.is_unreachable = is_stale, is_unreachable


class RemoteStream:
    """The bytes of a file from `start` on.

    `total_bytes` is the size of the whole file if known. `validator` changes when the file does; it is empty if
    there is no telling.
    """

    def __init__(self, file: Any, *, start: int, total_bytes: int | None, validator: str, is_page: bool) -> None:
        self._file, self.start, self.total_bytes, self.validator = file, start, total_bytes, validator
        self._first = b"" if is_page else self._read_file()
        head = self._first[:200].lstrip().lower()
        self.is_page = is_page or (start == 0 and head.startswith((b"<!doctype html", b"<html")))

    def read(self) -> bytes:
        """The next bytes, as many as there are at hand; none at the end. Raises `TransferError`."""
        first, self._first = self._first, b""
        return first or self._read_file()

    def page(self) -> str:
        """What is left, as the text of a web page."""
        content = b""
        while len(content) < _PAGE_BYTES and (chunk := self.read()):
            content += chunk
        return content.decode("utf-8", errors="replace")

    def close(self) -> None:
        """Let the connection go."""
        self._file.close()

    def _read_file(self) -> bytes:
        from aiohttp import ClientError, ClientPayloadError

        try:
            return bytes(self._file.read(_CHUNK_BYTES))
        except ClientPayloadError as error:
            raise TransferError("the connection ended in the middle of the file") from error
        except (ClientError, OSError) as error:
            raise TransferError(_reason(error)) from error


def open_source(
    source: Source, *, start: int, validator: str, timeout_seconds: float, seconds_left: float | None = None
) -> RemoteStream:
    """The file at a source, from byte `start` on if it still has this validator, else from its beginning.

    The server may be silent for `timeout_seconds`; over http(s) all of it may take `seconds_left`, if that is given.
    Raises `FetchError` for what will not pass (not allowed, a page of Google Drive that says no), its children
    `NoConnectionError` for a host without an address and `NotThereError` for a file that there is not, and
    `TransferError` for what may pass.
    """
    if source.google_drive:
        return _open_drive(source, start, validator, timeout_seconds)
    if source.url.lower().startswith(("http://", "https://")):
        return _open_http(source.url, start, validator, timeout_seconds, seconds_left, source.authorization)
    return _open_other(source.url, start, validator)


def version_of_source(source: Source, timeout_seconds: float) -> str | None:
    """What changes when the file does, as the server says it; None where it says nothing, or cannot be asked."""
    try:
        stream = open_source(source, start=0, validator="", timeout_seconds=timeout_seconds)
    except (FetchError, TransferError):
        return None
    stream.close()
    return stream.validator or None


def _open_drive(source: Source, start: int, validator: str, timeout_seconds: float) -> RemoteStream:
    from gdown.download import get_url_from_gdrive_confirmation
    from gdown.exceptions import FileURLRetrievalError

    url = DRIVE_URL.format(id=source.google_drive)
    for _ in range(_MAX_DRIVE_PAGES):
        stream = _open_http(url, start, validator, timeout_seconds)
        if not stream.is_page:
            return stream
        try:
            url = get_url_from_gdrive_confirmation(stream.page())
        except FileURLRetrievalError as error:
            reason = re.sub(r"<[^>]*>|\s+", " ", str(error)).strip()
            raise FetchError(f"Google Drive does not give {source.url}: {reason}") from error
        finally:
            stream.close()
    raise FetchError(f"Google Drive sends pages in place of {source.url}")


def _open_http(
    url: str,
    start: int,
    validator: str,
    timeout_seconds: float,
    seconds_left: float | None = None,
    authorization: Mapping[str, str] | None = None,
) -> RemoteStream:
    import aiohttp
    import fsspec

    # The proxies of the environment; a limit on silence, and on the whole, which may take hours, where there is one.
    connect = min(_CONNECT_SECONDS, timeout_seconds)
    timeout = aiohttp.ClientTimeout(total=seconds_left, sock_connect=connect, sock_read=timeout_seconds)
    system = fsspec.filesystem("http", client_kwargs={"trust_env": True, "timeout": timeout})
    headers = {"Accept-Encoding": "identity", "User-Agent": f"tadacli/{__version__}", **(authorization or {})}
    if start:
        headers |= {"Range": f"bytes={start}-", "If-Range": validator}
    try:
        # No blocks and any size at all: one request with these headers, whose answer is streamed.
        file = system.open(url, "rb", block_size=0, size=1, headers=headers)
    except FileNotFoundError as error:
        raise NotThereError(f"{url} is not there (404)") from error
    except aiohttp.ClientResponseError as error:
        if error.status == 416 and start:
            raise TransferError("the server does not have the rest of the file", is_stale=True) from error
        if error.status in _RETRIED:
            wait = _retry_after(error.headers or {})
            raise TransferError(f"the server answers {error.status} {error.message}", wait_seconds=wait) from error
        raise FetchError(f"{url} cannot be downloaded: the server answers {error.status} {error.message}") from error
    except aiohttp.ClientConnectorDNSError as error:
        raise NoConnectionError(f"{url} cannot be downloaded: there is no address for the host {error.host}") from error
    except (aiohttp.ClientSSLError, ValueError) as error:  # InvalidURL is a ValueError, as is what a host cannot be
        raise FetchError(f"{url} cannot be downloaded: {_reason(error)}") from error
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
        raise TransferError(_reason(error), is_unreachable=True) from error
    except (aiohttp.ClientError, OSError) as error:
        raise TransferError(_reason(error)) from error
    try:
        return _http_stream(file)
    except BaseException:
        file.close()
        raise


def _http_stream(file: Any) -> RemoteStream:
    headers: Mapping[str, str] = file.r.headers
    is_page = headers.get("Content-Type", "").startswith("text/html") and "Content-Disposition" not in headers
    if headers.get("Content-Encoding", "identity") != "identity":
        # Its length and ranges count encoded bytes, which are not those we get.
        return RemoteStream(file, start=0, total_bytes=None, validator="", is_page=is_page)
    start, total = 0, headers.get("Content-Length", "")
    if file.r.status == 206:
        content_range = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", ""))
        if content_range is None:
            raise TransferError("the server sends a part without saying which", is_stale=True)
        start, total = int(content_range[1]), content_range[2]
    tag = headers.get("ETag", "")
    validator = headers.get("Last-Modified", "") if not tag or tag.startswith("W/") else tag
    total_bytes = int(total) if total.isdecimal() else None
    return RemoteStream(file, start=start, total_bytes=total_bytes, validator=validator, is_page=is_page)


def _open_other(url: str, start: int, validator: str) -> RemoteStream:
    from fsspec.core import url_to_fs

    try:
        system, path = url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise FetchError(f"{url} cannot be opened: {error}") from error
    try:
        info = system.info(path)
        found = str(system.ukey(path))
        file = system.open(path, "rb")
        try:
            start = start if found == validator else 0
            if start:
                file.seek(start)
            return RemoteStream(file, start=start, total_bytes=info.get("size"), validator=found, is_page=False)
        except BaseException:
            file.close()
            raise
    except FileNotFoundError as error:
        raise NotThereError(f"{url} cannot be opened: {_reason(error)}") from error
    except (PermissionError, IsADirectoryError) as error:
        raise FetchError(f"{url} cannot be opened: {_reason(error)}") from error
    except OSError as error:
        raise TransferError(_reason(error)) from error


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds until the server wants to be asked again: it names a number of them or a date."""
    from email.utils import parsedate_to_datetime

    value = headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError):
        return None


def _reason(error: Exception) -> str:
    text = str(getattr(error, "strerror", None) or error).strip()
    return text.splitlines()[0] if text else f"no answer ({type(error).__name__})"
