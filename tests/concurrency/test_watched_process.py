"""Processes that work for another one: none is left when that one is killed, however early."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

PROGRAM = """
import os, sys, time
from tadacli.concurrency import WatchedContext

class Slow:
    # Read in the other process, where it takes as long as to import a large library.
    def __reduce__(self):
        return time.sleep, (float(sys.argv[2]),)

def work(_):
    open(sys.argv[1], "w").close()
    time.sleep(600)

if __name__ == "__main__":
    process = WatchedContext().Process(target=work, args=(Slow(),))
    process.start()
    print(process.pid, flush=True)
    time.sleep(600)
"""


def is_there(process: int) -> bool:
    """Whether a process is there that has not ended."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not os.path.isdir("/proc"), reason="reads /proc")
@pytest.mark.parametrize("at_work", [False, True], ids=["while it starts", "at work"])
def test_it_ends_with_the_one_that_started_it(tmp_path: Path, at_work: bool) -> None:
    script, begun = tmp_path / "program.py", tmp_path / "begun"
    script.write_text(PROGRAM)
    arguments = [sys.executable, str(script), str(begun), "0" if at_work else "600"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        if at_work:
            wait_for(begun.exists)
        parent.send_signal(signal.SIGKILL)
    wait_for(lambda: not is_there(child))
    assert begun.exists() == at_work


def wait_for(condition: Callable[[], bool]) -> None:
    """Returns when it holds; that takes as long as it takes, up to a limit that tells a hang."""
    for _ in range(600):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("it does not come to be")
