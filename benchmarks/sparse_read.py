"""Time to read 8 frames spread over a short clip, against other ways to read the same frames.

    python -m benchmarks.sparse_read [--rounds 7] [--repetitions 20] [--source VIDEO] [--cache DIR]

Clips of 10 s, 340x256, 30 fps, H.264 by x264 medium, with a key frame every 12 frames and every 250. They show a
made scene, whose packets are about as large as those of people filmed by a hand-held camera, or the first 300
frames of --source. Everything counts: opening, finding out which frames there are, decoding, RGB. Each way runs in
a process of its own, which lives through all rounds, so that imports and first calls do not count; the ways take
turns. Before anything is timed, all must give the same frames. decord and torchcodec, with one thread each, are
measured where the interpreter that runs this can load them. What "nothing proven" takes is the least for whoever
opens a file by PyAV as it is: it is told which packets the frames need, decodes these, and believes what comes out. The
same is measured of a file that is opened as ours is, without what FFmpeg decodes at each opening.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from fractions import Fraction
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeAlias

import numpy as np

from benchmarks.conditions import conditions, median_and_range

FPS, NUM_FRAMES, HEIGHT, WIDTH = 30, 300, 256, 340
NUM_WANTED = 8
FILES = {"GOP 12": {"g": "12"}, "GOP 250": {"g": "250"}}
OURS, THROUGH = "ours", "PyAV decode-through"
ONE_THREAD = "the same with one thread"
LEAST, LEAST_OF_ALL = "nothing proven", "nothing proven, opened by headers"
THROUGH_GOALS = {"GOP 12": 0.25, "GOP 250": 0.6}
PEER_GOAL = 0.7
PEERS = ("decord", "torchcodec")

Frames: TypeAlias = np.ndarray
Reader: TypeAlias = Callable[[str, list[int]], Frames]


# --- the ways to read: each imports its own library alone, since several in one process have hung -----------


def ours() -> Reader:
    from tadacli.video.reading import read_frames

    return read_frames


def pyav_decode_through() -> Reader:
    """Every frame of the file decoded once with PyAV's default settings, and the wanted ones made RGB."""
    import av

    def read(path: str, wanted: list[int]) -> Frames:
        rows = {}
        with av.open(path) as container:
            for index, frame in enumerate(container.decode(video=0)):
                if index in wanted:
                    rows[index] = frame.to_ndarray(format="rgb24")
        return np.stack([rows[index] for index in wanted])

    return read


def pyav_one_thread() -> Reader:
    """Decode-through without the threads that PyAV starts by default, for decoding and for RGB."""
    import av

    def read(path: str, wanted: list[int]) -> Frames:
        rows = {}
        with av.open(path) as container:
            container.streams.video[0].codec_context.thread_count = 1
            for index, frame in enumerate(container.decode(video=0)):
                if index in wanted:
                    rows[index] = frame.to_ndarray(format="rgb24", threads=1)
        return np.stack([rows[index] for index in wanted])

    return read


def nothing_proven(*, by_headers: bool = False) -> Reader:
    """The packets that the frames need, which it is told, decoded with one thread, and made RGB as they come."""
    import av

    from tadacli.video.container import open_stream
    from tadacli.video.decode_plan import needed_packets
    from tadacli.video.frame_table import build_table
    from tadacli.video.opening import open_for_frames

    told: dict[str, list[int]] = {}

    def needed(path: str, wanted: list[int]) -> list[int]:
        with open_stream(path) as (container, stream):
            table, _ = build_table(path, container, stream)
        return np.flatnonzero(needed_packets(table.packets, np.array(wanted))).tolist()

    def read(path: str, wanted: list[int]) -> Frames:
        if path not in told:
            told[path] = needed(path, wanted)
        rows = {}
        with ExitStack() as files:
            if by_headers:
                container, stream = files.enter_context(open_for_frames(path))
            else:
                container = files.enter_context(av.open(path))
                stream = container.streams.video[0]
                stream.codec_context.thread_count = 1
            codec = stream.codec_context
            packets = [packet for packet in container.demux(video=0) if packet.size]
            for packet in [*(packets[number] for number in told[path]), None]:
                for frame in codec.decode(packet):
                    index = round(frame.pts * stream.time_base * FPS)
                    if index in wanted:
                        rows[index] = frame.to_ndarray(format="rgb24", threads=1)
        return np.stack([rows[index] for index in wanted])

    return read


def decord() -> Reader:
    from decord import VideoReader

    return lambda path, wanted: VideoReader(path, num_threads=1).get_batch(wanted).asnumpy()


def torchcodec() -> Reader:
    import torch
    from torchcodec.decoders import VideoDecoder

    torch.set_num_threads(1)  # of its pool, which takes part in the work and waits in a loop

    def read(path: str, wanted: list[int]) -> Frames:
        decoder = VideoDecoder(path, dimension_order="NHWC", num_ffmpeg_threads=1, seek_mode="exact")
        return decoder.get_frames_at(wanted).data.numpy()

    return read


WAYS = {
    OURS: ours,
    THROUGH: pyav_decode_through,
    ONE_THREAD: pyav_one_thread,
    LEAST: nothing_proven,
    LEAST_OF_ALL: partial(nothing_proven, by_headers=True),
    "decord": decord,
    "torchcodec": torchcodec,
}


def wanted_frames() -> list[int]:
    """The frames in the middles of equal parts of the clip."""
    return [int((part + 0.5) * NUM_FRAMES / NUM_WANTED) for part in range(NUM_WANTED)]


# --- one way in a process of its own ------------------------------------------------------------------------


def serve(name: str) -> None:
    """Answers each line of the input, [file, number of repetitions], with the checksum of the frames and the times."""
    read, wanted = WAYS[name](), wanted_frames()
    for line in sys.stdin:
        path, repetitions = json.loads(line)
        cpu_seconds, wall_seconds = [], []
        for _ in range(repetitions):
            start = time.process_time(), time.perf_counter()
            frames = read(path, wanted)
            cpu_seconds.append(time.process_time() - start[0])
            wall_seconds.append(time.perf_counter() - start[1])
        times = {"cpu": min(cpu_seconds), "wall": min(wall_seconds)}  # others' work only ever adds to it
        print(json.dumps({"sum": zlib.crc32(np.ascontiguousarray(frames)), **times}), flush=True)


class Worker:
    """One way in its own process."""

    def __init__(self, name: str) -> None:
        command = [sys.executable, "-m", "benchmarks.sparse_read", "--way", name]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests, self._answers = self._process.stdin, self._process.stdout

    def read(self, path: Path, repetitions: int) -> dict[str, float] | None:
        """The checksum of the frames, and the least CPU and wall time of a reading; None if it cannot."""
        with suppress(BrokenPipeError):
            self._requests.write(json.dumps([str(path), repetitions]) + "\n")
            self._requests.flush()
        answer = self._answers.readline()
        return json.loads(answer) if answer else None

    def close(self) -> None:
        """Lets the process end."""
        self._process.communicate()


# --- the clips ----------------------------------------------------------------------------------------------


def encode(path: Path, options: dict[str, str], source: Path | None) -> None:
    """Writes a clip of the made scene, or of another video's frames."""
    import av

    started = path.with_suffix(".part.mp4")
    with av.open(str(started), "w") as out:
        stream = out.add_stream("libx264", rate=FPS, options={"preset": "medium", **options})
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        stream.thread_count = 1  # so that the file is the same on every machine
        for number, planes in enumerate(_planes() if source is None else _planes_of(source)):
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    assert number == NUM_FRAMES - 1, "the source is too short"
    started.replace(path)


def _planes_of(source: Path) -> Iterator[np.ndarray]:
    import av

    with av.open(str(source)) as container:
        for frame in islice(container.decode(video=0), NUM_FRAMES):
            yield frame.to_ndarray(format="yuv420p", width=WIDTH, height=HEIGHT)


def _planes() -> Iterator[np.ndarray]:
    """uint8 (1.5 * HEIGHT, WIDTH) each, Y, U and V below each other."""
    random = np.random.default_rng(0)
    scene, things = _texture(random, 512), [_texture(random, 256) for _ in range(2)]
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float64)
    planes = np.empty((HEIGHT * 3 // 2, WIDTH), dtype=np.uint8)
    for number in range(NUM_FRAMES):
        zoom = 1 + 0.2 * np.sin(number / 53)
        view = _at(scene, y * zoom + 90 * np.sin(number / 37), x * zoom + 140 * np.sin(number / 61))
        for place, thing in enumerate(things):
            middle = (80 + 90 * place, WIDTH * (0.5 + 0.35 * np.sin(number / (19 + 12 * place))))
            inside = np.hypot(y - middle[0], x - middle[1]) < 45
            view[inside] = _at(thing, y[inside] - middle[0], x[inside] - middle[1] + 3 * np.sin(number / 5))
        planes[:HEIGHT] = np.clip(view + random.normal(0, 1.5, view.shape), 16, 235)
        chroma = planes[HEIGHT:].reshape(2, HEIGHT // 2, WIDTH // 2)
        chroma[0], chroma[1] = view[::2, ::2] / 4 + 96, 160 - view[::2, ::2] / 4
        yield planes


def _texture(random: np.random.Generator, size: int) -> np.ndarray:
    """float64 (size, size), 16 to 235, without an edge: noise that falls with the frequency about as photographs do."""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])
    spectrum = np.fft.rfft2(random.standard_normal((size, size))) / np.maximum(frequency, 1 / size) ** 1.5
    values = np.fft.irfft2(spectrum, s=(size, size))
    return 16 + 219 * (values - values.min()) / (values.max() - values.min())


def _at(texture: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The texture at places between its pixels, repeated without end."""
    size = len(texture)
    top, left = np.floor(y), np.floor(x)
    down, right = y - top, x - left
    rows = [(top + step).astype(int) % size for step in (0, 1)]
    columns = [(left + step).astype(int) % size for step in (0, 1)]
    upper = texture[rows[0], columns[0]] * (1 - right) + texture[rows[0], columns[1]] * right
    lower = texture[rows[1], columns[0]] * (1 - right) + texture[rows[1], columns[1]] * right
    return upper * (1 - down) + lower * down


def clip(name: str, cache: Path, source: Path | None = None) -> Path:
    """The file of that name, made unless it is in the cache."""
    content = "scene" if source is None else source.stem
    path = cache / f"sparse-{content}-{name.replace(' ', '-').lower()}.mp4"
    if not path.exists():
        print(f"encoding {path}", file=sys.stderr)
        encode(path, FILES[name], source)
    return path


# --- measuring ----------------------------------------------------------------------------------------------


def measure(workers: dict[str, Worker], path: Path, *, rounds: int, repetitions: int) -> dict[str, list[dict]]:
    """Of each other way, the ratios of our CPU and wall time to its, one for each round."""
    sums = {name: worker.read(path, 1)["sum"] for name, worker in workers.items()}
    assert len(set(sums.values())) == 1, f"not all ways give the same frames: {sums}"
    ratios: dict[str, list[dict]] = {name: [] for name in workers if name != OURS}
    for _ in range(rounds):
        times = {name: worker.read(path, repetitions) for name, worker in workers.items()}
        for name, found in ratios.items():
            found.append({kind: times[OURS][kind] / times[name][kind] for kind in ("cpu", "wall")})
    return ratios


def main() -> None:
    """Make the files, measure, and print one line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--repetitions", type=int, default=20, help="readings of each way in a round; the best counts")
    parser.add_argument("--source", type=Path, metavar="VIDEO", help="a video of at least 10 s to make the clips from")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "tada-benchmarks")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        serve(options.way)
        return
    options.cache.mkdir(parents=True, exist_ok=True)
    paths = {name: clip(name, options.cache, options.source) for name in FILES}
    with ExitStack() as stack:
        workers = {}
        for name in WAYS:
            worker = Worker(name)
            stack.callback(worker.close)
            if worker.read(paths["GOP 12"], 1) is not None:
                workers[name] = worker
        run = f"{options.rounds} rounds of {options.repetitions} readings"
        print(f"{conditions('av', 'decord', 'torchcodec', 'torch')}, {run}")
        others = [name for name in WAYS if name != OURS]
        print("| file | " + " | ".join(f"ours / {name}: CPU (min to max), wall" for name in others) + " | goals |")
        print("| --- " * (len(others) + 2) + "|", flush=True)
        for name, path in paths.items():
            ratios = measure(workers, path, rounds=options.rounds, repetitions=options.repetitions)
            cells = [_cell(ratios.get(other)) for other in others]
            print(f"| {name} | " + " | ".join(cells) + f" | {_goals(name, ratios)} |", flush=True)


def _cell(ratios: list[dict] | None) -> str:
    if ratios is None:
        return "does not load here"
    cpu = [ratio["cpu"] for ratio in ratios]
    wall = statistics.median(ratio["wall"] for ratio in ratios)
    return f"{median_and_range(cpu)}, {wall:.2f}"


def _goals(file_name: str, ratios: dict[str, list[dict]]) -> str:
    """What the medians of CPU and of wall time, both, must not exceed."""
    worst = {
        name: max(statistics.median(ratio[kind] for ratio in found) for kind in ("cpu", "wall"))
        for name, found in ratios.items()
    }
    told = [f"{THROUGH_GOALS[file_name]} {_met(worst[THROUGH], THROUGH_GOALS[file_name])}"]
    faster = max((name for name in PEERS if name in worst), key=worst.__getitem__, default=None)
    if faster is not None:
        least = [peer["cpu"] / bare["cpu"] for peer, bare in zip(ratios[faster], ratios[LEAST], strict=True)]
        met = _met(worst[faster], PEER_GOAL)
        told.append(f"{PEER_GOAL} of the faster peer {met}; {LEAST}: {median_and_range(least)} of it")
    return ", ".join(told)


def _met(ratio: float, goal: float) -> str:
    return "met" if ratio <= goal else "missed"


if __name__ == "__main__":
    main()
