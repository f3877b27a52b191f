"""Object stores that fsspec opens: which names are of one, what lies there, and which version of it.

Credentials come from the environment, as the libraries of each store read them; none is in a name.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tadacli.errors import OutputError, TadaError, UsageError, VideoError
from tadacli.strict_tables import in_one_line

SCHEMES = ("s3", "gs", "gcs", "hf", "az", "abfs")
_URL = re.compile(rf"({'|'.join(SCHEMES)})://", re.IGNORECASE)
# What is left of a URL in a `Path`.
_PATH = re.compile(rf"({'|'.join(SCHEMES)}):/+", re.IGNORECASE)
_MAGIC = re.compile(r"[*?[]")
_PACKAGES = {
    "s3": "tadacli[s3]",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "hf": "huggingface_hub",
    "az": "adlfs",
    "abfs": "adlfs",
}

_CREDENTIALS = "credentials and endpoints come from the environment, such as AWS_PROFILE and AWS_ENDPOINT_URL"


def is_in_store(name: str) -> bool:
    """Whether a name is of something in an object store."""
    return _URL.match(name) is not None


def place_of(path: os.PathLike[str] | str) -> str:
    """The name of a file or folder, also where it is the URL of one in a store that became a `Path`."""
    name = os.fspath(path)
    found = None if is_in_store(name) else _PATH.match(name)
    return name if found is None else f"{found[1]}://{name[found.end() :]}"


def opened_store(url: str, *, cached: bool = False) -> tuple[Any, str]:
    """The file system that a URL is of, and the name within it.

    Args:
        url: Of something in a store.
        cached: Whether listings are kept, so that a file that was listed is not asked for again.

    Raises:
        UsageError: The package that opens it is not installed.
    """
    from fsspec.core import url_to_fs

    scheme = url.partition("://")[0].lower()
    try:
        found: tuple[Any, str] = url_to_fs(url, use_listings_cache=cached)
    except (ImportError, ValueError) as error:
        hint = f"python -m pip install '{_PACKAGES.get(scheme, 'adlfs')}'"
        raise UsageError(f"{url} needs a package that is not installed", hint=hint) from error
    return found


def listed_in_store(url: str, *, recursive: bool) -> Iterator[str]:
    """The files that a URL names: those below a folder, those that a pattern matches, or the URL itself.

    Args:
        url: A folder ends with a slash.
        recursive: Whether what is below its folders is meant, too.

    Raises:
        UsageError: There is nothing, or it may not be listed.
    """
    is_pattern = _MAGIC.search(url) is not None
    if not is_pattern and not url.endswith("/"):
        yield url
        return
    system, path = opened_store(url, cached=True)
    scheme = url.partition("://")[0]
    with store_errors(url, UsageError):
        if is_pattern:
            names = sorted(system.glob(path))
        else:
            names = sorted(system.find(path, maxdepth=None if recursive else 1))
    if not names:
        raise UsageError(f"there is nothing at {url}", hint="check the bucket and the folder, and what you may list")
    yield from (f"{scheme}://{name}" for name in names)


def version_in_store(url: str, *, cached: bool = False) -> int | str | None:
    """What changes when a file of a store does: its etag, or else its size; None where it is not there.

    Args:
        url: The file.
        cached: Whether an answer that was listed will do.
    """
    try:
        system, path = opened_store(url, cached=cached)
        with store_errors(url, VideoError):
            info = system.info(path)
    except (UsageError, VideoError):  # reading it says why
        return None
    for key in ("ETag", "etag", "md5Hash", "content_md5"):
        if info.get(key):
            return str(info[key]).strip('"')
    size = info.get("size")
    return None if size is None else int(size)


@contextmanager
def whole_files(place: str, *, replace: bool) -> Iterator[Path]:
    """A file that is to be written, with those beside it.

    Args:
        place: Its name, or the URL of a file in a store.
        replace: Whether there may be one of that name in the store.

    Returns:
        The file itself, or one of the same name in a temporary folder. When the context is left without an error, all
        files of that folder go to where the URL is.

    Raises:
        OutputError: In the store there is one and may not be, or it cannot be put there.
    """
    if not is_in_store(place):
        yield Path(place)
        return
    parent, _, name = place.rpartition("/")
    system, folder = opened_store(parent)
    with store_errors(place, OutputError):
        if not replace and system.exists(f"{folder}/{name}"):
            raise OutputError(f"{place} exists and is not overwritten", hint="give another name, or remove it")
    with tempfile.TemporaryDirectory(prefix="tada-") as here:
        yield Path(here, name)
        for file in sorted(Path(here).iterdir()):
            with store_errors(f"{parent}/{file.name}", OutputError):
                system.put_file(str(file), f"{folder}/{file.name}")


@contextmanager
def store_errors(url: str, kind: type[TadaError]) -> Iterator[None]:
    """Whatever a store answers inside that is no success is an error of this kind, which names the place.

    Errors of ours go through, and so does a `FileExistsError`.
    """
    try:
        yield
    except (TadaError, FileExistsError):
        raise
    except FileNotFoundError as error:
        raise kind(f"{url} is not there", hint="check the names of the bucket and the folder") from error
    except PermissionError as error:
        raise kind(f"{url} may not be read or written with these credentials", hint=_CREDENTIALS) from error
    except Exception as error:  # each store has errors of its own
        what = in_one_line(f"{type(error).__name__}: {error}".removesuffix(": "), most=200)
        raise kind(f"{url} cannot be reached: {what}", hint=_CREDENTIALS) from error
