"""Tests of several workers."""
