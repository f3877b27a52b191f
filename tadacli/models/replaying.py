"""Networks on a GPU whose work for a batch is recorded once and then replayed, which saves the asking for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

Outputs: TypeAlias = Tensor | dict[str, Tensor]
Key: TypeAlias = tuple[str, torch.Size, torch.dtype, torch.device]

MOST_SHAPES = 8  # that are recorded: each keeps the memory of one pass
# A replay takes less than this share of the plain time, or it is not worth its memory: large batches gain nothing.
WORTH_IT = 0.9
_TRIALS = 3


class ReplayedNetwork(nn.Module):
    """A network for inference that gives the same results, to the bit, with fewer calls from Python.

    A network of fifty layers asks a GPU for hundreds of small pieces of work, one after the other; for a few clips
    the asking takes longer than the work. The second time that a batch of some shape comes, on a CUDA device and
    without autograd, what it asks for is recorded as a CUDA graph, kept if it is faster, and replayed from then on.
    On other devices it is the network itself. Threads take turns.

    Args:
        network: The network, in evaluation mode, which takes one tensor; it may have `forward_features`.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self._forget()

    def forward(self, x: Tensor) -> Outputs:
        """What the network makes of a batch."""
        return self._run("forward", self.network, x)

    def __getattr__(self, name: str) -> Any:
        """What else the network has; its features are replayed as its results are."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            found = getattr(super().__getattr__("network"), name)
        return (lambda x: self._run(name, found, x)) if name == "forward_features" else found

    def _run(self, name: str, call: Callable[[Tensor], Outputs], x: Tensor) -> Outputs:
        if x.device.type != "cuda" or torch.is_grad_enabled():
            return call(x)
        key = name, x.shape, x.dtype, x.device
        with self._lock:
            if key not in self._recordings:
                if len(self._recordings) < MOST_SHAPES:
                    self._recordings[key] = None  # one that comes once is not worth it
                return call(x)
            if key not in self._tried:
                self._tried.add(key)
                self._recordings[key] = _record(call, x)
            recording = self._recordings[key]
            return call(x) if recording is None else recording.replay(x)

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._recordings: dict[Key, _Recording | None] = {}  # None: plain, as it came once or gains nothing
        self._tried: set[Key] = set()

    # What was recorded belongs to these weights, in this memory.

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> ReplayedNetwork:
        self._forget()
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_lock", "_recordings", "_tried")}

    def __setstate__(self, state: dict[str, object]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._forget()


@dataclass(frozen=True)
class _Recording:
    """What a call asks the GPU for: it reads `given` and writes `made`."""

    graph: torch.cuda.CUDAGraph
    given: Tensor
    made: Outputs

    def replay(self, x: Tensor) -> Outputs:
        self.given.copy_(x)
        self.graph.replay()
        # The next replay writes over it.
        return {n: each.clone() for n, each in self.made.items()} if isinstance(self.made, dict) else self.made.clone()


def _record(call: Callable[[Tensor], Outputs], x: Tensor) -> _Recording | None:
    """The recording of a call, None where it cannot be recorded, or is not worth it."""
    given, graph = x.clone(), torch.cuda.CUDAGraph()
    try:
        beside = torch.cuda.Stream(x.device)  # type: ignore[no-untyped-call]
        beside.wait_stream(torch.cuda.current_stream(x.device))
        with torch.cuda.stream(beside):
            call(given)
        torch.cuda.current_stream(x.device).wait_stream(beside)
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            made = call(given)
        recording = _Recording(graph, given, made)
        is_faster = _seconds(lambda: recording.replay(x), x.device) < WORTH_IT * _seconds(lambda: call(x), x.device)
    except RuntimeError:  # no memory for it, or something in it that cannot be recorded
        return None
    return recording if is_faster else None


def _seconds(call: Callable[[], object], device: torch.device) -> float:
    """The time of some calls on the device, after one that is not counted."""
    call()
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    torch.cuda.synchronize(device)
    start.record(torch.cuda.current_stream(device))
    for _ in range(_TRIALS):
        call()
    end.record(torch.cuda.current_stream(device))
    torch.cuda.synchronize(device)
    return float(start.elapsed_time(end))
