"""The README's table says what the manifest says."""

from __future__ import annotations

from pathlib import Path

from tadacli.specs import ModelSpec, manifest

README = Path(__file__).parent.parent / "README.md"


def row(spec: ModelSpec) -> str:
    """The line of the table for a model."""
    (labels,) = spec.heads.values()
    settings = spec.input
    data = spec.dataset if spec.task == "action" else spec.task
    frames = f"{settings.clip_frames} x {settings.frame_stride}"
    if settings.sampling == "segment":
        frames = str(settings.clip_frames)
    top1, top5 = spec.published.get("top1", "see its card"), spec.published.get("top5", "")
    weights = "built in"
    if "google_drive" in spec.source:
        weights = f"[Drive](https://drive.google.com/file/d/{spec.source['google_drive']}/view)"
    cells = [f"`{spec.name}`", f"{data} ({len(labels)})", frames, spec.protocol, top1, top5, weights]
    return " ".join(["|", *(f"{cell} |".lstrip() if cell else "|" for cell in map(str, cells))])


def test_the_table_of_models_is_that_of_the_manifest() -> None:
    text = README.read_text(encoding="utf-8")
    table = text.split("<!-- models:")[1].split("-->", 1)[1].split("<!-- end of models")[0].strip().splitlines()
    assert table[2:] == [row(spec) for spec in manifest().values()]
