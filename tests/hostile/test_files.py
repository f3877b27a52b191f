"""Model files, score files and predictions from anywhere: typed, bounded, and one kind of error whatever is wrong."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save

from tadacli.datasets.tables import read_bytes
from tadacli.detection.detecting import detect
from tadacli.detection.score_file import read_scores, write_scores
from tadacli.detection.window_scores import score_windows
from tadacli.errors import CheckpointError, SpecError, UsageError
from tadacli.evaluation.prediction_file import read_predictions
from tadacli.evaluation.readers.epic import read_recognition
from tadacli.evaluation.saved import evaluate_predictions
from tadacli.formats import safe_pickle
from tadacli.formats.safe_pickle import UnsafePickleError, load_arrays, load_torch
from tadacli.sampling.settings import window_settings
from tadacli.scoring.options import parse_views
from tadacli.specs import label_list
from tadacli.zoo.checkpoints import SPEC_KEY, read_checkpoint
from tadacli.zoo.loading import Model, load_model
from tests import media, trees

LABELS = ("a", "b", "c")
HUGE = 10**400

# --- model files ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    trees.write_model(path, {"": LABELS})
    return path


@pytest.fixture(scope="module")
def model(model_file: Path) -> Model:
    return load_model(model_file, device="cpu")


def change(spec: dict[str, Any], key: str, value: object) -> dict[str, Any]:
    """A copy of nested tables with one value changed."""
    first, _, rest = key.partition(".")
    return {**spec, first: change(spec[first], rest, value) if rest else value}


SPECS = [
    ("input.clip_frames", 10**9, "frames"),
    ("input", {"sampling": "segment", "clip_frames": 4096, "short_side": 8192, "crop_size": 8192}, "input"),
    ("input.clip_frames", HUGE, "frames"),
    ("input.clip_frames", -1, "positive"),
    ("input.clip_frames", "8", "clip_frames"),
    ("input.clip_frames", [8], "clip_frames"),
    ("input.short_side", 10**6, "pixels"),
    ("input.frame_stride", 10**9, "frame_stride"),
    ("input.target_fps", 1e300, "target_fps"),
    ("input.target_fps", float("nan"), ""),
    ("input.mean", [float("inf"), 0.0, 0.0], "mean"),
    ("input.std", [0.0, 1.0, 1.0], "positive"),
    ("protocol.num_clips", 10**9, "clips"),
    ("protocol.num_crops", 10**9, "crops"),
    ("heads", {"": "../../x.json"}, "heads"),
    ("heads", {"": "camera_motion"}, "heads"),
    ("heads", {"": [1, 2, 3]}, "heads"),
    ("heads", {}, "heads"),
    ("heads", "../../x.json", "heads"),
    ("arguments", {"widths": [10**9, 16]}, "widths"),
    ("arguments", {"widths": [8] * 10_000}, "widths"),
    ("arguments", {"widths": "../../x.json"}, ""),
    ("arguments", {"widths": {"a": 1}}, "widths"),
    ("arguments", {"widths": [-8, 0]}, ""),
    ("arguments", {f"a{number}": 1 for number in range(1000)}, "arguments"),
    ("arguments", {"route_ratio": 0}, ""),
    ("architecture", "../../x", "architecture"),
    ("architecture", 3, "architecture"),
    ("temperatures", {"": 0.0}, "temperatures"),
    ("name", {"a": 1}, "name"),
]


@pytest.mark.parametrize(("key", "value", "said"), SPECS, ids=lambda each: str(each)[:24])
def test_specs_are_typed_and_bounded(model_file: Path, tmp_path: Path, key: str, value: object, said: str) -> None:
    checkpoint = read_checkpoint(model_file)
    assert checkpoint.spec is not None
    spec = change(checkpoint.spec.to_dict(), key, value)
    path = tmp_path / "hostile.safetensors"
    path.write_bytes(save(dict(checkpoint.state_dict), metadata={SPEC_KEY: json.dumps(spec)}))
    with pytest.raises((CheckpointError, SpecError)) as caught:
        load_model(path, device="cpu")
    assert said in caught.value.message
    assert caught.value.message.isprintable()


def test_many_blocks_are_not_built(tmp_path: Path) -> None:
    path = tmp_path / "deep.safetensors"
    trees.write_model(path, {"": LABELS})
    spec = read_checkpoint(path).spec
    assert spec is not None
    values = change(spec.to_dict(), "architecture", "tada2d_r50") | {"arguments": {"stage_depths": [10_000] * 4}}
    path.write_bytes(save({"x": torch.zeros(1)}, metadata={SPEC_KEY: json.dumps(values)}))
    with pytest.raises(CheckpointError, match="blocks"):
        load_model(path, device="cpu")


@pytest.mark.parametrize("metadata", ["[]", "3", "null", "{", "[" * 5000, '{"name": 1' + "0" * 5000 + "}", "\x00"])
def test_metadata_of_another_kind_is_refused(tmp_path: Path, metadata: str) -> None:
    path = tmp_path / "hostile.safetensors"
    path.write_bytes(save({"x": torch.zeros(1)}, metadata={SPEC_KEY: metadata}))
    with pytest.raises(CheckpointError):
        load_model(path, device="cpu")


def packed_copy(path: Path, target: Path) -> None:
    """The same zip with its members compressed, as a bomb is."""
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as out:
        for member in archive.infolist():
            out.writestr(member.filename, archive.read(member))


def test_a_packed_pickle_is_not_unpacked(tmp_path: Path) -> None:
    torch.save({"x": torch.zeros(1 << 22)}, tmp_path / "plain.pth")
    packed_copy(tmp_path / "plain.pth", tmp_path / "packed.pth")
    assert read_checkpoint(tmp_path / "plain.pth").state_dict["x"].numel() == 1 << 22
    with pytest.raises(CheckpointError, match="members are compressed"):
        read_checkpoint(tmp_path / "packed.pth")
    with pytest.raises(ValueError, match="members are compressed"):
        load_torch((tmp_path / "packed.pth").read_bytes())


@pytest.mark.parametrize("content", [b"\x00" * 9, b"\xff" * 64, struct.pack("<Q", 1 << 60), b"PK\x03\x04" + b"\0" * 99])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pyth"])
def test_noise_is_a_checkpoint_error(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"noise{suffix}"
    path.write_bytes(content)
    with pytest.raises(CheckpointError):
        read_checkpoint(path)


def test_a_label_list_is_no_path() -> None:
    for name in ("../labels/kinetics400", "..", "", "a/b"):
        with pytest.raises(SpecError):
            label_list(name)


@pytest.mark.parametrize("views", ["99999x1", "0x1", "1" * 5000 + "x3", "3x2"])
def test_absurd_views_are_a_usage_error(views: str) -> None:
    with pytest.raises(UsageError):
        parse_views(views)


# --- score files ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def score_file(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scores")
    media.render(folder / "v.mp4", 60)
    scores = score_windows(folder / "v.mp4", model=model, settings=window_settings(window="0.5s", stride="0.5s"))
    write_scores(folder / "scores.npz", scores)
    return folder / "scores.npz"


def rewritten(score_file: Path, target: Path, **changes: Any) -> Path:
    """A score file with other arrays; None leaves one out."""
    with np.load(score_file) as file:
        arrays = {**file, **changes}
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, values in arrays.items():
            if isinstance(values, bytes):
                archive.writestr(f"{name}.npy", values)
            elif values is not None:
                buffer = io.BytesIO()
                np.save(buffer, values, allow_pickle=True)
                archive.writestr(f"{name}.npy", buffer.getvalue())
    return target


def about(score_file: Path, key: str, value: object) -> np.ndarray:
    with np.load(score_file) as file:
        return np.array(json.dumps(change(json.loads(str(file["about"])), key, value)))


def header_of_npy(shape: tuple[int, ...]) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("path", 3),
        ("path", None),
        ("size_bytes", -1),
        ("size_bytes", "9"),
        ("num_windows_planned", HUGE),
        ("num_windows_planned", 0),
        ("num_windows_planned", "3"),
        ("num_frames_used", [1]),
        ("range_seconds", [0]),
        ("range_seconds", [0, float("nan")]),
        ("range_seconds", [0, HUGE]),
        ("settings", []),
        ("gaps", [{"start_seconds": "a", "end_seconds": 1, "reason": "b"}]),
        ("gaps", 3),
        ("video.fps", "1/0"),
        ("video.fps", "-3"),
        ("video.num_frames", 1e300),
        ("video.height", "96"),
        ("video.duration_seconds", "long"),
        ("video", []),
        ("spec.input.clip_frames", 10**9),
        ("spec.heads", {"": "../../x.json"}),
        ("kind", "other"),
    ],
)
def test_facts_of_a_score_file_are_typed(score_file: Path, tmp_path: Path, key: str, value: object) -> None:
    path = rewritten(score_file, tmp_path / "hostile.npz", about=about(score_file, key, value))
    with pytest.raises(UsageError, match="is not a score file of this tool, or is damaged"):
        read_scores(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"about": np.array([{}], dtype=object)},
        {"spans": np.array([[object()]], dtype=object)},
        {"spans": np.zeros((1, 2))},
        {"scores": np.zeros((4, 3), dtype=np.int64)},
        {"scores": np.full((4, 3), np.nan, dtype=np.float32)},
        {"scores": np.full((4, 3), "x")},
        {"scale": np.zeros(4)},
        {"scale": None},
        {"spans": header_of_npy((10**9, 2))},
        {"spans": header_of_npy((10**18, 2))},
        {"spans": b"\x93NUMPY\x01\x00"},
        {"about": header_of_npy((0,)) + b"x"},
    ],
    ids=lambda each: f"{next(iter(each))} {str(next(iter(each.values())))[:12]!r}",
)
def test_arrays_of_a_score_file_are_typed(score_file: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="is not a score file of this tool, or is damaged"):
        read_scores(rewritten(score_file, tmp_path / "hostile.npz", **changes))


def test_members_that_are_not_asked_for_are_not_read(score_file: Path, tmp_path: Path) -> None:
    bomb = np.zeros(1 << 24)  # unpacks to 128 MiB
    path = rewritten(score_file, tmp_path / "more.npz", bomb=bomb, objects=np.array([{}], dtype=object))
    assert read_scores(path).spans.tolist() == read_scores(score_file).spans.tolist()
    assert detect  # the command reads them the same way


def test_a_needed_member_that_unpacks_to_too_much_is_refused(score_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    with np.load(score_file) as file, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in file:
            with archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
                if name == "spans":
                    stream.write(header_of_npy((1 << 26, 2)))
                    for _ in range(1 << 10):
                        stream.write(bytes(1 << 20))
                else:
                    np.save(stream, file[name])  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="unpacks to more than scores need"):
        read_scores(path)


# --- pickles ----------------------------------------------------------------------------------------


def laughs(levels: int, each: int) -> Any:
    value: Any = "ha"
    for _ in range(levels):
        value = [value] * each
    return value


def test_a_billion_laughs_are_not_written_out() -> None:
    assert load_arrays(pickle.dumps(laughs(3, 10))) == laughs(3, 10)
    with pytest.raises(ValueError, match="unfolds to more than"):
        load_arrays(pickle.dumps(laughs(6, 1000)))
    with pytest.raises(ValueError, match="nests too deeply"):
        load_arrays(pickle.dumps(laughs(30, 1)))
    buffer = io.BytesIO()
    torch.save({"a": laughs(5, 1000)}, buffer)
    with pytest.raises(ValueError, match="unfolds"):
        load_torch(buffer.getvalue())


def test_a_value_that_holds_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(ValueError, match="nests too deeply"):
        load_arrays(pickle.dumps(value))


def test_what_is_held_twice_is_one() -> None:
    array = np.arange(3)
    read = load_arrays(pickle.dumps([[array, array], [array]]))
    assert read[0][0] is read[0][1] is read[1][0]


NAME = b"cnumpy.core.multiarray\nscalar\n"


@pytest.mark.parametrize(
    "content",
    [
        NAME + b".",
        NAME + b"}b.",  # its attributes, one by one
        NAME + b"N}U\x0c__defaults__N\x86sb.",
        b"c_codecs\nencode\n(N}U\x0c__defaults__(U\x06latin1tst\x86b.",
        b"cnumpy\ndtype\n}b.",
        b"cnumpy\nndarray\n)\x81.",
        b"cnumpy\nndarray\n)R.",
        b"\x80\x02]r\xff\xff\xff\x7f.",  # a place to remember it at that needs 16 GB of room
    ],
)
def test_what_a_pickle_names_is_inert(content: bytes) -> None:
    def state() -> dict[str, Any]:
        made = {name: each for name, each in vars(safe_pickle).items() if callable(each)}
        return {name: (dict(vars(each)), getattr(each, "__defaults__", None)) for name, each in made.items()}

    before = state()
    with pytest.raises(ValueError, match=r".+"):
        load_arrays(content)
    assert state() == before


def test_a_tensor_that_shows_few_numbers_as_many_is_refused() -> None:
    buffer = io.BytesIO()
    torch.save({"x": torch.zeros(1).expand(10**6, 10**6)}, buffer)
    assert len(buffer.getvalue()) < 10_000
    with pytest.raises(ValueError, match="shows the same numbers more than once"):
        load_torch(buffer.getvalue())


def test_what_is_refused_is_named() -> None:
    with pytest.raises(UnsafePickleError, match=r"it names os.sys\\u001b\[31mtem"):
        load_arrays(b"cos\nsys\x1b[31mtem\n.")


# --- predictions ------------------------------------------------------------------------------------


def test_a_gzip_bomb_is_read_within_bounds(tmp_path: Path) -> None:
    path = tmp_path / "bomb.json.gz"
    path.write_bytes(gzip.compress(bytes(1 << 24)) * 16)
    with pytest.raises(UsageError, match="unpacks to more than 32 MiB"):
        read_bytes(path)
    path.write_bytes(gzip.compress(b" " * (1 << 24)))
    assert len(read_bytes(path)) == 1 << 24


def test_a_zip_bomb_is_read_within_bounds(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("test.json", b" " * (1 << 26))
    with pytest.raises(UsageError, match="claims to unpack to"):
        read_recognition(path)


TRUTH = {"database": {"v": {"subset": "validation", "annotations": [{"segment": [0, 1], "label": "a"}]}}}


def detections(**changes: object) -> dict[str, Any]:
    return {"version": "1", "results": {"v": [{"segment": [0, 1], "label": "a", "score": 0.5, **changes}]}}


@pytest.mark.parametrize(
    "value",
    [
        detections(score=HUGE),
        detections(segment=[0, HUGE]),
        detections(segment=[[]]),
        detections(segment={}),
        detections(label=[]),
        detections(label=HUGE),
        detections(score="x"),
        detections(score=None),
        {"results": []},
        {"results": {"v": 3}},
        {"results": {"v": [3]}},
        {"results": {"v": [[]]}},
        [],
        3,
        "x",
        None,
    ],
    ids=lambda each: json.dumps(each)[:60],
)
def test_hostile_detections_are_usage_errors(tmp_path: Path, value: object) -> None:
    (tmp_path / "truth.json").write_text(json.dumps(TRUTH))
    (tmp_path / "found.json").write_text(json.dumps(value))
    with pytest.raises(UsageError):
        evaluate_predictions("activitynet", tmp_path / "found.json", annotations=tmp_path / "truth.json")


def begun(tmp_path: Path, header: Callable[[dict[str, Any]], dict[str, Any]], item: dict[str, Any]) -> Path:
    run = {"model": "m", "tool_version": "1", "weights_sha256": "0", "spec": {}, "settings": {}, "id": "1"}
    first = {"kind": "tada predictions 1", "dataset": "csv", "split": "all", "num_items": 1, "shard": None, **run}
    path = tmp_path / "predictions.jsonl"
    lines = [header({**first, "heads": {"": ["a", "b"]}}), item]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.mark.parametrize(
    "scores", [[HUGE, 1], [float("nan"), 1], ["0.5", "0.5"], [[1, 2]], [None, 1], {"a": 1}, "ab", 3, [True, False]]
)
def test_scores_that_are_none_are_usage_errors(tmp_path: Path, scores: object) -> None:
    item = {"id": "v", "path": "v.mp4", "status": "ok", "scores": {"": scores}}
    with pytest.raises(UsageError):
        read_predictions([begun(tmp_path, lambda first: first, item)])


@pytest.mark.parametrize(
    "change_header",
    [
        lambda first: {**first, "heads": []},
        lambda first: {**first, "heads": {"": 3}},
        lambda first: {**first, "heads": {"": [1, 2]}},
        lambda first: {**first, "num_items": "many"},
        lambda first: {**first, "shard": 3},
        lambda _: {},
    ],
)
def test_headers_that_are_none_are_usage_errors(tmp_path: Path, change_header: Callable[..., Any]) -> None:
    item = {"id": "v", "path": "v.mp4", "status": "ok", "scores": {"": [0.5, 0.5]}}
    with pytest.raises(UsageError):
        read_predictions([begun(tmp_path, change_header, item)])
