"""A fuzzer of the reader of videos: `make fuzz`, or `python -m tests.fuzz --help`."""
