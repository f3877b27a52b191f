"""Runs the command line: the command `tada`, and `python -m tadacli`."""

import sys


def main() -> None:
    """Run `tada` with the arguments of the process and exit with its status."""
    from tadacli.cli.app import run

    sys.exit(run())


if __name__ == "__main__":
    main()
