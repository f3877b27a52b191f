"""The site, built once, and the folder that code blocks run in."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from tadacli.models import build
from tadacli.zoo.manifest import manifest
from tests.cli.conftest import tada
from tests.docs.code_blocks import python_of_this
from tests.docs.videos import make_folder

__all__ = ["tada"]

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED = "tada2d_r50.k400_8x8"  # pages fetch it; here it has random weights


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built site; a warning of the build is an error. No server is asked."""
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "documentation.building", str(folder)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"}
    for name in ("http_proxy", "https_proxy"):
        environment[name] = "http://127.0.0.1:9"
    done = subprocess.run(build, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="session")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the videos that pages name."""
    folder = tmp_path_factory.mktemp("pages") / "material"
    make_folder(folder)
    return folder


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a server on this machine that has the files of a folder."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="session")
def site_address(site: Path) -> Iterator[str]:
    """Where the built site is served."""
    with served(site) as address:
        yield address


@pytest.fixture(scope="session")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server on this machine that has a file of made weights under a published name."""
    folder, spec = tmp_path_factory.mktemp("mirror"), manifest()[PUBLISHED]
    torch.manual_seed(0)
    state = build(spec.architecture, num_classes=spec.num_classes).state_dict()
    torch.save({"model_state": state}, folder / f"{PUBLISHED}.pyth")
    with served(folder) as address:
        yield address


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the pages keep fetched weights."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def environment(mirror: str, store: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What commands of a page find set, in this process or in one of their own."""
    programs = tmp_path_factory.getbasetemp() / "programs"
    if not programs.exists():
        programs.mkdir()
        (programs / "tada").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tadacli "$@"\n')
        (programs / "tada").chmod(0o755)
    return os.environ | {
        "PATH": f"{programs}{os.pathsep}{python_of_this()}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "TADA_HOME": str(store),
        "TADA_MIRROR": mirror,
        "COLUMNS": "80",
        "OMP_NUM_THREADS": "1",
    }
