"""Reading the wanted frames of one video in several threads, with the results of one thread, in its order.

A frame needs nothing from outside its group (see `decode_plan`), so groups are dealt out to threads in turn, each of
which has the file open by itself and decodes the groups it was dealt. Where a file is damaged, or its packets are
not the frames they said, what is read depends on all that was decoded before: then one thread reads it all once more,
and goes on alone.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from itertools import islice
from typing import TypeAlias, TypeVar

import numpy as np
import torch

from tadacli.concurrency import read_ahead
from tadacli.errors import VideoError
from tadacli.video.damage import Damage
from tadacli.video.source import Indices, Unreadable, VideoSource

T = TypeVar("T")

# A frame's number, and what was made of the frame, or why there is none.
Item: TypeAlias = tuple[int, T | Unreadable]
Read: TypeAlias = Callable[[VideoSource, Indices], Iterator[Item[T]]]

# Each thread holds its own demuxer and decoder: some 50 MB for 1080p, and 5 MB more for each hour.
_MAX_READERS = 4


def default_num_readers() -> int:
    """As many threads as torch takes for the cores of this process, up to four."""
    return min(_MAX_READERS, torch.get_num_threads())


def readers_of(source: VideoSource, num_readers: int) -> list[VideoSource]:
    """`source`, which reads where one thread must, and others of its video that may read in ranges.

    Args:
        source: An opened video.
        num_readers: How many others there are to be. There is none for fewer than two, and where decoding can only
            start at the beginning.

    Returns:
        `source`, and the others.
    """
    if num_readers < 2 or not len(source.restarts):
        return [source]
    return [source, *(source.reopened() for _ in range(num_readers))]


def read_in_ranges(
    readers: Sequence[VideoSource], frames: Indices, read: Read[T], *, depth: int
) -> Generator[Item[T], None, None]:
    """What `read(readers[0], frames)` gives, made ahead in as many threads as `readers_of` allowed.

    Args:
        readers: What `readers_of` gave.
        frames: Frame numbers, ascending.
        read: Gives one item for each frame, in order.
        depth: About how many items wait for their turn, those of all threads together.

    Returns:
        An iterator over the items; close it to end the threads early.

    Raises:
        Exception: What `read` raises, where its item would have come.
    """
    source, *others = readers
    groups, num_given = np.searchsorted(source.restarts, frames, side="right"), 0  # one where restarts are not known
    if others and len(frames) and groups[0] != groups[-1]:
        with closing(_dealt_out(others, groups, frames, read, depth // len(others))) as items:
            for item in items:
                yield item
                num_given += 1
    if num_given < len(frames):
        with read_ahead(read(source, frames), depth=depth) as again:
            yield from islice(again, num_given, None)


def _dealt_out(
    readers: Sequence[VideoSource],
    groups: Indices,
    frames: Indices,
    read: Read[T],
    depth: int,
) -> Generator[Item[T], None, None]:
    """The items up to the first that might be another one if one thread read everything."""
    turns = np.unique(groups, return_inverse=True)[1] % len(readers)
    info = readers[0].info
    with ExitStack() as threads:
        streams = [
            threads.enter_context(read_ahead(read(reader, frames[turns == number]), depth=max(1, depth)))
            for number, reader in enumerate(readers)
        ]
        for turn in turns.tolist():
            try:
                item = next(streams[turn])
            except VideoError:
                return
            is_damaged = isinstance(item[1], Unreadable) and item[1].reason != Damage.CUT_OFF
            # A reader that finds its packets wrong reads the file again, and then knows other facts about it.
            if is_damaged or readers[turn].info is not info:
                return
            yield item
