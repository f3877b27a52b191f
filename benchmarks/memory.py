"""Peak memory of `tada detect` or `tada features` on a short and on a long video, which must be the same.

    python -m benchmarks.memory [--command detect|features] [--model NAME --weights FILE] [--minutes 10 60]
                                [--head temporal|pyramid|bmn [--stride SECONDS] [--channels N]]
                                [--cache DIR] [--once FILE] [-- OPTION ...]

The videos are one 20 s encode of 1080p59.94, repeated, or a file of as many seconds; what stands after -- goes to the
command. With `--head` they are searched by a head with random weights, whose features the model makes on the way, one
every `--stride`; with `--channels` there are no videos, but files with as many random features of so many channels.

Each run is a process of its own; beside them stands a process that only imports the same libraries. Peaks are
those that the kernel counts for each process since it began (VmHWM); what getrusage gives is never less than the peak
of the process that started it. Linux only.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.detect import FILES
from benchmarks.long_video import encode, repeat_packets
from tadacli.detection.feature_file import VALUES, Columns, write_columns
from tadacli.detection.features import VideoFeatures
from tadacli.models import build_over_features
from tadacli.sampling.snippets import SnippetSettings
from tadacli.specs import FeatureSteps, HeadSpec, WeightsSource
from tadacli.training import HeadKind
from tadacli.training.heads.settings import head_settings
from tadacli.zoo.checkpoints import read_checkpoint, write_checkpoint
from tadacli.zoo.loading import TRUNK_FILE, Model, load_model

ENCODED_SECONDS = 20
NUM_CLASSES = 97  # the verbs of EPIC-KITCHENS-100


def peak_of(code: str, *arguments: str) -> int:
    """Peak resident bytes of a Python process that runs `code`."""
    peak = "next(line for line in open('/proc/self/status') if line.startswith('VmHWM')).split()[1]"
    report = f"import sys; print({peak}, file=sys.__stdout__)"
    wrapped = f"import sys\ntry:\n    {code}\nfinally:\n    {report}"
    out = subprocess.run([sys.executable, "-c", wrapped, *arguments], check=True, capture_output=True, text=True)
    return int(out.stdout.split()[-1]) * 1024


def write_head(folder: Path, kind: HeadKind, steps: FeatureSteps, trunk: Model | None) -> None:
    """Writes a head with random weights as a run leaves one: at no place is any class as good as impossible."""
    folder.mkdir(exist_ok=True)
    torch.manual_seed(0)
    settings = head_settings(kind)
    arguments: dict[str, object] = {"in_channels": steps.num_channels, **settings.arguments}
    arguments |= {"members": settings.members} if settings.members > 1 else {}
    network = build_over_features(settings.architecture, num_classes=NUM_CLASSES, **arguments)
    labels = tuple(f"class {number}" for number in range(NUM_CLASSES))
    spec = HeadSpec(
        name=f"{kind}.random",
        architecture=settings.architecture,
        task="action",
        dataset="none",
        heads={"": labels},
        arguments=arguments,
        source=WeightsSource(),
        steps=steps,
    )
    write_checkpoint(folder / "model.safetensors", network.state_dict(), spec)
    if trunk is not None:
        write_checkpoint(folder / TRUNK_FILE, read_checkpoint(trunk.weights_path).state_dict, trunk.spec)


def write_random_features(folder: Path, minutes: int, steps: FeatureSteps) -> None:
    """Writes a feature file of a video that is not there."""
    folder.mkdir(exist_ok=True)
    count = round(60 * minutes / steps.stride_seconds)
    centres = (np.arange(count) + 0.5) * steps.stride_seconds
    spans = np.stack([centres - steps.stride_seconds / 2, centres + steps.stride_seconds / 2], axis=1)
    nothing = np.empty((count, 0), np.float32)
    facts = VideoFeatures("v", nothing, spans, centres, steps.stride_seconds, 60.0 * minutes, (), None)

    def pieces() -> Iterator[NDArray[np.float32]]:
        random = np.random.default_rng(0)
        for first in range(0, count, 1024):
            yield random.standard_normal((min(1024, count - first), steps.num_channels), dtype=np.float32)

    columns = Columns(count, {VALUES: (steps.num_channels, pieces)})
    write_columns(folder / "v.npz", facts, columns, stored="float32", replace=True)


def head_model(options: argparse.Namespace) -> tuple[Path, FeatureSteps]:
    """The folder of a head for what is measured, and what features it takes."""
    folder = options.cache / "head"
    if options.channels is not None:
        steps = FeatureSteps(options.channels, options.stride)
        write_head(folder, options.head, steps, None)
        (folder / TRUNK_FILE).unlink(missing_ok=True)
        return folder, steps
    trunk = load_model(options.model, weights=options.weights, device="cpu")
    look = trunk.spec.input
    with torch.inference_mode():
        clips = torch.zeros(1, 3, look.clip_frames, look.crop_size, look.crop_size)
        num_channels = trunk.network.forward_features(clips).shape[1]  # type: ignore[operator]
    snippet_seconds = SnippetSettings().snippet_seconds(look)
    steps = FeatureSteps(num_channels, options.stride, trunk.spec.name, snippet_seconds=snippet_seconds)
    write_head(folder, options.head, steps, trunk)
    return folder, steps


def main() -> None:
    """Prints the peaks and how they compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--command", choices=["detect", "features"], default="detect")
    parser.add_argument("--head", choices=["temporal", "pyramid", "bmn"])
    parser.add_argument("--stride", type=float, default=8 / 60, help="of what a head takes, in seconds")
    parser.add_argument("--channels", type=int, help="of random features, in place of videos")
    parser.add_argument("more", nargs="*", help="options of the command, after --")
    parser.add_argument("--once", type=Path, help="20 seconds of video, in place of an encode")
    parser.add_argument("--model", default="r2plus1d_tiny.camera_motion")
    parser.add_argument("--weights")
    parser.add_argument("--minutes", type=int, nargs=2, default=[10, 60])
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "tada-benchmarks")
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    once = options.once or options.cache / "once.mp4"
    if options.channels is None and not once.exists():
        encode(once, seconds=ENCODED_SECONDS, options=FILES["x264 defaults"])
    bare = peak_of("import torch, torchvision, av, numpy, pandas, tqdm, safetensors, typer, rich")
    print(f"imports alone: {bare / 1e6:.0f} MB")
    model, steps = (options.model, None) if options.head is None else head_model(options)
    peaks = []
    for minutes in options.minutes:
        output = options.cache / "o"
        arguments = [options.command, "--model", str(model), "--format", "jsonl", "-o", str(output), *options.more]
        if options.channels is not None and steps is not None:
            write_random_features(options.cache / "random", minutes, steps)
            arguments += ["--features", str(options.cache / "random")]
        else:
            video = options.cache / f"{minutes} minutes of {once.stem}.mp4"
            if not video.exists():
                repeat_packets(once, video, times=minutes * 60 // ENCODED_SECONDS)
            arguments += [str(video)]
        arguments += ["--weights", options.weights] if options.weights and options.head is None else []
        if options.command == "features":
            shutil.rmtree(output, ignore_errors=True)
        else:
            output.unlink(missing_ok=True)
        run = f"from tadacli.__main__ import main; sys.argv = ['tada', *{arguments!r}]; main()"
        peaks.append(peak_of(run))
        print(
            f"{minutes} minutes: {peaks[-1] / 1e6:.0f} MB, {(peaks[-1] - bare) / 1e6:.0f} MB above imports", flush=True
        )
    print(f"long / short: {peaks[1] / peaks[0]:.3f}")


if __name__ == "__main__":
    main()
