"""What several workers cost and what they survive, against one process.

    python -m benchmarks.cluster [--videos 2000] [--real 40] [--kills 100] [--quiet] [--engines local,ray]
                                 [--folder DIR]

Small videos and real ones are classified by the built-in model: by one process, by an engine that nothing happens to,
and by one whose workers are killed at random, whose driver is killed and started again, and on Ray also with a node
that goes and another one that comes. All files have to be equal to the byte. What is measured is CPU time, of all
processes together, and wall time.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.conditions import conditions
from tadacli.cluster.collecting import collect
from tadacli.cluster.driving import Event, Pool, Ready, Watcher, drive
from tadacli.cluster.items import Item
from tadacli.cluster.ledger import Ledger
from tadacli.cluster.local import LocalPool
from tadacli.cluster.stores import LocalStore
from tadacli.cluster.work import ClassifyWork, ModelChoice, Seat
from tadacli.scoring.options import ClassificationOptions
from tadacli.video.inputs import DEFAULT_MAX_DOWNLOAD, file_size
from tadacli.zoo import DEFAULT_MODEL

WORK = ClassifyWork(ModelChoice(DEFAULT_MODEL), ClassificationOptions(), DEFAULT_MAX_DOWNLOAD)
NUM_WORKERS = 2
_ACTOR = b"ray::RayWorker"
LARGEST_REAL_BYTES = 20_000_000


def main() -> None:
    """Measure, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=2000)
    parser.add_argument("--real", type=int, default=40)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--engines", default="local,ray")
    parser.add_argument("--quiet", action="store_true", help="nothing is killed: what engines cost alone")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="tada-cluster-"))
    folder.mkdir(exist_ok=True)
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        check(folder, options)
    finally:
        if options.folder is None:
            shutil.rmtree(folder)


def check(folder: Path, options: argparse.Namespace) -> None:
    """All of it, in a folder."""
    print(f"{conditions('torch', 'ray')}, {NUM_WORKERS} workers of one thread")
    videos = small_videos(folder / "small", options.videos)
    listed = folder / "all.txt"
    listed.write_text("".join(f"{video}\n" for video in [*videos, *real_videos(options.real)]))
    small = folder / "small.txt"
    small.write_text("".join(f"{video}\n" for video in videos))
    cost = {"one process": of_command(["classify", f"@{small}", "-o", folder / "one small.jsonl"])}
    nothing = of_command(["classify", videos[0], "-o", folder / "first.jsonl"])
    count, expected = len(videos), b""
    if not options.quiet:
        of_command(["classify", f"@{listed}", "-o", folder / "one.jsonl"])
        expected = (folder / "one.jsonl").read_bytes()
    print(
        f"{len(listed.read_text().splitlines())} videos, {count} of them of one frame; all runs are compared by bytes"
    )
    for engine in options.engines.split(","):
        with workers_of(engine, folder) as (pool, nodes):
            ledger = Ledger(LocalStore(folder / f"{engine} quiet.run"))
            if nodes is not None:
                print(idle_cost(nodes))
            watch = Watch(nodes, count)
            quiet = partial(drive, pool(ledger), items_of(small), ledger, kind="classify", watcher=watch.watcher)
            cost[engine] = measured(quiet)
            compare(engine, ledger, (folder / "one small.jsonl").read_bytes(), folder)
            if nodes is not None:
                print(watch.told())
            if options.quiet:
                continue
            ledger = Ledger(LocalStore(folder / f"{engine} killed.run"))
            print(with_kills(engine, pool(ledger), items_of(listed), ledger, options.kills, nodes))
            compare(f"{engine}, workers killed", ledger, expected, folder)
    for name, (cpu, whole_wall) in cost.items():
        less = nothing if name == "one process" else (NUM_WORKERS * nothing[0], nothing[1])
        own, wall = (1000 * (whole - start) / count for whole, start in zip((cpu, whole_wall), less, strict=True))
        of_cpu = "CPU as above" if name == "ray" else f"{own:.2f} ms of CPU"  # its processes are not ours
        print(f"{name}, a video: {of_cpu}, {wall:.2f} ms of time")
    if options.quiet:
        return
    print(driver_killed(folder, listed))
    assert (folder / "driver.jsonl").read_bytes() == expected
    print("a driver that was killed: the same bytes")


def small_videos(folder: Path, count: int) -> list[Path]:
    """So many videos of one frame, each another one."""
    from tests import media

    folder.mkdir(exist_ok=True)
    videos = [folder / f"{number:04}.mp4" for number in range(count)]
    for number, video in enumerate(videos):
        if not video.exists():
            media.render(video, 1, size=(64, 64 + 2 * (number % 16)))
    return videos


def real_videos(count: int) -> list[Path]:
    """Videos of the shared folder, none of them large."""
    shared = Path(os.environ.get("TADA_SHARED", Path(__file__).resolve().parents[2] / "shared")) / "media"
    if not (shared / "media.csv").is_file():
        print("no real videos: there is no shared folder")
        return []
    with (shared / "media.csv").open(newline="") as table:
        files = [shared / row["file"] for row in csv.DictReader(table)]
    return [file for file in files if file.is_file() and file.stat().st_size < LARGEST_REAL_BYTES][:count]


def items_of(listed: Path) -> Iterator[Item]:
    """The videos of a list."""
    return (Item(path, file_size(path)) for path in listed.read_text().splitlines())


def of_command(words: list[Any]) -> tuple[float, float]:
    """CPU time and wall time of a command of `tada`, in seconds."""
    before, started = os.times(), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "tadacli", *map(str, words), "-q"], stderr=subprocess.DEVNULL, check=False
    )
    assert done.returncode in (0, 3), words
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return cpu, time.perf_counter() - started


def measured(call: Callable[[], object]) -> tuple[float, float]:
    """CPU time of this process and those it started, as far as they have ended, and wall time, in seconds."""
    before, started = os.times(), time.perf_counter()
    call()
    after = os.times()
    return sum(after[:4]) - sum(before[:4]), time.perf_counter() - started


@contextmanager
def workers_of(engine: str, folder: Path) -> Iterator[tuple[Callable[[Ledger], Pool], Any]]:
    """What makes the workers of an engine, and the nodes of its cluster, if it has one."""
    if engine == "local":
        seats = [Seat(number, "cpu", 1) for number in range(NUM_WORKERS)]
        yield lambda ledger: LocalPool(WORK, ledger.place, seats, patience_seconds=600), None
        return
    from tadacli.cluster.on_ray import RayPool
    from tests.cluster.ray_cluster import cluster

    with cluster(folder) as nodes:
        yield (
            lambda ledger: RayPool(
                WORK,
                ledger.place,
                address=nodes.address,
                least=NUM_WORKERS,
                most=NUM_WORKERS,
                device="cpu",
                gpus=0,
                cpus=1,
                patience_seconds=600,
            ),
            nodes,
        )


class Watch:
    """What Ray and our workers took while most of the videos were done: all workers are there from first to last.

    Args:
        nodes: The nodes of the cluster, None for another engine.
        count: How many videos there are.
    """

    def __init__(self, nodes: Any, count: int) -> None:
        self._nodes, self._at = nodes, (count // 5, count - count // 10)
        self._marks: dict[int, tuple[float, float, float, float]] = {}
        self.watcher = Watcher(on_done=self._mark)

    def _mark(self, num_done: int, _: int | None) -> None:
        if self._nodes is not None and num_done in self._at and num_done not in self._marks:
            own = os.times()
            self._marks[num_done] = time.perf_counter(), own.user + own.system, *cpu_of(self._nodes)

    def told(self) -> str:
        """What it was, in a line."""
        first, last = (self._marks[at] for at in self._at)
        wall, driver, ray, workers = (end - start for start, end in zip(first, last, strict=True))
        each = [1000 * cpu / (self._at[1] - self._at[0]) for cpu in (ray, driver, workers)]
        told = ", ".join(f"{cpu:.2f} ms {who}" for cpu, who in zip(each, ("Ray", "driver", "workers"), strict=True))
        return f"CPU a video on Ray: {told}; Ray took {100 * ray / wall:.1f} % of a core for {wall:.0f} s"


def idle_cost(nodes: Any, seconds: float = 20.0) -> str:
    """What Ray takes while nothing is asked of it."""
    before = cpu_of(nodes)[0]
    time.sleep(seconds)
    return f"Ray, idle: {100 * (cpu_of(nodes)[0] - before) / seconds:.1f} % of a core"


def cpu_of(nodes: Any) -> tuple[float, float]:
    """The CPU time so far, in seconds, of the processes of a cluster: of Ray itself, and of our workers."""
    parents: dict[int, int] = {}
    taken: dict[int, tuple[float, bool]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                parents[int(entry.name)] = int(fields[1])
                ticks, is_worker = (
                    int(fields[11]) + int(fields[12]),
                    (entry / "cmdline").read_bytes().startswith(_ACTOR),
                )
                taken[int(entry.name)] = ticks / os.sysconf("SC_CLK_TCK"), is_worker
    started = [node.all_processes for node in [nodes.head_node, *nodes.worker_nodes]]
    of_cluster = {info.process.pid for each in started for infos in each.values() for info in infos}
    while more := {pid for pid, parent in parents.items() if parent in of_cluster} - of_cluster:
        of_cluster |= more
    found = [taken[pid] for pid in of_cluster if pid in taken]
    return sum(cpu for cpu, is_ours in found if not is_ours), sum(cpu for cpu, is_ours in found if is_ours)


def with_kills(engine: str, pool: Any, items: Iterator[Item], ledger: Ledger, num_kills: int, nodes: Any) -> str:
    """Drive while workers are killed at random; on a cluster a node goes in the middle, and another one comes."""
    chance, alive, killed, changed = random.Random(0), dict[int, int](), list[int](), list[int]()
    over = threading.Event()
    events = pool.events

    def watched() -> list[Event]:
        found: list[Event] = events()
        alive.update({event.worker: int(event.name.split("/")[1]) for event in found if isinstance(event, Ready)})
        return found

    def twice_tried() -> bool:
        """Whether an input that is not done has lost two workers: a third one would count as its own fault."""
        names = [name for name in ledger.store.names("attempts") if name.endswith(".2")]
        return any(ledger.row(name.rpartition("/")[2].partition(".")[0]) is None for name in names)

    def kill() -> None:
        while not over.wait(chance.uniform(0.2, 2.0)) and len(killed) < num_kills:
            ready = [pid for pid in list(alive.values()) if Path(f"/proc/{pid}").exists() and pid not in killed]
            if ready and not twice_tried():
                killed.append(chance.choice(ready))
                os.kill(killed[-1], signal.SIGKILL)

    def change(num_done: int, _: int | None) -> None:
        if nodes is not None and not changed and num_done > 100:
            changed.append(num_done)
            nodes.remove_node(next(iter(nodes.worker_nodes)))
            nodes.add_node(num_cpus=1, object_store_memory=80_000_000)

    pool.events = watched
    ends: list[str] = []
    with ThreadPoolExecutor(1) as beside:
        killer = beside.submit(kill)
        try:
            _, wall = measured(
                lambda: drive(pool, items, ledger, kind="classify", watcher=Watcher(on_done=change, on_end=ends.append))
            )
        finally:
            over.set()
        killer.result()
    return f"{engine}: {len(killed)} workers killed, {len(ends)} ends seen, {len(changed)} nodes changed, {wall:.0f} s"


def compare(name: str, ledger: Ledger, expected: bytes, folder: Path) -> None:
    """Stop unless the results are these bytes."""
    file = folder / f"{name}.jsonl"
    counts = collect(ledger, file, form="jsonl")
    assert file.read_bytes() == expected, f"{name} made other bytes"
    assert len(list(ledger.committed())) == sum(counts.values())
    print(f"{name}: {counts}, the same bytes")


def driver_killed(folder: Path, listed: Path) -> str:
    """Run the command, and kill it every now and then, until it ends."""
    chance, num_kills = random.Random(1), 0
    words = [
        "classify",
        f"@{listed}",
        "-o",
        folder / "driver.jsonl",
        "--engine",
        "local",
        "--engine-workers",
        NUM_WORKERS,
    ]
    while True:
        process = subprocess.Popen([sys.executable, "-m", "tadacli", *map(str, words), "-q", "--resume"])
        try:
            code = process.wait(timeout=chance.uniform(4, 12) if num_kills < 5 else None)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            num_kills += 1
            continue
        assert code in (0, 3), code
        return f"the driver was killed {num_kills} times and started again"


if __name__ == "__main__":
    main()
