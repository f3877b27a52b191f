"""A model of the hub: its configuration says all that is needed, is held to its hash, and is read first."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

import tadacli
from tadacli.errors import CheckpointError, FetchError, SpecError, TadaError
from tadacli.models import build
from tadacli.specs import EvalProtocol, InputSpec, WeightsSource
from tadacli.zoo import store
from tadacli.zoo.checkpoints import Checkpoint, empty_network, load_weights
from tadacli.zoo.completing import complete
from tadacli.zoo.downloading import Patience
from tadacli.zoo.fetching import fetch, fetch_file
from tadacli.zoo.loading import find_spec
from tadacli.zoo.manifest import ModelCard, cards
from tadacli.zoo.stated import settings_of_configuration
from tests.file_server import FileServer, Reply, serving
from tests.parity import goldens
from tests.zoo.configurations import changed, hub_tables

NAME = "tadaconvnext_tiny.k400"
QUICK = Patience(attempts=2, sleep=lambda _: None)
SIZES = {"dims": [8, 16, 32, 64], "depths": [1, 1, 1, 1]}


def weights(**stem: int) -> bytes:
    torch.manual_seed(0)
    stream = io.BytesIO()
    network = build("tadaconvnext_tiny", num_classes=3, **SIZES, **stem)
    torch.save({"model_state": network.state_dict()}, stream)
    return stream.getvalue()


WEIGHTS = weights(stem_t_kernel=2)


@pytest.fixture(autouse=True)
def _own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TADA_HOME", str(tmp_path / "home"))


@pytest.fixture
def server() -> Iterator[FileServer]:
    """The hub: the weights, the configuration, and a listing that states no hashes."""
    with serving(WEIGHTS) as files:
        files.others = {"configuration.json": json.dumps(hub_tables()).encode(), "repo/files": listing({})}
        yield files


def listing(hashes: dict[str, str]) -> bytes:
    files = [{"Path": path, "Name": path, "Sha256": sha256} for path, sha256 in hashes.items()]
    return json.dumps({"Code": 200, "Data": {"Files": [{"Path": "README.md"}, *files]}}).encode()


def card_on(server: FileServer) -> ModelCard:
    base = server.url.rsplit("/", 1)[0]
    source = WeightsSource(
        url=f"{base}/repo?FilePath=pytorch_model.pt",
        configuration=f"{base}/repo?FilePath=configuration.json",
        listing=f"{base}/repo/files?Recursive=true",
    )
    return dataclasses.replace(cards()[NAME], source=source)


def on_disk(folder: Path, tables: Any, content: bytes = WEIGHTS) -> Path:
    folder.mkdir()
    (folder / "configuration.json").write_text(tables if isinstance(tables, str) else json.dumps(tables))
    (folder / "pytorch_model.pt").write_bytes(content)
    return folder


def stored_files() -> set[str]:
    """What the store holds, but for locks of processes."""
    files = [file for file in store.store_folder().rglob("*") if file.is_file() and file.suffix != ".lock"]
    return {str(file.relative_to(store.store_folder())) for file in files}


def test_the_model_configures_itself(server: FileServer) -> None:
    with pytest.raises(SpecError, match="its settings come with its file") as caught:
        find_spec(NAME)
    assert f"tada fetch {NAME}" in caught.value.hint
    fetched = fetch(card_on(server))
    assert [request["path"] for request in server.requests] == [
        *("/repo/files?Recursive=true", "/repo?FilePath=configuration.json", "/repo?FilePath=pytorch_model.pt")
    ]
    assert (fetched.how, fetched.is_first_use, fetched.notes) == ("downloaded", True, ())
    spec = find_spec(NAME)
    assert spec.input == InputSpec("interval_hub", 4, 5, 30.0, 32, 32, (0.45,) * 3, (0.225,) * 3)
    assert spec.heads == {"": ("action 0", "action 1", "action 2")}
    assert (spec.protocol, spec.name) == (EvalProtocol(4, 3), NAME)
    assert spec.arguments == {**SIZES, "stem_t_kernel": 2}
    model = tadacli.load_model(NAME, device="cpu")
    assert (model.spec, model.notes) == (spec, ())
    assert stored_files() == {f"models/{NAME}.safetensors", f"models/{NAME}.json", "lock.json"}


def test_both_files_are_locked(server: FileServer) -> None:
    card = card_on(server)
    fetch(card)
    for name in (f"models/{NAME}.safetensors", f"models/{NAME}.json"):
        (store.store_folder() / name).unlink()
    good = server.others["configuration.json"]
    server.others["configuration.json"] = json.dumps(hub_tables(), indent=1).encode()
    server.etag = '"second"'
    with pytest.raises(FetchError, match="that was first fetched") as caught:
        fetch(card, patience=QUICK)
    assert str(store.lock_file()) in caught.value.hint
    server.others["configuration.json"] = good
    server.content = weights(stem_t_kernel=2) + b" "
    with pytest.raises(TadaError, match=r"is not the file that was first fetched|should have"):
        fetch(card, patience=QUICK)
    assert stored_files() == {"lock.json"}


def test_the_hashes_of_the_listing_count_until_the_first_use(server: FileServer) -> None:
    card, right = card_on(server), hashlib.sha256(WEIGHTS).hexdigest()
    beside = hashlib.sha256(server.others["configuration.json"]).hexdigest()
    for hashes in ({"pytorch_model.pt": "0" * 64}, {"configuration.json": "0" * 64}):
        server.others["repo/files"] = listing(hashes)
        with pytest.raises(FetchError, match="is not the"):
            fetch(card, patience=QUICK)
        assert stored_files() == set()
    server.others["repo/files"] = listing({"pytorch_model.pt": right.upper(), "configuration.json": beside})
    assert not fetch(card).is_first_use
    server.others["repo/files"] = listing({"pytorch_model.pt": "0" * 64})  # what was fetched stays what is taken
    store.weights_path(NAME).unlink()
    fetch(card)


@pytest.mark.parametrize("reply", [Reply(status=404, body=b""), Reply(body=b"no JSON"), Reply(body=b'{"Data": []}')])
def test_without_a_listing_the_first_use_is_trusted(server: FileServer, reply: Reply) -> None:
    server.replies.append(reply)
    assert fetch(card_on(server)).is_first_use


def test_a_mirror_has_both_and_is_asked_first(server: FileServer) -> None:
    card = card_on(server)
    fetch(card, keep_original=True)
    mirror = store.original_path(NAME).parent
    assert {file.name for file in mirror.iterdir()} == {f"{NAME}.pyth", f"{NAME}.configuration.json"}
    server.requests.clear()
    store.weights_path(NAME).unlink()
    assert fetch(card, mirror=str(mirror)).how == "downloaded"
    assert server.requests == []


def test_files_downloaded_by_hand(tmp_path: Path) -> None:
    folder = on_disk(tmp_path / "hub", hub_tables(T_KERNEL_SIZE=3), weights(stem_t_kernel=3))
    fetch_file(cards()[NAME], folder)
    assert find_spec(NAME).arguments == SIZES
    model = tadacli.load_model(NAME, weights=folder / "pytorch_model.pt", device="cpu")
    own = tadacli.load_model(folder, device="cpu")
    assert dataclasses.replace(model.spec, source=WeightsSource()) == dataclasses.replace(
        own.spec, name=NAME, dataset="Kinetics-400", note=cards()[NAME].note
    )
    assert own.spec.name == "tadaconvnext_tiny.hub"
    (folder / "configuration.json").unlink()
    for call in (
        lambda: fetch_file(cards()[NAME], folder),
        lambda: tadacli.load_model(NAME, weights=folder / "pytorch_model.pt", device="cpu"),
    ):
        with pytest.raises(CheckpointError, match=r"there is no .*configuration\.json"):
            call()


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        *((key, ..., f"{key} is missing") for key in ("MODEL.NAME", "DATA.MINUS_INTERVAL", "TEST.NUM_SPATIAL_CROPS")),
        ("VIDEO.BACKBONE.DROP_PATH", ..., "VIDEO.BACKBONE.DROP_PATH is missing"),
        ("label_mapping", ..., "label_mapping is missing"),
        ("DATA.NUM_INPUT_FRAMES", 4.5, "DATA.NUM_INPUT_FRAMES is 4.5"),
        ("DATA.TARGET_FPS", "fast", "DATA.TARGET_FPS is 'fast'"),
        ("TEST.NUM_SPATIAL_CROPS", 2, "TEST.NUM_SPATIAL_CROPS is 2"),
        ("MODEL.NAME", "PathShift", "MODEL.NAME is 'PathShift'"),
        ("VIDEO.BACKBONE.BRANCH.NAME", "ConvNeXtBlock", "VIDEO.BACKBONE.BRANCH.NAME is 'ConvNeXtBlock'"),
        ("VIDEO.HEAD.NAME", "AvgHead", "VIDEO.HEAD.NAME is 'AvgHead'"),
        ("VIDEO.BACKBONE.BRANCH.ROUTE_FUNC_TYPE", "other", "VIDEO.BACKBONE.BRANCH.ROUTE_FUNC_TYPE is 'other'"),
        ("label_mapping", {"0": "a", "1": "b"}, "label_mapping has 2 labels, and VIDEO.HEAD.NUM_CLASSES is 3"),
        ("label_mapping", {"0": "a", "1": "b", "2": "a"}, "label_mapping.0 and label_mapping.2 are both 'a'"),
        ("label_mapping", {"0": "a", "1": "b", "3": "c"}, "label_mapping.2 is missing"),
        ("label_mapping", {"0": "a", "1": "b", "2": "c\x1b[31m"}, "label_mapping.2 is 'c\\x1b[31m'"),
        ("label_mapping", {"0": "a", "1": "b", "2": 3}, "label_mapping.2 is 3"),
        ("label_mapping", ["a", "b", "c"], "label_mapping is ['a', 'b', 'c']"),
        ("VIDEO.HEAD.NUM_CLASSES", 4, "VIDEO.HEAD.NUM_CLASSES is 4"),
        ("VIDEO.BACKBONE.STEM.T_KERNEL_SIZE", 3, "wrong shape backbone.downsample_layers.0.0.weight"),
    ],
)
def test_a_bad_configuration_is_one_error_and_nothing_is_stored(
    tmp_path: Path, key: str, value: Any, says: str
) -> None:
    folder = on_disk(tmp_path / "hub", changed(hub_tables(), key, value))
    with pytest.raises(CheckpointError) as caught:
        fetch_file(cards()[NAME], folder)
    assert says in caught.value.message
    assert stored_files() == set()


@pytest.mark.parametrize(
    "text", ["{", "[]", "\0", json.dumps({"pad": "x" * (1 << 21)})], ids="cut list nul 2-MB".split()
)
def test_a_text_that_is_no_configuration_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(CheckpointError, match=r"configuration\.json"):
        fetch_file(cards()[NAME], on_disk(tmp_path / "hub", text))
    assert stored_files() == set()


def test_a_bad_configuration_on_the_hub_costs_no_download_of_weights(server: FileServer) -> None:
    server.others["configuration.json"] = json.dumps(changed(hub_tables(), "DATA.STD", [0, 1, 1])).encode()
    with pytest.raises(CheckpointError, match=r"DATA\.STD is"):
        fetch(card_on(server), patience=QUICK)
    assert not [request for request in server.requests if "pytorch_model" in request["path"]]
    assert stored_files() == set()


@pytest.mark.parametrize("kernel", [2, 3])
def test_the_whole_network_is_the_published_one_with_both_stems(tmp_path: Path, kernel: int) -> None:
    case, arrays = goldens.load("tadaconvnext_tiny_normal_lngelu")
    tables = hub_tables(num_classes=400, tiny=False, **({} if kernel == 2 else {"T_KERNEL_SIZE": 3}))
    (tmp_path / "configuration.json").write_text(json.dumps(tables))
    stated = settings_of_configuration(tmp_path / "configuration.json")
    state = goldens.weights(case["state_dict"], case["seed"])
    stem = "backbone.downsample_layers.0.0.weight"
    published = state[stem]
    if kernel == 2:
        state = {**state, stem: published[:, :, 1:]}
    checkpoint = Checkpoint(tmp_path / "pytorch_model.pt", state, None, "", stated)
    network = empty_network(complete(cards()[NAME], checkpoint).spec).eval()
    load_weights(network, checkpoint)
    clips = goldens.inputs(case["input_shapes"][0], case["seed"] * 100)
    with torch.inference_mode():
        found = network(clips)
        if kernel == 3:
            goldens.assert_close(found, arrays["logits_0"], "logits")
            goldens.assert_close(network.forward_features(clips), arrays["feat_0"], "features")
            return
        # Without its first slice, the published stem sees the same two frames of each pair, none before them.
        padded = F.pad(state[stem], (0, 0, 0, 0, 1, 0))
        load_weights(twin := build("tadaconvnext_tiny", num_classes=400).eval(), _with(checkpoint, stem, padded))
        goldens.assert_close(found, twin(clips).numpy(), "logits")


def _with(checkpoint: Checkpoint, name: str, tensor: torch.Tensor) -> Checkpoint:
    return dataclasses.replace(checkpoint, state_dict={**checkpoint.state_dict, name: tensor})
