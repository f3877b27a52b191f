"""Workers as actors of Ray, on as many machines as there are: placement, starting and watching are Ray's.

Frames never leave the actor that decodes them. Ray loads neither here nor anywhere else before it is asked for.
"""

from __future__ import annotations

import importlib.util
import os
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tadacli.cluster.driving import Done, Ended, Event, Failed, Ready, Waiting
from tadacli.cluster.work import Assignment, Seat, Work
from tadacli.errors import TadaError, UsageError

if TYPE_CHECKING:
    from tadacli.cluster.worker import Worker

_POLL_SECONDS = 1.0
# So long after an actor's end its machine may still be taken for alive: Ray asks a silent one five times, every 3 s.
_SETTLING_SECONDS = 20.0
_GONE = "its machine is gone"
_TO_PLACE_SECONDS = 60.0
_MOST_AT_ONCE = 16
# Of the driver's environment, what decides which weights are found, and where copies of videos are kept.
_PASSED_ON = ("TADA_HOME", "TADA_MIRROR", "TADA_DEBUG", "TADA_CACHE", "TADA_CACHE_SIZE")


def require_ray() -> None:
    """Raises `UsageError` where Ray is not installed."""
    if importlib.util.find_spec("ray") is None:
        raise UsageError(
            "the engine ray needs a package that is not installed", hint="python -m pip install 'tadacli[ray]'"
        )


class RayPool:
    """Workers that are actors of a cluster; `machines` are those of workers that are or were ready, as Ray calls them.

    Args:
        work: What they do.
        place: Where results are kept, seen alike by all machines.
        address: The cluster: "auto" for the one that this machine is of, "local" for a new one on this machine, or
            what `ray.init` takes.
        least: How many workers there are.
        most: How many there may be, as far as the cluster has room for them.
        device: What they compute on.
        gpus: The GPUs of each, which may be a part of one; None for one where the cluster has any.
        cpus: The cores of each.
        patience_seconds: How long nothing may happen with an input before its worker ends itself.

    Raises:
        UsageError: Ray is not installed.
        TadaError: The cluster cannot be reached.
    """

    def __init__(
        self,
        work: Work,
        place: str,
        *,
        address: str,
        least: int,
        most: int,
        device: str,
        gpus: float | None,
        cpus: float,
        patience_seconds: float,
    ) -> None:
        require_ray()
        import ray

        self._ray, self.least, self.most = ray, least, most
        self._was_there = ray.is_initialized()
        if not self._was_there:
            try:
                ray.init(address=address, log_to_driver=False, logging_level="ERROR", configure_logging=False)
            except (ConnectionError, RuntimeError, ValueError) as error:
                first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
                hint = "start it with ray start --head, or give --address local"
                raise TadaError(f"there is no Ray cluster at {address}: {first}", hint=hint) from error
        if gpus is None:
            gpus = 1.0 if device != "cpu" and ray.cluster_resources().get("GPU", 0) else 0.0
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        environment |= {"OMP_NUM_THREADS": str(max(1, int(cpus))), "OMP_WAIT_POLICY": "PASSIVE"}
        self._wanted = f"{gpus:g} GPUs and {cpus:g} cores"
        self._actor = ray.remote(RayWorker).options(
            num_gpus=gpus,
            num_cpus=cpus,
            max_restarts=0,
            max_concurrency=_MOST_AT_ONCE,
            runtime_env={"env_vars": environment},
        )
        self._arguments = (work, place, Seat(0, device), patience_seconds, os.getcwd())
        self._actors: dict[int, Any] = {}
        self.machines: dict[int, str] = {}
        self._calls: dict[Any, int] = {}
        self._ended: list[tuple[float, Ended]] = []
        self._num_started, self._begun_at, self._has_waited = 0, time.monotonic(), False

    def start(self) -> int:
        """As `Pool` says it."""
        self._num_started += 1
        actor = self._actor.remote(*self._arguments)
        self._actors[self._num_started] = actor
        self._calls[actor.ready.remote()] = self._num_started
        return self._num_started

    def give(self, worker: int, assignment: Assignment) -> None:
        """As `Pool` says it."""
        if worker in self._actors:
            self._calls[self._actors[worker].work.remote(assignment)] = worker

    def events(self) -> list[Event]:
        """As `Pool` says it."""
        found: list[Event] = []
        if self._calls:
            calls, _ = self._ray.wait(list(self._calls), num_returns=1, timeout=_POLL_SECONDS)
            for call in calls:
                found += self._result(call, self._calls.pop(call))
        else:
            time.sleep(_POLL_SECONDS / 10)
        found += self._settled()
        late = time.monotonic() - self._begun_at > _TO_PLACE_SECONDS
        if not found and not self.machines and late and not self._has_waited:
            self._has_waited = True
            there = {name: count for name, count in self._ray.cluster_resources().items() if name in ("CPU", "GPU")}
            text = (
                f"none is ready after {_TO_PLACE_SECONDS:.0f} s; each wants {self._wanted}, and the cluster has {there}"
            )
            found.append(Waiting(0, text))
        return found

    def release(self, worker: int) -> None:
        """As `Pool` says it."""
        self._forget(worker)

    def close(self) -> None:
        """As `Pool` says it."""
        for worker in list(self._actors):
            self._forget(worker)
        if not self._was_there:
            self._ray.shutdown()

    def _forget(self, worker: int) -> None:
        actor = self._actors.pop(worker, None)
        self._calls = {call: number for call, number in self._calls.items() if number != worker}
        if actor is not None:
            self._ray.kill(actor)

    def _result(self, call: Any, worker: int) -> list[Event]:
        """What came of a call of a worker."""
        if worker not in self._actors:
            return []
        errors = self._ray.exceptions
        try:
            event, node = self._ray.get(call)
        except errors.OutOfMemoryError:
            ended = Ended(worker, "out of memory")
        except errors.ActorUnavailableError:
            ended = Ended(worker, "its machine cannot be reached", told_to=True)
        except errors.RayError as error:
            is_preempted = bool(getattr(error, "preempted", False))
            ended = Ended(worker, _GONE if is_preempted else _why(error), told_to=is_preempted)
        else:
            self.machines[worker] = node
            return [replace(event, worker=worker)]
        self._forget(worker)
        self._ended.append((time.monotonic(), ended))
        return []

    def _settled(self) -> list[Event]:
        """The ends of which it is known whether the machine is gone as well: then no input is at fault."""
        if not self._ended:
            return []
        alive = {node["NodeID"] for node in self._ray.nodes() if node["Alive"]}
        found: list[Event] = []
        left: list[tuple[float, Ended]] = []
        for since, ended in self._ended:
            node = self.machines.get(ended.worker)
            if node is not None and node not in alive:
                found.append(replace(ended, why=_GONE, told_to=True))
            elif ended.told_to or node is None or time.monotonic() - since > _SETTLING_SECONDS:
                found.append(ended)
            else:
                left.append((since, ended))
        self._ended = left
        return found


def _why(error: Exception) -> str:
    """The first line of what Ray says of an end."""
    said = [line.strip() for line in str(error).splitlines() if line.strip()]
    lines = [line for line in said if line.startswith("The actor is dead because")] or said or [type(error).__name__]
    return lines[0].partition(". ")[0][:200]


class RayWorker:
    """The actor. Of two inputs in work one is decoded while the other is scored.

    Args:
        work: What is to be done.
        place: Where results are kept.
        seat: The worker's place.
        patience_seconds: How long nothing may happen with an input.
        folder: The folder that names of videos count from, which this machine may have.
    """

    def __init__(self, work: Work, place: str, seat: Seat, patience_seconds: float, folder: str) -> None:
        self._arguments = work, place, seat, patience_seconds
        self._beginning, self._scoring = threading.Lock(), threading.Lock()
        self._worker: Worker | None = None
        self._counters: dict[str, Any] = {}
        if os.path.isdir(folder):
            os.chdir(folder)

    def ready(self) -> tuple[Event, str]:
        """Load the model; whether that went well, and the node that this is on."""
        import ray
        from ray.util.metrics import Counter

        from tadacli.allocator import keep_freed_memory
        from tadacli.cluster.ledger import Ledger
        from tadacli.cluster.stores import open_store
        from tadacli.cluster.worker import Worker, worker_name

        work, place, seat, patience = self._arguments
        node = ray.get_runtime_context().get_node_id()
        keep_freed_memory()
        try:
            ledger = Ledger(open_store(place))
            self._worker = Worker(work, seat, ledger, name=worker_name(), patience_seconds=patience)
        except TadaError as error:
            return Failed(0, error), node
        self._counters = {
            "videos": Counter("tada_videos", "videos whose result is there"),
            "seconds": Counter("tada_video_seconds", "seconds of these videos"),
            "errors": Counter("tada_errors", "videos that failed"),
        }
        processing = self._worker.processing
        facts = processing.notes, processing.num_at_once, processing.about
        return Ready(0, self._worker.name, processing.run, *facts), node

    def work(self, assignment: Assignment) -> tuple[Event, str]:
        """The result of an input; it is there when this returns."""
        import ray

        from tadacli.cluster.worker import why_of

        worker = self._worker
        assert worker is not None
        node = ray.get_runtime_context().get_node_id()
        try:
            reads_ahead = worker.processing.num_at_once > 1
            with self._beginning if reads_ahead else self._scoring:
                begun = worker.begin(assignment)
                outcome = None if reads_ahead else worker.finish(begun)
            if outcome is None:
                with self._scoring:
                    outcome = worker.finish(begun)
        except TadaError as error:
            worker.withdraw()
            return Failed(0, error), node
        except Exception as error:  # the model may be in any state: another process goes on, as after a crash
            worker.explain(why_of(error))
            os._exit(1)
        if assignment.share is not None or outcome.num_shares:
            return Done(0, outcome), node
        self._counters["videos"].inc()
        if outcome.seconds > 0:
            self._counters["seconds"].inc(outcome.seconds)
        if outcome.status == "error":
            self._counters["errors"].inc()
        return Done(0, outcome), node
