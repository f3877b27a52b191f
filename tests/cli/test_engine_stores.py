"""Videos and results in an object store: S3 as moto answers it, on loopback."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tadacli.cluster.collecting import ordered_rows
from tadacli.cluster.driving import drive
from tadacli.cluster.items import Item
from tadacli.cluster.ledger import Ledger
from tadacli.cluster.stores import RemoteStore
from tadacli.video.inputs import version_of
from tests.cli.conftest import Tada
from tests.cluster.fakes import InlinePool

fsspec = pytest.importorskip("fsspec")
pytest.importorskip("s3fs")
moto = pytest.importorskip("moto.server")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    running = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch, videos: Path) -> Any:
    """A file system with a bucket, in which there are a few videos."""
    for name, value in {"ACCESS_KEY_ID": "key", "SECRET_ACCESS_KEY": "secret-of-a-test"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    system = fsspec.filesystem("s3", skip_instance_cache=True)
    if not system.exists("bucket/videos"):
        system.mkdir("bucket")
        for name in ("clip 1.mp4", "clip 9.mp4", "broken.mp4"):
            system.put_file(str(videos / name), f"bucket/videos/{name}")
        system.pipe_file("bucket/videos/notes.txt", b"none")
    return system


def test_the_store_keeps_what_was_there_first(bucket: Any) -> None:
    store = RemoteStore("s3://bucket/run")
    assert store.put_if_absent("results/ab/1.json", b"first")
    assert not store.put_if_absent("results/ab/1.json", b"second")
    assert store.get("results/ab/1.json") == b"first" == bucket.cat_file("bucket/run/results/ab/1.json")
    assert list(store.names("results")) == ["results/ab/1.json"]
    store.put("a.json", b"1")
    store.put("a.json", b"2")
    assert store.get("a.json") == b"2"
    store.remove("a.json")
    store.remove("a.json")
    assert store.get("a.json") is None
    assert not store.is_there("a.json")
    assert list(store.names("attempts")) == []
    ledger = Ledger(store)
    attempts = [ledger.attempt("ab12", f"worker {number}") for number in range(4)]
    assert [attempt and attempt.number for attempt in attempts] == [1, 2, 3, None]


def test_videos_and_results_in_a_bucket(
    tada: Tada, bucket: Any, untrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TADA_MODEL", str(untrained))
    classify = ["classify", "s3://bucket/videos/", "--device", "cpu"]
    code, _, said = tada(*classify, "-o", tmp_path / "one.csv")
    assert code == 3
    assert "passed over in folders: 1 .txt" in said
    code, _, said = tada(*classify, "-o", "s3://bucket/out/many.csv", "--engine", "local")
    assert code == 3
    assert "2 of 3 videos classified; 1 failed, results in s3://bucket/out/many.csv" in said
    for name in ("{}.csv", "{}.csv.meta.json"):
        expected = (tmp_path / name.format("one")).read_bytes()
        assert bucket.cat_file(f"bucket/out/{name.format('many')}") == expected
    kept = b"".join(bucket.cat_file(name) for name in bucket.find("bucket/out/many.csv.run"))
    assert b"clip 1.mp4" in kept
    assert b"secret-of-a-test" not in kept
    assert tada("collect", "s3://bucket/out/many.csv.run", "-o", tmp_path / "many.jsonl")[0] == 3
    rows = [json.loads(line) for line in (tmp_path / "many.jsonl").read_text().splitlines()]
    assert [row["path"] for row in rows] == [
        f"s3://bucket/videos/{name}.mp4" for name in ("broken", "clip 1", "clip 9")
    ]
    code, _, said = tada(*classify, "-o", "s3://bucket/out/many.csv", "--engine", "local")
    assert code == 1
    assert "s3://bucket/out/many.csv.run holds an earlier run" in said


@pytest.mark.usefixtures("bucket")
def test_an_etag_that_changed_since_listing_is_an_error() -> None:
    listed = version_of("s3://bucket/videos/clip 1.mp4")
    assert isinstance(listed, str)
    items = [Item("s3://bucket/videos/clip 1.mp4", version) for version in (listed, "another")]
    ledger = Ledger(RemoteStore("s3://bucket/changed.run"))
    drive(InlinePool(ledger), iter(items), ledger, kind="classify")
    assert [row["status"] for row in ordered_rows(ledger)] == ["ok", "error"]
    assert "has changed since it was listed" in list(ordered_rows(ledger))[1]["error"]


@pytest.mark.usefixtures("bucket")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["s3://bucket/nothing/"], "there is nothing at s3://bucket/nothing/"),
        (["s3://nobucket/videos/*.mp4"], "s3://nobucket/videos/*.mp4"),
        (["s3://bucket/videos/", "-o", "s3://bucket/x.csv"], "is in an object store, to which only workers write"),
        (["gs://bucket/videos/"], "gcsfs"),
    ],
)
def test_what_is_wrong_with_a_store_is_said(tada: Tada, words: list[str], said: str) -> None:
    code, _, err = tada("classify", *words)
    assert code == 2
    assert said in err
