"""What self-contained HTML pages have in common: data that cannot break out, and a policy that lets nothing in."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any


def filled_page(
    template: str,
    *,
    title: str,
    styles: Sequence[str],
    scripts: Sequence[str],
    data: Any = None,
    policy: str = "",
    parts: Mapping[str, str] | None = None,
) -> bytes:
    """A page with its title, styles, scripts, data and other parts put in.

    The content security policy admits this style, this script, pictures inside the page and what the rules of `policy`
    add, and nothing else.

    Args:
        template: The page, a file beside this module.
        title: Its title.
        styles: Files beside this module.
        scripts: Alike; they find the data as JSON in the element "data".
        data: JSON-ready values; not needed by a page whose parts hold its data.
        policy: More rules of the content security policy.
        parts: HTML by the name it has in the template.

    Returns:
        The page in UTF-8; the same arguments give the same bytes.

    Raises:
        ValueError: The data are no JSON, such as NaN.
    """
    style, script = ("".join(map(_resource, names)) for names in (styles, scripts))
    filled = {
        **(parts or {}),
        "title": html.escape(title),
        "style": style,
        "script": script,
        "policy": _policy(style, script) + (policy and f"; {policy}"),
        "data": embedded(data),
    }
    # In one pass: what was put in is not looked at again.
    page = re.sub(r"\{\{(\w+)\}\}", lambda match: filled[match[1]], _resource(template))
    return page.encode("utf-8", "replace")


def facts(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Values with their names, as text for people.

    Args:
        values: The values by name; those of a mapping among them get its name in front.

    Returns:
        (name, text), without those that say nothing.
    """
    found: list[tuple[str, str]] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            found += [(f"{key}: {inner}", text) for inner, text in facts(value)]
        elif value is not None and value != "":
            found.append((key, value if isinstance(value, str) else json.dumps(value, default=str)))
    return found


def embedded(data: Any) -> str:
    """JSON that may stand inside a script element: nothing in it can end that, or begin another.

    Args:
        data: JSON-ready values.

    Returns:
        The text.

    Raises:
        ValueError: The data are no JSON, such as NaN.
    """
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _policy(style: str, script: str) -> str:
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script)]
    return (
        f"default-src 'none'; style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _resource(name: str) -> str:
    return resources.files("tadacli.reports").joinpath(name).read_text(encoding="utf-8")
