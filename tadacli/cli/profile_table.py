"""What `--profile` says on stderr: where the wall time of a command went."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from tadacli.cli.console import say

if TYPE_CHECKING:
    from tadacli.profiling import Profile, ProfileReport

ProfileOption = Annotated[bool, typer.Option("--profile", help="Say at the end where the wall time went.")]


def start_profile(asked: bool) -> Profile | None:
    """A profile whose wall time begins now, if it was asked for."""
    if not asked:
        return None
    from tadacli.profiling import Profile

    return Profile()


@contextmanager
def told(profile: Profile | None, *, unit: str = "view") -> Iterator[None]:
    """What happens inside is the work; after it, also if it was interrupted, the profile is said. It counts `unit`s."""
    if profile is None:
        yield
        return
    from tadacli.profiling import profiled

    profile.ready()
    try:
        with profiled(profile):
            yield
    except typer.Exit:
        say(profile_table(profile.report(), unit=unit))
        raise
    say(profile_table(profile.report(), unit=unit))


def profile_table(found: ProfileReport, *, unit: str) -> str:
    """A line for each stage with its seconds and share of the wall time, what overlapped, and counts."""
    wall = found.wall_seconds
    rows = [(str(stage), seconds) for stage, seconds in found.stages.items()]
    rows += [("everything else", found.rest_seconds), ("wall time", wall)]
    rows += [("several of these at once", found.together_seconds)] if found.together_seconds else []
    lines = [f"{name:<26}{seconds:>10.2f} s{_share(seconds, wall):>7}" for name, seconds in rows]
    rate = f", {found.num_views / wall:.2f} a second" if wall > 0 else ""
    counts = f"{found.num_decoded} frames decoded, {found.num_used} of them used; {found.num_views} {unit}s{rate}"
    return "\n".join([f"{'where the time went':<26}{'seconds':>12}{'share':>7}", *lines, counts])


def _share(seconds: float, wall: float) -> str:
    return f"{seconds / wall:.0%}" if wall > 0 else ""
