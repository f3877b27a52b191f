"""Scores of one video from 10 clips x 3 crops, end to end, against the published way, in one run.

    python -m benchmarks.views [--views 10x3] [--rounds 3] [--batch 6] [--threads N] [--quick]

The video lasts ten seconds: 340x256 at 30 frames a second, H.264, made by the script. The network is TAda2D-R50 on
clips of 8 frames of 256x256 with random weights. The published way takes each view by itself: the file is opened, its 8
frames are decoded from the key frame before them, and the network in the published form (`grouped.py`) scores a
batch of one in float32. Ours is what `tada classify` does: all clips are planned, each frame is decoded once, and
views are scored in batches; in float32 and in bfloat16. Reading the weights is not counted.

The ways take turns; ratios are of wall time, and of the CPU time of all threads, which other work on the machine
changes less. Before any timing all of them must agree: on the best class, and in float32 on every averaged score. Each
runs as people run it: ours keeps freed memory for the next pass, as the command does; the published way has PyTorch's
usual allocation, in a process of its own, which rests while ours is at work.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import av
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.conditions import conditions, median_and_range
from benchmarks.grouped import grouped_form, leave_the_start
from benchmarks.own_process import OwnProcess, Times, timed
from tadacli.allocator import keep_freed_memory
from tadacli.classification import classify
from tadacli.models import build
from tadacli.sampling.clips import clip_indices
from tadacli.scoring.options import parse_views
from tadacli.specs import EvalProtocol, InputSpec, ModelSpec
from tadacli.transforms import crop_frames, resize_frames
from tadacli.zoo.checkpoints import write_checkpoint
from tadacli.zoo.loading import Model, load_model
from tadacli.zoo.manifest import manifest

MODEL = "tada2d_r50.k400_8x8"
FPS, SECONDS, HEIGHT, WIDTH = 30, 10, 256, 340
# Such that the best class has a few percent: with fresh weights all have 1 / 400, and would agree whatever they are.
HEAD_STD = 0.5
TOLERANCE = 1e-4  # of an averaged score in float32
GOALS = {"float32": 2.4, "bfloat16": 5.0}
QUICK_VIEWS, QUICK_ROUNDS = "1x3", 1

Scores = np.ndarray  # float64 (num_classes,)
Way = Callable[[], tuple[Scores, Times]]


# --- the two ways ---------------------------------------------------------------------------------------


def ours(video: Path, model: Model, views: EvalProtocol, *, batch_size: int) -> Scores:
    """The averaged scores as `tada classify` finds them."""
    labels = model.spec.heads[""]
    (result,) = classify(video, model=model, views=views, topk=len(labels), batch_size=batch_size)
    assert result.status == "ok", result.error
    scores = np.empty(len(labels))
    for each in result.heads[""]:
        scores[each.index] = each.score
    return scores


def published(video: Path, network: nn.Module, spec: InputSpec, views: EvalProtocol) -> Scores:
    """The averaged scores, nothing shared between views: each is opened, decoded, prepared and scored by itself."""
    total = torch.zeros(())
    for clip in range(views.num_clips):
        for crop in range(views.num_crops):
            view = view_by_itself(video, spec, clip=clip, crop=crop, views=views)
            with torch.inference_mode():
                total = total + network(view[None])[0].softmax(-1).double()
    return (total / (views.num_clips * views.num_crops)).numpy()


def view_by_itself(video: Path, spec: InputSpec, *, clip: int, crop: int, views: EvalProtocol) -> Tensor:
    """One normalised view (3, T, crop, crop) of a video whose frames are evenly spaced."""
    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        wanted = clip_indices(
            spec.sampling,
            stream.frames,
            fps=float(stream.average_rate),
            clip_frames=spec.clip_frames,
            frame_stride=spec.frame_stride,
            target_fps=spec.target_fps,
            num_clips=views.num_clips,
            clip_index=clip,
            minus_interval=spec.minus_interval,
        )
        step = round(1 / (stream.average_rate * stream.time_base))
        container.seek(min(wanted) * step, stream=stream)
        frames = {}
        for frame in container.decode(stream):
            index = frame.pts // step
            if index in wanted:
                frames[index] = frame.to_ndarray(format="rgb24")
            if index >= max(wanted):
                break
    images = resize_frames(np.stack([frames[index] for index in wanted]), short_side=spec.short_side)
    if views.num_crops > 1:  # only the crop that is wanted is prepared
        left = (images.shape[-1] - spec.crop_size) * crop // (views.num_crops - 1)
        images = images[..., left : left + spec.crop_size]
    return crop_frames(images, crop_size=spec.crop_size, num_crops=1, mean=spec.mean, std=spec.std)[0]


# --- what they work on ------------------------------------------------------------------------------------


def encode_video(path: Path) -> None:
    """Writes ten seconds of a texture that pans, with noise, with x264's default groups of pictures."""
    random = np.random.default_rng(0)
    texture = smooth_texture(random)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=FPS, options={"b": "800k"})
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        for number in range(FPS * SECONDS):
            down, across = int(100 + 90 * np.sin(number / 35)), int(80 + 70 * np.sin(number / 20))
            noise = random.integers(0, 6, (HEIGHT, WIDTH), dtype=np.uint8)
            luma = texture[down : down + HEIGHT, across : across + WIDTH] + noise
            planes = np.full((HEIGHT * 3 // 2, WIDTH), 128, dtype=np.uint8)
            planes[:HEIGHT] = luma
            out.mux(stream.encode(av.VideoFrame.from_ndarray(planes, format="yuv420p")))
        out.mux(stream.encode(None))


def smooth_texture(random: np.random.Generator) -> np.ndarray:
    """uint8 (512, 512): noise of several sizes of grain, the coarser the stronger."""
    values = torch.zeros(1, 1, 512, 512)
    for cells in (8, 32, 128):
        grain = torch.from_numpy(random.uniform(-1, 1, (1, 1, cells, cells))).float()
        values += F.interpolate(grain, size=(512, 512), mode="bicubic") / cells**0.5
    return (120 + 150 * values[0, 0]).clamp(30, 220).byte().numpy()


def fresh_network(spec: ModelSpec) -> nn.Module:
    """The network with random weights, away from where fresh weights stand."""
    torch.manual_seed(0)
    network = build(spec.architecture, num_classes=spec.num_classes, **spec.arguments).eval()
    leave_the_start(network)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.startswith("head.") and parameter.dim() > 1:
                parameter.normal_(std=HEAD_STD)
    return network.requires_grad_(requires_grad=False)


# --- measuring --------------------------------------------------------------------------------------------


def check(reference: Scores, scores: Scores, dtype: str) -> float:
    """The largest difference of an averaged score; ends the run where the ways disagree."""
    difference = float(np.abs(scores - reference).max())
    if scores.argmax() != reference.argmax():
        raise SystemExit(f"{dtype}: class {scores.argmax()} instead of {reference.argmax()}; nothing was timed")
    if dtype == "float32" and not difference <= TOLERANCE:
        raise SystemExit(f"{dtype}: scores differ by {difference:.1e}; nothing was timed")
    return difference


def main() -> None:
    """Check, measure, and print one line for each dtype."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--views", default="10x3")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=6, help="views that ours scores at once")
    parser.add_argument("--dtypes", nargs="+", choices=GOALS, default=list(GOALS))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_VIEWS} views and {QUICK_ROUNDS} round, to try it")
    options = parser.parse_args()
    if options.quick:
        options.views, options.rounds = QUICK_VIEWS, QUICK_ROUNDS
    torch.set_num_threads(options.threads)
    views, spec = parse_views(options.views), manifest()[MODEL]
    with tempfile.TemporaryDirectory() as folder:
        video, weights = Path(folder) / "video.mp4", Path(folder) / "weights.safetensors"
        encode_video(video)
        write_checkpoint(weights, fresh_network(spec).state_dict(), spec)
        theirs = OwnProcess(published_way, video, views, options.threads)
        keep_freed_memory()
        ways: dict[str, Way] = {}
        for dtype in options.dtypes:
            model = load_model(weights, device="cpu", dtype=dtype)
            ways[dtype] = partial(timed, partial(ours, video, model, views, batch_size=options.batch))
        run = f"{options.threads} threads, {options.rounds} rounds, {views} views, batches of {options.batch}"
        print(f"{conditions('torch', 'av')}, {run}")
        measure(theirs, ways, rounds=options.rounds)


def published_way(video: Path, views: EvalProtocol, threads: int) -> Callable[[], Scores]:
    """The published way for a video, in the process that it has for itself."""
    torch.set_num_threads(threads)
    spec = manifest()[MODEL]
    return partial(published, video, grouped_form(fresh_network(spec)), spec.input, views)


def measure(theirs: Way, ways: dict[str, Way], *, rounds: int) -> None:
    """Compare what the ways find, then time them in turns, each first in its round now and then."""
    reference, _ = theirs()
    differences = {dtype: check(reference, way()[0], dtype) for dtype, way in ways.items()}
    calls: dict[str, Way] = {"published": theirs, **ways}
    times: dict[str, list[Times]] = {name: [] for name in calls}
    names = list(calls)
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            times[name].append(calls[name]()[1])
    print(f"the best class has {reference.max():.1%}")
    print("| ours in | published / ours, wall time: median (min to max) | CPU time | goal | scores differ by |")
    print("| --- | --- | --- | --- | --- |")
    for dtype in ways:
        pairs = list(zip(times["published"], times[dtype], strict=True))
        wall, cpu = ([slow[which] / fast[which] for slow, fast in pairs] for which in (0, 1))
        ratios = f"{median_and_range(wall)} | {statistics.median(cpu):.2f}"
        print(f"| {dtype} | {ratios} | {GOALS[dtype]} | {differences[dtype]:.0e} |")


if __name__ == "__main__":
    main()
