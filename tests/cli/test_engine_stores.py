"""Videos and results in an object store: S3 as moto answers it, on loopback."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tadacli.cluster.collecting import ordered_rows
from tadacli.cluster.driving import drive
from tadacli.cluster.items import Item
from tadacli.cluster.ledger import Ledger
from tadacli.cluster.stores import RemoteStore
from tadacli.cluster.work import Row, Seat
from tadacli.video.inputs import version_of
from tests.cli.conftest import Tada
from tests.cluster.fakes import FakeProcessing, FakeWork, InlinePool

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
def test_copies_are_kept_for_all_workers_of_a_machine(
    tada: Tada, untrained: Path, videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TADA_CACHE", "TADA_CACHE_SIZE"):
        monkeypatch.setenv(name, "")  # after the test it is as before
    classify = ["classify", "s3://bucket/videos/", "--model", untrained, "--device", "cpu"]
    code, _, said = tada(*classify, "--cache-size", "1GB")
    assert code == 2
    assert "name it: --cache FOLDER" in said
    classify += ["--cache", tmp_path / "cache", "--cache-size", "1GB"]
    assert tada(*classify, "-o", tmp_path / "one.jsonl")[0] == 3
    kept = {file.read_bytes(): file for file in (tmp_path / "cache").glob("*.mp4")}
    assert len(kept) == 3
    kept[(videos / "clip 1.mp4").read_bytes()].write_bytes((videos / "clip 9.mp4").read_bytes())
    assert tada(*classify, "-o", tmp_path / "many.jsonl", "--engine", "local", "--engine-workers", "2")[0] == 3
    rows = [json.loads(line) for line in (tmp_path / "many.jsonl").read_text().splitlines()]
    assert rows[1]["video"] == rows[2]["video"], "the copy is read, not the bucket"


@pytest.mark.usefixtures("bucket")
def test_an_etag_that_changed_since_listing_is_an_error() -> None:
    listed = version_of("s3://bucket/videos/clip 1.mp4")
    assert isinstance(listed, str)
    items = [Item("s3://bucket/videos/clip 1.mp4", version) for version in (listed, "another")]
    ledger = Ledger(RemoteStore("s3://bucket/changed.run"))
    drive(InlinePool(ledger), iter(items), ledger, kind="classify")
    assert [row["status"] for row in ordered_rows(ledger)] == ["ok", "error"]
    assert "has changed since it was listed" in list(ordered_rows(ledger))[1]["error"]


def test_a_video_that_changes_while_it_is_read_is_an_error(bucket: Any) -> None:
    bucket.pipe_file("bucket/changing/a.mp4", b"first")
    ledger = Ledger(RemoteStore("s3://bucket/changing.run"))

    class Changing(FakeProcessing):
        def begin(self, item: Item) -> Callable[[], Row]:
            bucket.pipe_file("bucket/changing/a.mp4", b"second")
            return super().begin(item)

    @dataclass(frozen=True)
    class Work(FakeWork):
        def ready(self, seat: Seat, on_step: Callable[[], object]) -> FakeProcessing:  # noqa: ARG002 - as it is called
            return Changing()

    item = Item("s3://bucket/changing/a.mp4", version_of("s3://bucket/changing/a.mp4"))
    drive(InlinePool(ledger, work=Work()), iter([item]), ledger, kind="classify")
    (row,) = ordered_rows(ledger)
    assert row["status"] == "error"
    assert "has changed since it was listed" in row["error"]


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
