"""The examples in docstrings run as they stand, and every public function has one and says what it takes and gives."""

from __future__ import annotations

import doctest
import importlib
import inspect
import os
import pkgutil
from pathlib import Path

import pytest
import torch

import tadacli

PUBLIC = [
    "tadacli.load_model",
    "tadacli.classify",
    "tadacli.detect",
    "tadacli.iter_classify",
    "tadacli.iter_detect",
    "tadacli.features",
    "tadacli.evaluate",
    "tadacli.finetune",
    "tadacli.models.build",
    "tadacli.models.add_tadaconv",
    "tadacli.sampling.clip_indices",
    "tadacli.transforms.preprocess",
    "tadacli.video.probe",
    "tadacli.video.read_frames",
    "tadacli.video.iter_frames",
]


def examples() -> list[doctest.DocTest]:
    """Every docstring of the package that has an example."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    names = [module.name for module in pkgutil.walk_packages(tadacli.__path__, "tadacli.")]
    modules = [importlib.import_module(name) for name in names if not name.endswith("__main__")]
    return [example for module in modules for example in finder.find(module) if example.examples]


@pytest.mark.parametrize("example", examples(), ids=lambda example: str(example.name))
def test_examples_run_as_they_stand(example: doctest.DocTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    said: list[str] = []
    num_threads = torch.get_num_threads()
    failed, tried = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example, out=said.append)
    assert failed == 0, "".join(said)
    assert tried > 0
    assert (torch.get_num_threads(), Path(os.getcwd())) == (num_threads, tmp_path)


@pytest.mark.parametrize("name", PUBLIC)
def test_public_functions_say_what_they_take_and_give(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    function = getattr(importlib.import_module(module), attribute)
    text = inspect.getdoc(function) or ""
    for part in ("Args:", "Yields:" if attribute.startswith("iter_") else "Returns:", "Raises:", "Example:"):
        assert part in text, f"{name} lacks {part}"
    parameters = inspect.signature(function).parameters.values()
    args = text.partition("Args:")[2].partition("\n\n")[0]
    assert [each.name for each in parameters if f"{each.name}: " not in args] == []
    assert f"{function.__module__}.{function.__qualname__}" in {example.name for example in examples()}
