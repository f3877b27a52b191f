"""A Ray cluster of several nodes on this machine, whose nodes and workers come and go.

    python -m tests.cluster.ray_cluster FOLDER [--all]

With --all also what takes a minute: the page on Ray Data.
In a process of its own: Ray reads its environment when it is imported, and leaves threads behind.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from tadacli.cli.app import run
from tadacli.cluster.collecting import collect
from tadacli.cluster.driving import Watcher, drive
from tadacli.cluster.items import Item
from tadacli.cluster.ledger import Ledger
from tadacli.cluster.on_ray import RayPool
from tadacli.cluster.stores import LocalStore
from tests import media
from tests.cluster.fakes import RUN, FakeWork, InlinePool

_NODE = {"num_cpus": 1, "object_store_memory": 80_000_000}


@contextmanager
def cluster(home: Path) -> Iterator[Any]:
    """A cluster with two nodes of one core, and a home of its own."""
    os.environ |= {"RAY_AUTH_MODE": "disabled", "HOME": str(home), "RAY_USAGE_STATS_ENABLED": "0"}
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "object_store_memory": 80_000_000, "include_dashboard": False}
    found = Cluster(initialize_head=True, head_node_args=head)
    try:
        found.add_node(**_NODE)
        found.add_node(**_NODE)
        yield found
    finally:
        found.shutdown()


def ray_pool(ledger: Ledger, address: str) -> RayPool:
    """Two workers that need no model."""
    return RayPool(
        FakeWork(), ledger.place, address=address, least=2, most=2, device="cpu", gpus=0, cpus=1, patience_seconds=60
    )


def losing_a_node(folder: Path, nodes: Any) -> None:
    """A node goes and another one comes, an input ends its worker: all else has the bytes of one process."""
    items = [*(Item(f"{number}.mp4") for number in range(60)), Item("abort.mp4")]
    for ledger in (one := Ledger(LocalStore(folder / "one")), many := Ledger(LocalStore(folder / "many"))):
        for number in (1, 2) if ledger is many else (1, 2, 3):
            attempt = ledger.attempt(items[-1].id_in(RUN.id), f"earlier {number}")
            assert attempt is not None
            ledger.explain(attempt, f"earlier {number}", "earlier")
    drive(InlinePool(one), iter(items), one, kind="classify")
    ends: list[str] = []
    changed: list[int] = []
    pool = ray_pool(many, nodes.address)

    def change(num_done: int, _: int | None) -> None:
        if num_done >= 20 and not changed:
            changed.append(num_done)
            # The other worker may not be ready yet, and whoever ends before that is at no input.
            busy = set(pool.machines.values())
            nodes.remove_node(next(node for node in nodes.worker_nodes if node.node_id in busy))
            nodes.add_node(**_NODE)

    watcher = Watcher(on_done=change, on_end=ends.append)
    drive(pool, iter(items), many, kind="classify", watcher=watcher)
    assert ends[0] in ("its machine is gone", "its machine cannot be reached"), ends
    assert len(ends) == 2, ends
    for ledger in (one, many):
        assert collect(ledger, folder / f"{Path(ledger.place).name}.jsonl", form="jsonl") == {"ok": 60, "error": 1}
    found, expected = ((folder / f"{name}.jsonl").read_text().splitlines() for name in ("many", "one"))
    assert found[:-1] == expected[:-1]
    assert json.loads(found[-1])["error"].startswith("abort.mp4: 3 workers ended while they worked on it: earlier")
    left = [name for name in many.store.names("attempts") if items[-1].id_in(RUN.id) not in name]
    assert len(left) <= 1, "the node that went is no input's fault; one was beside the input that ended its worker"


def commands(folder: Path, nodes: Any) -> None:
    """`tada classify --engine ray` writes the bytes of one process."""
    os.environ["OMP_NUM_THREADS"] = "1"
    media.render(folder / "a.mp4", 40)
    media.render(folder / "b.mp4", 44)
    os.chdir(folder)
    tada("classify", "a.mp4", "b.mp4", "none.mp4", "-o", "one.csv", "--device", "cpu", code=3)
    ray = ["--engine", "ray", "--address", nodes.address]
    tada("classify", "a.mp4", "b.mp4", "none.mp4", "-o", "many.csv", *ray, code=3)
    for name in ("{}.csv", "{}.csv.meta.json"):
        assert (folder / name.format("many")).read_bytes() == (folder / name.format("one")).read_bytes()


def ray_data(folder: Path, nodes: Any) -> None:
    """The block about Ray Data of the page on pipelines runs."""
    import ray

    page = (Path(__file__).parents[2] / "docs/howto/pipelines.md").read_text(encoding="utf-8")
    block = page.partition("## Ray Data")[2].partition("```python\n")[2].partition("```")[0]
    for name in ("left", "right"):
        (folder / "clips" / name).mkdir(parents=True)
        media.render(folder / "clips" / name / "0.mp4", 40)
    ray.init(address=nodes.address, runtime_env={"env_vars": {"OMP_NUM_THREADS": "1"}}, log_to_driver=False)
    said = io.StringIO()
    block = block.replace('"clips/', f'"{folder}/clips/').replace('"ray.run"', repr(str(folder / "ray.run")))
    with redirect_stdout(said):
        exec(block, {})
    ray.shutdown()
    statuses = [line.split()[1] for line in said.getvalue().splitlines() if line.startswith(f"{folder}/clips")]
    assert statuses == ["ok", "error", "ok"], said.getvalue()
    assert len(list(Ledger(LocalStore(folder / "ray.run")).committed())) == 3


def tada(*words: str, code: int) -> None:
    """Runs a command in this process."""
    sys.argv = ["tada", *words]
    assert run() == code, words


def main() -> None:
    """Run what is asked for."""
    folder = Path(sys.argv[1]).absolute()
    folder.mkdir(exist_ok=True)
    with cluster(folder) as nodes:
        losing_a_node(folder, nodes)
        commands(folder, nodes)
        if "--all" in sys.argv:
            ray_data(folder, nodes)


if __name__ == "__main__":
    main()
