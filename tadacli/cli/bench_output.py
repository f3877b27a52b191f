"""What `tada bench` found, for a person and as JSON-ready values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tadacli.cli.console import aligned

if TYPE_CHECKING:
    from tadacli.benchmarking.network_speed import PassSpeed
    from tadacli.benchmarking.speed import CommandSpeed, Settings, SpeedReport
    from tadacli.timing import Timing

_RANDOM = "random weights: those of the model are not here, and times need none"
# Between the rounds of one measurement on a machine that does nothing else there is much less.
_NOISY = 1.5
_NAMES = {"classify": "tada classify", "detect": "tada detect"}


def speed_values(report: SpeedReport) -> dict[str, Any]:
    """All that was measured, with versions and machine; times in seconds."""
    spec, video = report.model.spec, report.video
    return {
        "tool_version": report.tool_version,
        "measured_at": report.measured_at,
        "machine": dict(report.machine),
        "device": report.model.device.type,
        "versions": dict(report.versions),
        "seconds": report.seconds,
        "model": {
            "name": spec.name,
            "architecture": spec.architecture,
            "clip_frames": spec.input.clip_frames,
            "crop_size": spec.input.crop_size,
            "runtime": None if report.model.runtime is None else report.model.runtime.to_dict(),
            "random_weights": report.has_random_weights,
            "weights_sha256": report.model.weights_sha256 or None,
            "multiply_adds": report.network.multiply_adds or None,
        },
        "video": {
            "path": report.video_path,
            "num_frames": video.num_frames,
            "fps": float(video.fps),
            "duration_seconds": video.duration_seconds,
            "height": video.height,
            "width": video.width,
            "codec": video.codec,
            "open_seconds": report.open_seconds,
        },
        "network": [_pass_values(each, report) for each in report.network.passes],
        "exported": [
            {("file" if key == "dtype" else key): value for key, value in _pass_values(each, report).items()}
            for each in report.network.beside
        ],
        "matrix_products": [
            {"dtype": dtype, "size": report.network.matrix_size, **asdict(timing)}
            for dtype, timing in report.network.matrix_products.items()
        ],
        "agreement": [asdict(each) for each in report.agreements],
        "commands": [_command_values(each, report) for each in report.commands],
    }


def _pass_values(each: PassSpeed, report: SpeedReport) -> dict[str, Any]:
    reference = report.network.reference
    return {
        "dtype": each.dtype,
        "batch_size": each.batch_size,
        "left_out": each.left_out or None,
        "clips_per_second": each.clips_per_second or None,
        "speedup": each.clips_per_second / reference.clips_per_second if each.timing else None,
        "matrix_share": each.matrix_share,
        "pass": None if each.timing is None else asdict(each.timing),
    }


def _command_values(each: CommandSpeed, report: SpeedReport) -> dict[str, Any]:
    frames = each.frames
    return {
        "command": each.command,
        "num_clips": each.num_clips,
        "limited_by": each.limited_by,
        "frames": {
            "num_frames_used": frames.num_wanted,
            "all_were_read": frames.is_whole,
            "video_frames_per_second": report.video.num_frames / frames.timing.median_seconds,
            "times_real_time": report.video.duration_seconds / frames.timing.median_seconds,
            **asdict(frames.timing),
        },
        "default": _settings_values(each.default),
        "better": None if each.better is None else _settings_values(each.better),
    }


def _settings_values(each: Settings) -> dict[str, Any]:
    return {
        "dtype": each.dtype,
        "batch_size": each.batch_size,
        "network_seconds": each.network_seconds,
        "measured_together": each.is_measured,
        **asdict(each.timing),
    }


# --- for a person -----------------------------------------------------------------------------------


def speed_table(report: SpeedReport) -> str:
    """The same in tables of at most 80 columns, what was measured on above them."""
    limits = ["What limits, at the default settings"]
    limits += [line for each in report.commands for line in _limit(each, report)]
    parts = [_head(report), _network(report), _frames(report), limits, *_notes(report)]
    return "\n\n".join("\n".join(lines) for lines in parts)


def _head(report: SpeedReport) -> list[str]:
    spec, video, machine = report.model.spec, report.video, report.machine
    cost = f", {report.network.multiply_adds / 1e9:.2f} GMACs a clip" if report.network.multiply_adds else ""
    size = spec.input.crop_size
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    name = "a sample made for this" if report.video_path is None else report.video_path
    facts = [
        ("model", f"{spec.name}, {spec.input.clip_frames} frames of {size}x{size}{cost}"),
        *([("weights", _RANDOM)] if report.has_random_weights else []),
        *([("runtime", " ".join(report.model.runtime.to_dict().values()))] if report.model.runtime else []),
        ("machine", machine["accelerator"] or machine["processor"] or machine["machine"]),
        (
            "",
            f"{machine['num_cores']} cores, {machine['num_network_threads']} threads for the network, "
            f"{machine['num_reading_threads']} for frames",
        ),
        ("versions", f"tada {report.tool_version}, Python {machine['python']}, {versions}"),
        ("video", name),
        (
            "",
            f"{video.width}x{video.height}, {float(video.fps):.4g} fps, {_time(video.duration_seconds)}, "
            f"{video.codec}; opened in {_time(report.open_seconds)}",
        ),
    ]
    return [f"{key:10}{text}".rstrip() for key, text in facts]


def _network(report: SpeedReport) -> list[str]:
    network = report.network
    reference = network.reference
    rows = [("dtype", "batch", "clips a second (min to max)", "speed-up", "of the matrix product")]
    notes = []
    for each in (*network.passes, *network.beside):
        if each.timing is None:
            notes.append(f"not measured: {each.dtype}, batch {each.batch_size}: {each.left_out}")
            continue
        rows.append(
            (
                each.dtype,
                str(each.batch_size),
                _rate(each.timing, each.batch_size),
                f"{each.clips_per_second / reference.clips_per_second:.2f}",
                "" if each.matrix_share is None else f"{each.matrix_share:.0%}",
            )
        )
    size = network.matrix_size
    lines = ["Network", *aligned(rows), *notes]
    lines.append(f"speed-up: over {reference.dtype}, batch {reference.batch_size}")
    if network.multiply_adds:
        lines.append(f"of the matrix product: multiply-adds a second, of a {size} x {size} product's")
    for same in report.agreements:
        clips = f"{same.num_agreeing} of {same.num_clips} clips"
        lines.append(f"{same.dtype}: the best class is that of {reference.dtype} on {clips}")
    return lines


def _frames(report: SpeedReport) -> list[str]:
    seconds, num_frames = report.video.duration_seconds, report.video.num_frames
    rows = [("for", "used", "frames a second (min to max)", "x real time", "all of it")]
    for each in report.commands:
        timing = each.frames.timing
        about = "" if each.frames.is_whole else "about "
        rows.append(
            (
                _NAMES[each.command],
                str(each.frames.num_wanted),
                _rate(timing, num_frames),
                _number(seconds / timing.median_seconds),
                f"{about}{_time(timing.median_seconds)}",
            )
        )
    return [
        "Decoding, resizing and cropping",
        *aligned(rows),
        "frames a second: of all those of the video, also the ones that are passed over",
    ]


def _limit(each: CommandSpeed, report: SpeedReport) -> Iterator[str]:
    unit = "view" if each.command == "classify" else "clip"
    what = f"{each.num_clips} {unit}{'' if each.num_clips == 1 else 's'}"
    default = each.default
    speed = f", {_number(report.video.duration_seconds / default.timing.median_seconds)} x real time"
    yield (
        f"{_NAMES[each.command]}, {what}: {'' if default.is_measured else 'about '}"
        f"{_time(default.timing.median_seconds)}{speed}"
    )
    yield (
        f"  limited by {'decoding' if each.limited_by == 'decoding' else 'the network'}: alone, frames take "
        f"{_time(each.frames.timing.median_seconds)}, the network {_time(default.network_seconds)}"
    )
    if each.better is None:
        yield f"  the default settings are best: {_options(default)}"
    else:
        yield f"  use {_options(each.better)}: {_time(each.better.timing.median_seconds)}"


def _notes(report: SpeedReport) -> list[list[str]]:
    timings = [each.timing for each in report.network.passes if each.timing is not None]
    timings += [each.frames.timing for each in report.commands]
    most = max(timing.longest_seconds / timing.shortest_seconds for timing in timings)
    if most < _NOISY:
        return []
    return [[f"note: rounds differ by up to {most:.1f} times: is something else running?"]]


def _options(settings: Settings) -> str:
    return f"--dtype {settings.dtype} --batch-size {settings.batch_size}"


def _rate(timing: Timing, amount: float) -> str:
    """So much a second, by the median, with the slowest and the fastest round."""
    middle, lowest, highest = (
        _number(amount / value) for value in (timing.median_seconds, timing.longest_seconds, timing.shortest_seconds)
    )
    return f"{middle} ({lowest} to {highest})"


def _number(value: float) -> str:
    """Three digits, of a large number all that stand before the point."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _time(seconds: float) -> str:
    if seconds < 0.1:
        return f"{_number(seconds * 1000)} ms"
    return f"{_number(seconds)} s" if seconds < 600 else f"{seconds / 60:.0f} min"
