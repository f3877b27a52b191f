"""Made-up copies of data sets: annotations as published, tiny videos, some of them broken, and models for them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from PIL import Image
from torch import nn

from tadacli.classification import classify
from tadacli.models import build
from tadacli.results import Classification
from tadacli.sampling.plan import Part
from tadacli.specs import EvalProtocol, InputSpec, WeightsSource
from tadacli.zoo.checkpoints import write_checkpoint
from tadacli.zoo.loading import load_model
from tadacli.zoo.manifest import manifest

SIZE = (32, 48)
_GREY = 0.45, 0.45, 0.45
_SPREAD = 0.225, 0.225, 0.225
EPIC_COLUMNS = (
    "narration_id",
    "participant_id",
    "video_id",
    "narration_timestamp",
    "start_timestamp",
    "stop_timestamp",
    "start_frame",
    "stop_frame",
    "narration",
    "verb",
    "verb_class",
    "noun",
    "noun_class",
    "all_nouns",
    "all_noun_classes",
)


@dataclass(frozen=True)
class Tree:
    """A data set on disk. `labels` are the true classes by id and head, of items that can be scored and others.

    `answers` are the results of `classify` by id, also of broken videos; items without a file have none.
    """

    dataset: str
    annotations: Path
    root: Path
    model: Path
    labels: Mapping[str, Mapping[str, int]]
    answers: Mapping[str, Classification]

    @property
    def ids(self) -> list[str]:
        return list(self.labels)

    @property
    def good(self) -> list[str]:
        """The ids of the items that can be scored, in order."""
        return [name for name in self.labels if name in self.answers and self.answers[name].status != "error"]

    @property
    def options(self) -> tuple[object, ...]:
        """What `tada eval` needs to score it."""
        return (*self.data, "--model", self.model)

    @property
    def data(self) -> tuple[object, ...]:
        return "--dataset", self.dataset, "--annotations", self.annotations, "--data-root", self.root

    def scores(self, name: str) -> dict[str, np.ndarray]:
        """The scores of an item by the independent path, by head, (num_classes,)."""
        return {head: scores_of(self.answers[name], head) for head in self.answers[name].heads}


def scores_of(answer: Classification, head: str) -> np.ndarray:
    values = np.full(len(answer.heads[head]), np.nan)
    for prediction in answer.heads[head]:
        values[prediction.index] = prediction.score
    return values


# --- videos -----------------------------------------------------------------------------------------


def pictures(seed: int, num_frames: int) -> Iterator[np.ndarray]:
    """uint8 (height, width, 3): coarse patches of colour that wander, other ones for each seed."""
    rng = np.random.default_rng(seed)
    height, width = SIZE
    patches = rng.integers(0, 256, (4, 6 + num_frames // 4, 3), dtype=np.uint8)
    field = patches.repeat(8, axis=0).repeat(16, axis=1)
    for number in range(num_frames):
        yield np.ascontiguousarray(field[:height, 2 * number : 2 * number + width])


def render(path: Path, seed: int, num_frames: int) -> None:
    """A video of these pictures at 30 frames a second; .webm is VP8, anything else H.264."""
    codec = "libvpx" if path.suffix == ".webm" else "libx264"
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as out:
        stream = out.add_stream(
            codec, rate=Fraction(30), options={"g": "12", "bf": "0"} if codec == "libx264" else {"g": "12"}
        )
        (stream.height, stream.width), stream.pix_fmt, stream.thread_count = SIZE, "yuv420p", 1
        for number, image in enumerate(pictures(seed, num_frames)):
            # Converted here: left to the encoder, the picture's bytes differ from run to run.
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 30)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def render_jpegs(folder: Path, seed: int, num_frames: int) -> None:
    """The same pictures as EPIC-KITCHENS publishes frames."""
    folder.mkdir(parents=True)
    for number, image in enumerate(pictures(seed, num_frames), start=1):
        Image.fromarray(image).save(folder / f"frame_{number:010d}.jpg", quality=90)


def _cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def damage(path: Path) -> None:
    """Noise inside the second key frame of an .mp4, whose index stays whole."""
    with av.open(str(path)) as video:
        packets = [packet for packet in video.demux(video=0) if packet.is_keyframe and packet.size]
        place, size = packets[1].pos, packets[1].size
    content = bytearray(path.read_bytes())
    noise = np.random.default_rng(0).integers(0, 256, size - 16, dtype=np.uint8)
    content[place + 16 : place + size] = noise.tobytes()
    path.write_bytes(content)


BREAKS: Mapping[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("this is not a video\n"),
    "cut": _cut,
    "damaged": damage,
}
# What the report must say of each; the exact words are those of `tada classify`.
REASONS = {
    "missing": "no video file was found",
    "empty": "is an empty file",
    "text": "is a text file, not a video",
    "cut": "cut short",
    "damaged": "damaged",
}


# --- models -----------------------------------------------------------------------------------------


def write_model(
    path: Path, heads: Mapping[str, Sequence[str]], *, sampling: str = "interval", views: tuple[int, int] = (2, 1)
) -> None:
    """A small network with random weights, whose answers differ from video to video."""
    spec = replace(
        manifest()["r2plus1d_tiny.camera_motion"],
        name=f"untrained.{path.stem}",
        arguments={"widths": [8, 16]},
        heads={name: tuple(labels) for name, labels in heads.items()},
        input=InputSpec(sampling, 4, 3, 30.0, 32, 32, _GREY, _SPREAD),  # type: ignore[arg-type]
        protocol=EvalProtocol(*views),
        source=WeightsSource(),
        note="",
    )
    torch.manual_seed(len(path.stem))
    network = build(spec.architecture, num_classes=spec.num_classes, **spec.arguments).eval()
    with torch.inference_mode():
        clips = torch.stack([_clip(seed) for seed in range(64)])
        features = network.forward_features(clips)
    centred = features - features.mean(dim=0)
    with torch.no_grad():
        for layer in network.head.modules():
            if isinstance(layer, nn.Linear):
                layer.weight *= 1.5 / (centred @ layer.weight.T).std()
                layer.bias[:] = -(features.mean(dim=0) @ layer.weight.T)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_checkpoint(path, network.state_dict(), spec)


def _clip(seed: int) -> torch.Tensor:
    frames = np.stack(list(pictures(10_000 + seed, 4)))[:, :, 8:40]
    return torch.from_numpy((frames / 255 - 0.45) / 0.225).float().permute(3, 0, 1, 2)


# --- data sets ----------------------------------------------------------------------------------------


def wanted_rank(number: int) -> int:
    """Where the true class of item `number` is to stand among the answers: right, within five, or not."""
    return (0, 2, 0, 4, 7)[number % 5]


def kinetics(folder: Path, labels: Sequence[str], *, num_items: int = 40) -> Tree:
    """Kinetics-400: the official csv, a folder for each class, written in two of the usual ways."""
    model, root = folder / "k400.safetensors", folder / "videos"
    write_model(model, {"": labels})
    names = [f"abcdefgh{number:03d}_{number:06d}_{number + 10:06d}" for number in range(num_items)]
    flat = {name: root / "val" / f"{name}.mp4" for name in names}
    answers = _classified(flat, model, _broken(names), first_seed=0)
    truth = _truth(names, answers, {"": labels})
    annotations = folder / "kinetics-400_val.csv"
    with annotations.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["label", "youtube_id", "time_start", "time_end", "split", "is_cc"])
        for number, name in enumerate(names):
            label = labels[truth[name][""]]
            rows.writerow([label, name[:11], number, number + 10, "val", 0])
            home = root / "val" / (label if number % 2 else label.replace(" ", "_"))
            if flat[name].exists():
                home.mkdir(exist_ok=True)
                flat[name].rename(home / flat[name].name)
    return Tree("k400", annotations, root, model, truth, answers)


def ssv2(folder: Path, labels: Sequence[str], *, suffix: str, with_label: bool, num_items: int = 40) -> Tree:
    """Something-Something V2: label and split files as published, or the split with the classes written in."""
    model, root = folder / "ssv2.safetensors", folder / "20bn-something-something-v2"
    write_model(model, {"": labels}, sampling="segment", views=(1, 3))
    names = [str(70_000 + 7 * number) for number in range(num_items)]
    paths = {name: root / f"{name}{suffix}" for name in names}
    # Nothing tells that packets in the middle of a .webm are gone; the others are damage that can be seen.
    kinds = _broken(names) if suffix == ".mp4" else _broken(names, ("missing", "empty", "text", "cut"))
    answers = _classified(paths, model, kinds, first_seed=1000)
    truth = _truth(names, answers, {"": labels})
    entries = []
    for name in names:
        template = labels[truth[name][""]].replace("something", "[something]")
        entry = {"id": name, "label": "holding potato next to vicks", "template": template, "placeholders": []}
        entries.append({"id": name, "label": "a sentence", "label_idx": truth[name][""]} if with_label else entry)
    if with_label:
        annotations = folder / "something-something-v2-validation-with-label.json"
    else:
        annotations = folder / "something-something-v2-validation.json"
        numbered = {label: str(index) for index, label in enumerate(labels)}
        (folder / "something-something-v2-labels.json").write_text(json.dumps(numbered))
    annotations.write_text(json.dumps(entries))
    return Tree("ssv2", annotations if with_label else folder, root, model, truth, answers)


def epic(folder: Path, heads: Mapping[str, Sequence[str]], *, jpegs: bool = False) -> Tree:
    """EPIC-KITCHENS-100: actions in a few long videos of two participants, P18 unseen, or in folders of frames."""
    model, root = folder / "ek100.safetensors", folder / "EPIC-KITCHENS"
    write_model(model, heads)
    videos = ("P01_11", "P01_12", "P18_02") if jpegs else ("P01_11", "P01_12", "P18_02", "P18_105")
    seconds = 4 if jpegs else 12
    paths = {}
    for seed, video in enumerate(videos, start=2000):
        if jpegs:
            paths[video] = root / video[:3] / "rgb_frames" / video
            render_jpegs(paths[video], seed, seconds * 60)
        else:
            paths[video] = root / video[:3] / "videos" / f"{video}.MP4"
            render(paths[video].with_suffix(".mp4"), seed, seconds * 30)
            paths[video].with_suffix(".mp4").rename(paths[video])
    if not jpegs:
        BREAKS["damaged"](paths["P01_12"])
    spans: dict[str, tuple[float, float]] = {}
    for video in videos:
        for number in range(6 if jpegs else 10):
            start = round((number * 7 % 10) * seconds / 12 + 0.13, 2)
            spans[f"{video}_{number}"] = start, round(start + 0.5 + 0.31 * (number % 4), 2)
    if jpegs:
        first = 1 + int(spans["P01_12_3"][0] * 60)
        for number in range(first, first + 60):
            (paths["P01_12"] / f"frame_{number:010d}.jpg").write_bytes(b"\xff\xd8 torn")
    for video, kind in (("P01_13", "missing"), ("P18_03", "empty"), ("P18_04", "text")):
        paths[video] = root / video[:3] / "videos" / f"{video}.MP4"
        paths[video].parent.mkdir(parents=True, exist_ok=True)
        paths[video].touch()
        BREAKS[kind](paths[video])
        spans[f"{video}_0"] = 0.5, 2.0
    loaded = load_model(model)
    answers = {}
    for name, span in spans.items():
        path = paths[name.rpartition("_")[0]]
        if path.exists():
            answers[name] = classify(path, model=loaded, part=Part(*span), topk=400)[0]
    truth = _epic_truth(list(spans), answers)
    annotations = folder / "EPIC_100_validation.csv"
    with annotations.open("w", newline="") as file:
        rows = csv.DictWriter(file, EPIC_COLUMNS, restval="")
        rows.writeheader()
        for name, (start, stop) in spans.items():
            about = {"narration_id": name, "participant_id": name[:3], "video_id": name.rpartition("_")[0]}
            times = {"start_timestamp": f"00:00:{start:05.2f}", "stop_timestamp": f"00:00:{stop:05.2f}"}
            rows.writerow(about | times | {f"{head}_class": index for head, index in truth[name].items()})
    (folder / "EPIC_100_unseen_participant_ids_validation.csv").write_text("participant_id\nP18\nP32\n")
    for head in heads:
        rare = sorted({truth[name][head] for name in list(truth)[::3]})
        (folder / f"EPIC_100_tail_{head}s.csv").write_text("\n".join([head, *map(str, rare)]) + "\n")
    return Tree("ek100", annotations, root, model, truth, answers)


def _broken(names: Sequence[str], kinds: Sequence[str] = tuple(BREAKS)) -> dict[str, str]:
    """The items that are broken, one of each kind, spread over the data set."""
    return {names[3 + 8 * place % len(names)]: kind for place, kind in enumerate(kinds)}


def _classified(
    paths: Mapping[str, Path], model: Path, broken: Mapping[str, str], *, first_seed: int
) -> dict[str, Classification]:
    """Render the videos and break some; what the library says of each that is there."""
    for number, (name, path) in enumerate(paths.items()):
        render(path, first_seed + number, 18 + number % 7)
        if name in broken:
            BREAKS[broken[name]](path)
    there = [name for name, path in paths.items() if path.exists()]
    results = classify([paths[name] for name in there], model=load_model(model), topk=400)
    return dict(zip(there, results, strict=True))


def _truth(
    names: Sequence[str], answers: Mapping[str, Classification], heads: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, int]]:
    """True classes that make the accuracy known: each at its wanted rank; any class where there is no answer."""
    truth = {}
    for number, name in enumerate(names):
        scored = name in answers and answers[name].status != "error"
        truth[name] = {
            head: answers[name].heads[head][wanted_rank(number)].index if scored else number % len(labels)
            for head, labels in heads.items()
        }
    return truth


def _epic_truth(names: Sequence[str], answers: Mapping[str, Classification]) -> dict[str, dict[str, int]]:
    """Verbs and nouns right together, one of them right, or none."""
    places = ((0, 0), (0, 3), (6, 0), (1, 1), (2, 9))
    truth = {}
    for number, name in enumerate(names):
        scored = name in answers and answers[name].status != "error"
        verb, noun = places[number % len(places)]
        truth[name] = {"verb": number, "noun": 2 * number}
        if scored:
            heads = answers[name].heads
            truth[name] = {"verb": heads["verb"][verb].index, "noun": heads["noun"][noun].index}
    return truth
