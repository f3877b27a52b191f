"""The command line: the only part that knows Typer, Rich and tqdm. One file a command."""
