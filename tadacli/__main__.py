"""Runs the command line: the command `tada`, and `python -m tadacli`."""

import os
import signal
import sys


def main() -> None:
    """Run `tada` with the arguments of the process and exit with its status."""
    # Read when torch is imported. Its threads wait for each other between operations, by default spinning, which takes
    # the cores from the threads that decode: a third of the time of `tada detect` on two cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    _open_standard_streams()
    _end_as_interrupted()
    from tadacli.allocator import keep_freed_memory
    from tadacli.cli.app import run

    # What a dry run says of the memory that training will need is measured on the peak of this process.
    if sys.argv[1:2] != ["finetune"] or "--dry-run" not in sys.argv:
        keep_freed_memory()
    sys.exit(run())


def _end_as_interrupted() -> None:
    """Being asked to end, or losing the terminal, is as good as Ctrl-C; what was to be ignored is ignored (nohup)."""
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)


def _open_standard_streams() -> None:
    """Opens those the process was started without, or a file that is opened later would take what is said to them.

    Of stdout nothing is lost without a word: it takes nothing.
    """
    for number, name, flags in ((0, "stdin", os.O_RDONLY), (1, "stdout", os.O_RDONLY), (2, "stderr", os.O_WRONLY)):
        if getattr(sys, name) is None:
            os.open(os.devnull, flags)  # the lowest number that is free
            setattr(sys, name, open(number, "r" if number == 0 else "w", closefd=False))  # noqa: SIM115


if __name__ == "__main__":
    main()
