"""What the package declares of its dependencies."""

from __future__ import annotations

import importlib.metadata

import pytest

from tests.lowest import declared, lowest_versions

# Of these more than the documented interface is used, and a new major version may change that.
USED_INSIDE = ("av", "fsspec", "aiohttp", "gdown")


def test_each_dependency_says_its_lowest_version() -> None:
    lowest = lowest_versions(declared())
    assert len(lowest) == len(declared())
    for name, version in lowest.items():
        here = [int(part) for part in importlib.metadata.version(name).split(".")[:2]]
        assert here >= [int(part) for part in version.split(".")[:2]], name


def test_one_without_a_lowest_version_is_refused() -> None:
    assert lowest_versions(["a[b]>=1.2,<2", "c-d >= 3"]) == {"a": "1.2", "c-d": "3"}
    with pytest.raises(ValueError, match="rich does not say"):
        lowest_versions(["rich"])


@pytest.mark.parametrize("name", USED_INSIDE)
def test_what_is_used_inside_has_an_upper_bound(name: str) -> None:
    (dependency,) = (each for each in declared() if each.startswith((f"{name}>", f"{name}[")))
    assert "<" in dependency
