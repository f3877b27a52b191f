"""Runs the command line: the command `tada`, and `python -m tadacli`."""

import os
import sys


def main() -> None:
    """Run `tada` with the arguments of the process and exit with its status."""
    # Read when torch is imported. Its threads wait for each other between operations, by default spinning, which takes
    # the cores from the threads that decode: a third of the time of `tada detect` on two cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from tadacli.allocator import keep_freed_memory
    from tadacli.cli.app import run

    # What finetune says of the memory it will need is measured on the peak of this process.
    if sys.argv[1:2] != ["finetune"]:
        keep_freed_memory()
    sys.exit(run())


if __name__ == "__main__":
    main()
