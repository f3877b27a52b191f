"""The examples in the documentation of what makes models run as they stand there."""

from __future__ import annotations

import doctest
from collections.abc import Callable
from typing import Any

import pytest

from tadacli.models import add_tadaconv, build
from tadacli.zoo.loading import load_model


@pytest.mark.parametrize("function", [load_model, build, add_tadaconv], ids=lambda each: each.__name__)
def test_the_example_runs(function: Callable[..., Any]) -> None:
    example = doctest.DocTestParser().get_doctest(function.__doc__ or "", {}, function.__name__, None, 0)
    assert example.examples
    doctest.DebugRunner().run(example)  # raises what goes wrong
