"""A folder of many short videos, end to end, against what a user would write today, in one run.

    python -m benchmarks.folder [--clips 500] [--rounds 3] [--models built-in tada2d] [--media DIR] [--cache DIR]

The clips (`folder_clips.py`) last 3 to 10 s, in MP4, Matroska, WebM and AVI, from 320x240 to 1920x1080, with groups of
12 and of 250 frames, half of them of real videos. They are made once and kept in --cache.

Ours are the commands `tada classify FOLDER -r --views 1x1` and `tada eval --dataset folder --data-root FOLDER --views
1x1`. Beside them: torchcodec in a Dataset, torch's DataLoader with two workers and batches of eight, the same frames,
the same preprocessing by torchvision, the scores of each clip written to a file; once with the network in the published
form (`grouped.py`) and once with ours. torchcodec is no dependency of this project: install it to run this.

Each way has a process of its own, which lives through all rounds, so that imports, first calls and its end do not
count. What counts is the CPU time of that process and those it starts, from the loaded model to the last line that is
written: listing the folder, reading, scoring, writing. The ways take turns, each container by itself; a run over one
clip, with the start of the DataLoader's workers, is taken off, so that few clips give the figures of many. What the
network takes is measured in the same runs, on the very tensors, as the CPU time of the one thread that computes it, and
taken off both sides for the ratios "without the network". Before any timing the ways must agree on every clip.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from benchmarks.conditions import conditions, median_and_range
from tadacli.zoo import DEFAULT_MODEL
from tadacli.zoo.manifest import manifest

Scores: TypeAlias = dict[int, float]  # of one clip, by class

BUILT_IN, TADA2D = "built-in", "tada2d"
CLASSIFY, EVAL = "tada classify", "tada eval"
PUBLISHED, SAME = "DataLoader, published form", "DataLoader, our network"
OURS, THEIRS = (CLASSIFY, EVAL), (PUBLISHED, SAME)
VIEWS, BATCH_SIZE, NUM_WORKERS = "1x1", 8, 2
GOAL, WISH, LIMIT = 0.8, 0.6, 1.0  # of the CPU time of the DataLoader, both without the network; no container above
# Frames are the same, but torchvision resizes whole grey levels and rounds to them: half a level of 255.
TOLERANCE = 0.02


@dataclass(frozen=True)
class Cost:
    """CPU seconds of a way, with all processes that it started, and of the network in them."""

    cpu: float
    network: float

    @property
    def rest(self) -> float:
        """What is no part of the network."""
        return self.cpu - self.network


# --- one way, in a process of its own -----------------------------------------------------------------------


class Clock:
    """CPU times of this process: that of the thread that computes the network, and all since the model was loaded."""

    def __init__(self) -> None:
        self._network = self._start = 0.0

    def timed(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, which is the network, with its time taken."""

        def timed(*arguments: Any) -> Any:
            start = time.thread_time()
            try:
                return call(*arguments)
            finally:
                self._network += time.thread_time() - start

        return timed

    def starting(self, load: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, which loads the model; the time begins as it returns."""

        def starting(*arguments: Any, **options: Any) -> Any:
            loaded = load(*arguments, **options)
            self._network, self._start = 0.0, sum(os.times()[:4])
            return loaded

        return starting

    def cost(self) -> Cost:
        """What was taken since, also by processes that have ended."""
        return Cost(sum(os.times()[:4]) - self._start, self._network)


def run_ours(way: str, folder: Path, model: str, output: Path) -> None:
    """The command, as a person runs it."""
    from tadacli.__main__ import main

    if way == CLASSIFY:
        words = ["classify", str(folder), "-r", "--topk", "1000", "-o", str(output)]
    else:
        words = ["eval", "--dataset", "folder", "--data-root", str(folder), "--save-predictions", str(output)]
        words += ["--format", "json", "-o", str(output.with_suffix(".report.json"))]
    sys.argv = ["tada", *words, "--model", model, "--views", VIEWS, "--device", "cpu", "-q"]
    try:
        main()
    except SystemExit as ended:
        if ended.code:
            raise


def run_theirs(way: str, folder: Path, model: str, output: Path, clock: Clock) -> None:
    """What a user would write today: a Dataset that reads by torchcodec, a DataLoader, and a loop."""
    import torch
    from torch.utils.data import DataLoader

    from benchmarks.folder_loader import Clips
    from benchmarks.grouped import grouped_form
    from tadacli.zoo.loading import load_model, load_trained

    def load() -> Any:
        found = load_model(model, device="cpu") if way == SAME else load_trained(model)
        return found.spec, found.network if way == SAME else grouped_form(found.network).eval()

    spec, network = clock.starting(load)()
    paths = sorted(str(path) for path in folder.rglob("*") if path.is_file())
    loader = DataLoader(Clips(paths, spec.input), batch_size=BATCH_SIZE, num_workers=NUM_WORKERS)

    @torch.inference_mode()
    def scores_of(clips: torch.Tensor) -> torch.Tensor:
        return network(clips).softmax(dim=-1)

    labels, scores_of = spec.heads[""], clock.timed(scores_of)
    with output.open("w") as file:
        for names, clips in loader:
            values, classes = scores_of(clips).sort(dim=-1, descending=True)
            for name, scores, best in zip(names, values.tolist(), classes.tolist(), strict=True):
                topk = [
                    {"label": labels[index], "index": index, "score": score}
                    for index, score in zip(best, scores, strict=True)
                ]
                file.write(json.dumps({"path": name, "topk": topk}) + "\n")


def serve(way: str) -> None:
    """Answers each line of the input, [folder, model, output], with what it took."""
    clock = Clock()
    if way in OURS:
        from tadacli.cli import options
        from tadacli.scoring import views

        views.class_scores = clock.timed(views.class_scores)
        options.repeatable_model = clock.starting(options.repeatable_model)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the command prints
    for line in sys.stdin:
        folder, model, output = json.loads(line)
        for old in (Path(output), Path(output).with_suffix(".report.json")):
            old.unlink(missing_ok=True)
        if way in OURS:
            run_ours(way, Path(folder), model, Path(output))
        else:
            run_theirs(way, Path(folder), model, Path(output), clock)
        cost = clock.cost()
        print(json.dumps([cost.cpu, cost.network]), file=answers, flush=True)


class Worker:
    """One way in its own process."""

    def __init__(self, way: str) -> None:
        self.way, self._files = way, ExitStack()
        # One thread for the network, whose CPU time is that of its thread then, and none that waits in a loop.
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
        if way in THEIRS and (libraries := self._files.enter_context(ffmpeg_of_pyav())):
            environment["LD_LIBRARY_PATH"] = libraries
        command = [sys.executable, "-m", "benchmarks.folder", "--way", way]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment, text=True)

    def run(self, folder: Path, model: str, output: Path) -> Cost:
        """The way over a folder; `output` is written."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps([str(folder), model, str(output)]) + "\n")
            self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(f"{self.way} failed on {folder}")
        return Cost(*json.loads(answer))

    def close(self) -> None:
        """Lets the process end."""
        self._process.communicate()
        self._files.close()


@contextmanager
def ffmpeg_of_pyav() -> Iterator[str]:
    """Where torchcodec finds the very FFmpeg that PyAV brings, so that both sides decode alike; "" where it is not."""
    import av

    brought = Path(av.__file__).parents[1] / "av.libs"
    with tempfile.TemporaryDirectory(prefix="tada-ffmpeg-") as folder:
        for library in brought.glob("lib[as][vw]*-*.so.*"):
            name, _, version = library.name.partition("-")
            Path(folder, f"{name}.so.{version.split('.')[2]}").symlink_to(library)
        yield f"{folder}{os.pathsep}{brought}" if brought.is_dir() else ""


# --- what they work on --------------------------------------------------------------------------------------


def laid_out(path: Path, clips: Sequence[Path]) -> Folder:
    """A folder with these clips in folders of labels, as `tada eval folder` wants them, beside one with the first."""
    labels, first = built_in_labels(), path.with_name(f"first {path.name}")
    for root, chosen in ((path, clips), (first, clips[:1])):
        for number, clip in enumerate(chosen):
            target = root / labels[number % len(labels)] / clip.name
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                target.hardlink_to(clip)
            except OSError:  # on another file system
                shutil.copy(clip, target)
    return Folder(path.name, path, first, len(clips))


def built_in_labels() -> Sequence[str]:
    """The labels of the built-in model."""
    return manifest()[DEFAULT_MODEL].heads[""]


def model_file(name: str, scratch: Path) -> str:
    """What `--model` takes: the built-in model, or a file of TAda2D-R50 with random weights and the same labels."""
    if name == BUILT_IN:
        return DEFAULT_MODEL
    from benchmarks.views import fresh_network
    from tadacli.zoo.checkpoints import write_checkpoint

    spec = replace(manifest()["tada2d_r50.k400_8x8"], heads={"": tuple(built_in_labels())})
    write_checkpoint(scratch / "tada2d.safetensors", fresh_network(spec).state_dict(), spec)
    return str(scratch / "tada2d.safetensors")


# --- whether the ways agree ---------------------------------------------------------------------------------


def scores_in(output: Path, way: str) -> dict[str, Scores]:
    """The scores of each clip by class, as a way has written them."""
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    if way == EVAL:
        rows = [row for row in rows if "scores" in row]
        return {row["path"]: dict(enumerate(row["scores"][""])) for row in rows}
    return {row["path"]: {each["index"]: each["score"] for each in row["topk"]} for row in rows}


def difference(workers: Sequence[Worker], folder: Folder, model: str, scratch: Path) -> float:
    """The largest difference of a score between the ways; ends the run where they disagree."""
    found: dict[str, dict[str, Scores]] = {}
    for worker in workers:
        worker.run(folder.path, model, scratch / "found.jsonl")
        found[worker.way] = scores_in(scratch / "found.jsonl", worker.way)
    return max(check(found[CLASSIFY], scores, way) for way, scores in found.items() if way != CLASSIFY)


def check(ours: dict[str, Scores], others: dict[str, Scores], way: str) -> float:
    """The largest difference of a score; ends the run where it is too large, or the best class is another one.

    Another best class is none where both classes score so much alike that the difference may exchange them.
    """
    largest = 0.0
    for path, scores in ours.items():
        other = others.get(path)
        if other is None:
            raise SystemExit(f"{way} lacks {path}; nothing was timed")
        apart = max(abs(score - other[index]) for index, score in scores.items())
        best, theirs = max(scores, key=scores.__getitem__), max(other, key=other.__getitem__)
        if not apart <= TOLERANCE or scores[best] - scores[theirs] > TOLERANCE:
            raise SystemExit(f"{path}: {way} differs from {CLASSIFY} by {apart:.3f}; nothing was timed")
        largest = max(largest, apart)
    return largest


# --- measuring ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Folder:
    """The clips of one container, each in a folder of a label, and such a folder with the first of them alone."""

    name: str
    path: Path
    first: Path
    count: int


def measure(
    workers: Sequence[Worker], folders: Sequence[Folder], model: str, *, rounds: int, scratch: Path
) -> dict[str, dict[str, list[Cost]]]:
    """By way and container, what a clip costs in each round beyond the first one, with which workers are started.

    The ways take turns, each first now and then.
    """
    costs: dict[str, dict[str, list[Cost]]] = {
        worker.way: {folder.name: [] for folder in folders} for worker in workers
    }
    for number in range(rounds):
        first = number % len(workers)
        for folder in folders:
            for worker in [*workers[first:], *workers[:first]]:
                one, all_ = (worker.run(path, model, scratch / "found.jsonl") for path in (folder.first, folder.path))
                left = folder.count - 1
                each = Cost((all_.cpu - one.cpu) / left, (all_.network - one.network) / left)
                costs[worker.way][folder.name].append(each)
        print(f"round {number + 1} of {rounds} is done", file=sys.stderr)
    return costs


def print_table(costs: dict[str, dict[str, list[Cost]]], folders: Sequence[Folder]) -> None:
    """A line for each of our commands and each container, and all of them together."""
    print(
        "| command | clips | CPU a clip / "
        + " | / ".join(THEIRS)
        + " | without the network: / "
        + " | / ".join(THEIRS)
        + " | goals |"
    )
    print("| --- " * 7 + "|")
    counts = {folder.name: folder.count for folder in folders}
    for way in OURS:
        for name in [*counts, "all"]:
            weights = counts if name == "all" else {name: 1}
            ours = _together(costs[way], weights)
            cells, rests = [], []
            for other in THEIRS:
                theirs = _together(costs[other], weights)
                cells.append([mine.cpu / his.cpu for mine, his in zip(ours, theirs, strict=True)])
                rests.append([mine.rest / his.rest for mine, his in zip(ours, theirs, strict=True)])
            worst = max(map(statistics.median, rests))
            shown = " | ".join(map(median_and_range, [*cells, *rests]))
            print(f"| {way} | {name}, {sum(counts.values()) if name == 'all' else counts[name]} | {shown} | ", end="")
            print(f"{_goals(worst, is_all=name == 'all')} |")


def _together(costs: dict[str, list[Cost]], weights: dict[str, int]) -> list[Cost]:
    """The costs of each round, over several containers."""
    rounds = zip(*(costs[name] for name in weights), strict=True)
    total = sum(weights.values())
    return [
        Cost(
            sum(cost.cpu * weight for cost, weight in zip(each, weights.values(), strict=True)) / total,
            sum(cost.network * weight for cost, weight in zip(each, weights.values(), strict=True)) / total,
        )
        for each in rounds
    ]


def _goals(ratio: float, *, is_all: bool) -> str:
    goals = (GOAL, WISH) if is_all else (LIMIT,)
    return ", ".join(f"{goal} {'met' if ratio <= goal else 'missed'}" for goal in goals)


def main() -> None:
    """Make the clips, compare what the ways find, measure, and print a table for each model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--models", nargs="+", choices=(BUILT_IN, TADA2D), default=[BUILT_IN, TADA2D])
    parser.add_argument("--media", type=Path, help="a folder of real videos, as ../shared/media, which is the default")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "tada-benchmarks" / "folder")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        serve(options.way)
        return
    from benchmarks.folder_clips import make_clips, shared_media

    media = options.media or shared_media()
    made = make_clips(options.cache, options.clips, media=media)
    whole = f"{options.clips} clips, {options.rounds} rounds, {'half' if media else 'none'} of the clips real"
    print(f"{conditions('torch', 'av', 'torchcodec', 'torchvision')}, 1 thread, {whole}")
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tada-folder-")))
        folders = [laid_out(scratch / container, paths) for container, paths in made.items()]
        workers = [Worker(way) for way in (*OURS, *THEIRS)]
        for worker in workers:
            stack.callback(worker.close)
        for model_name in options.models:
            model = model_file(model_name, scratch)
            apart = max(difference(workers, folder, model, scratch) for folder in folders)
            print(f"{model_name}: the scores of a clip differ by {apart:.4f} at most", flush=True)
            print_table(measure(workers, folders, model, rounds=options.rounds, scratch=scratch), folders)


if __name__ == "__main__":
    main()
