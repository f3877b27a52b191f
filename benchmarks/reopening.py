"""CPU time to open a long video the first time and again, with its frame table kept by `index=`.

    python -m benchmarks.reopening [--minutes 60] [--rounds 5] [--cache DIR]

The same packets of 640x360 at 30 frames a second in three containers: of two, packets are believed, and a transport
stream has to be decoded once, of a sixth of the length. Before anything is timed, facts, times and some frames must be
the same with and without. Times are of this process, all of its threads, the least of the rounds.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np

from benchmarks.conditions import conditions
from benchmarks.long_video import repeat_packets
from tadacli.video.reading import open_video, probe

FPS, SECONDS, HEIGHT, WIDTH = 30, 20, 360, 640
FILES = {"MP4": ("mp4", 1), "Matroska": ("mkv", 1), "MPEG-TS": ("ts", 6)}


def encode(path: Path) -> None:
    """Writes a pattern that moves, with a key frame every 250 frames."""
    y, x = np.mgrid[: HEIGHT * 3 // 2, :WIDTH]
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=FPS, options={"preset": "veryfast", "g": "250"})
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        for number in range(FPS * SECONDS):
            planes = (128 + 90 * np.sin((x + 3 * number) / 40) * np.cos((y - number) / 30)).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def video(name: str, cache: Path, minutes: int) -> Path:
    """The file of that name, made unless it is in the cache."""
    suffix, share = FILES[name]
    path, clip = cache / f"reopening-{minutes}.{suffix}", cache / "reopening.mp4"
    if not clip.exists():
        encode(clip)
    if not path.exists():
        repeat_packets(clip, path, times=minutes * 60 // SECONDS // share)
    return path


def seen(path: Path, index: Path | None) -> list[object]:
    """What there is to compare."""
    with open_video(path, index=index) as source:
        frames = source.require_frames(range(0, source.info.num_frames, source.info.num_frames // 3))
        return [source.info, source.times.tobytes(), *(frame.pixels.tobytes() for frame in frames)]


def least_seconds(act: Callable[[], object], rounds: int) -> float:
    """The least CPU time of so many calls."""
    found = []
    for _ in range(rounds):
        start = time.process_time()
        act()
        found.append(time.process_time() - start)
    return min(found)


def main() -> None:
    """Make the files, measure, and print one line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "tada-benchmarks")
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    print(f"{conditions('av')}, {options.rounds} rounds")
    print("| file | frames | opening, CPU ms | again | times | kept file, MB |")
    print("| --- " * 6 + "|", flush=True)
    for name in FILES:
        path = video(name, options.cache, options.minutes)
        with tempfile.TemporaryDirectory() as folder:
            index = Path(folder)

            assert seen(path, None) == seen(path, index) == seen(path, index), name
            without = least_seconds(partial(probe, path), min(2, options.rounds))
            again = least_seconds(partial(probe, path, index=index), options.rounds)
            count = probe(path, index=index).num_frames
            (kept,) = index.iterdir()
            cells = [
                name,
                f"{count:,}",
                f"{1000 * without:,.0f}",
                f"{1000 * again:.1f}",
                f"{without / again:.0f}",
            ]
            print(f"| {' | '.join(cells)} | {kept.stat().st_size / 1e6:.1f} |", flush=True)


if __name__ == "__main__":
    main()
