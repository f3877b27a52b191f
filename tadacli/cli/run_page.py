"""What is known of a run's folder, or of a weights file of our own, as `tada models PATH` shows it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from tadacli.cli.console import hanging
from tadacli.cli.model_page import labels_line, pairs
from tadacli.cli.printable import printable

if TYPE_CHECKING:
    from tadacli.training.run_summary import RunSummary

_METRICS = {
    "top1": "top-1",
    "top5": "top-5",
    "mean_class_accuracy": "mean of the classes",
    "mAP": "mAP",
    "hit1": "hit@1",
}


def run_values(found: RunSummary) -> dict[str, Any]:
    """All that is known of it as JSON-ready values, labels included."""
    from dataclasses import asdict

    return {
        "path": str(found.path),
        "weights": str(found.weights),
        "size_bytes": found.original.size_bytes,
        "sha256": found.original.sha256,
        "trunk": None if found.trunk is None else str(found.trunk),
        "spec": found.spec.to_dict(),
        "run": None if found.facts is None else asdict(found.facts),
        "report": None if found.report is None else asdict(found.report),
    }


def run_page(found: RunSummary) -> str:
    """All that is known of it, for a person."""
    lines = [hanging(key, printable(text), indent=14) for key, text in _facts(found) if text]
    return "\n".join([printable(str(found.path)), "", *lines, "", _use(found)])


def _facts(found: RunSummary) -> list[tuple[str, str]]:
    spec, facts = found.spec, found.facts
    arguments = f" ({pairs(spec.arguments)})" if spec.arguments else ""
    values = spec.to_dict()
    steps: dict[str, Any] = next((values[key] for key in ("input", "steps", "features") if key in values), {})
    fitted = [name for name in ("temperatures", "thresholds", "segment_thresholds") if values.get(name)]
    return [
        ("model", spec.name),
        ("task", spec.task),
        ("data set", spec.dataset),
        ("network", f"{spec.architecture}{arguments}"),
        ("input" if "input" in values else "features", pairs(steps)),
        ("views", "" if spec.protocol is None else f"{spec.protocol} (clips x crops)"),
        *((f"labels{f' {head}' if head else ''}", labels_line(labels)) for head, labels in spec.heads.items()),
        ("labels", "they hold independently: scores do not sum to one" if values.get("multi_label") else ""),
        ("fitted", ", ".join(name.replace("_", " ") for name in fitted)),
        ("accuracy", _accuracy(found)),
        (
            "state",
            "" if facts is None else "finished" if found.report else "not finished; this is its best model so far",
        ),
        ("made by", "" if facts is None else f"tada {facts.tada}: {shlex.join(facts.command)}"),
        ("file", f"{found.weights} ({found.original.size_bytes:,} bytes)"),
        ("SHA-256", found.original.sha256),
        ("trunk", "" if found.trunk is None else str(found.trunk)),
    ]


def _accuracy(found: RunSummary) -> str:
    from tadacli.training.run_summary import Found

    report = found.report
    if report is None:
        return ""
    if isinstance(report, Found):
        figures = ", ".join(
            f"{100 * value:.1f} % at {tiou:.2g}" for tiou, value in zip(report.tiou, report.mAP, strict=False)
        )
        return f"mAP {figures}, on {report.num_segments} segments of {report.num_videos} {report.split} videos"
    metrics = ", ".join(f"{_METRICS[key]} {value:.1f} %" for key, value in report.metrics.items() if key in _METRICS)
    return f"{metrics}, on {report.num_scored} of {report.num_items} {report.split} {report.unit}"


def _use(found: RunSummary) -> str:
    values, model = found.spec.to_dict(), shlex.quote(str(found.path))
    if "steps" in values:
        what = "VIDEO" if found.trunk is not None else "--features FOLDER"
        return f"Use it: tada detect {what} --model {model} --threshold auto"
    if "features" in values:
        return f"Use it: tada detect --features FOLDER --model {model}"
    return f"Use it: tada classify VIDEO --model {model}"
