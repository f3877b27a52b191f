"""Tests of the files that other runtimes take."""
