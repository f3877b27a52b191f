"""URLs of videos and mirrors: shown and written without the name and password in them, but fetched with these."""

from __future__ import annotations

import os
import re

# A name and a password may hold any sign, also those that should have been escaped in a URL.
_USER_INFO = re.compile(r"(https?://)([^/?#]*@|[^/?#@:]*:(?!\d+(?:/|$))[^?#@]*@)(.*)", re.IGNORECASE | re.DOTALL)


class Address(str):
    """A URL without the user name and password that it was given with; `credentials` has them, and nothing shows it."""

    credentials: str


def address(place: str | os.PathLike[str]) -> str:
    """What a video or a mirror is called: its path, or its URL without a user name and password.

    A URL that had some becomes an `Address`, and can be fetched with them.
    """
    name = os.fspath(place)
    found = None if isinstance(name, Address) else _USER_INFO.fullmatch(name)
    if found is None:
        return name
    shown = Address(found[1] + found[3])
    shown.credentials = found[2].removesuffix("@")
    return shown


def credentials_of(place: str) -> str:
    """The user name and password of an `Address`, as they stood in the URL; empty for any other place."""
    return place.credentials if isinstance(place, Address) else ""
