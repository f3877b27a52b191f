"""The package as a whole: who may import whom, public names, and what an installation carries."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import tadacli

PACKAGE = Path(tadacli.__file__).parent
ROOT = PACKAGE.parent

# Imports run downwards only: a module may import what stands in its own row or in a lower one.
LAYERS = [
    "__main__",
    "cli",
    "training.session",
    "training.finetune_card training.estimate",
    "training.run",
    "camera_motion.recipe camera_motion.__main__ reports.detection_report evaluation.evaluating evaluation.recognition evaluation.detections reports.eval_thumbnails doctor.diagnosis benchmarking.speed",
    "training.data datasets.own_data training.validation",
    "evaluation.prediction_file",
    "evaluation.predictions evaluation.detection_predictions",
    "formats training.model_card training.curves evaluation.eval_metrics reports.detection_page reports.eval_page reports.eval_json reports.eval_csv reports.pages reports.check",
    "detection.detecting detection.score_file",
    "benchmarking.frames_speed",
    "detection.scores evaluation.scoring doctor.self_test",
    "classification scoring.shared_batches scoring.views benchmarking.network_speed",
    "scoring.provenance reports.rendering doctor.store training.starting_point training.run_folder",
    "zoo.loading zoo.fetching",
    "zoo.conversion",
    "camera_motion.clips training.clips training.recipes",
    "camera_motion.footage datasets.check datasets.overlaps datasets.splitting",
    "datasets",
    "camera_motion.scenes video.inputs",
    "camera_motion.pictures training.loop",
    "sampling.windows sampling.plan reports.thumbnails concurrency video.parallel training.augmentation zoo.dtype",
    "models zoo.checkpoints video.reading transforms zoo.downloading",
    "video.decoder video.decode_plan video.jpeg_frames video.frame_table video.seeking",
    "video.truncation",
    "video.bitstream video.source",
    "detection.segments evaluation.report",
    "detection.actions detection.timelines detection.nms",
    "zoo.manifest",
    "sampling.clips specs evaluation.metrics evaluation.detection_metrics evaluation.calibration zoo.store zoo.sources profiling",
    "files evaluation.safe_pickle results doctor.findings doctor.codecs training.run_log timing training.optimisation distributed training.mirroring",
    "allocator errors version",
]


def layer(module: str) -> int:
    """Row of a module of the package, by the first part of its name."""
    parts = module.removeprefix("tadacli").lstrip(".").split(".")
    if parts == [""]:
        return len(LAYERS)  # the root only assembles lazily
    rows = {name: row for row, names in enumerate(LAYERS) for name in names.split()}
    return rows[".".join(parts[:2])] if ".".join(parts[:2]) in rows else rows[parts[0]]


def layer_of_modules(folder: Path) -> bool:
    """Whether a folder's modules have rows of their own, so that its `__init__` has none."""
    return folder == PACKAGE or any(name.startswith(f"{folder.name}.") for names in LAYERS for name in names.split())


def imports(file: Path) -> set[str]:
    """The modules of the package that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tadacli"):
            inside = [f"{node.module}.{alias.name}" for alias in node.names]
            found.update(name for name in inside if (ROOT / f"{name.replace('.', '/')}.py").is_file())
            if not all(name in found for name in inside):
                found.add(node.module or "")
        elif isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names if alias.name.startswith("tadacli"))
    return found


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.py")), ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_run_downwards(file: Path) -> None:
    if file.name == "__init__.py" and layer_of_modules(file.parent):
        return
    name = ".".join(file.relative_to(ROOT).with_suffix("").parts)
    upwards = [module for module in imports(file) if layer(module) < layer(name)]
    assert upwards == []


@pytest.mark.parametrize("library", ["typer", "rich", "tqdm"])
def test_only_the_command_line_knows(library: str) -> None:
    users = {
        file.relative_to(PACKAGE).parts[0]
        for file in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if (isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == library)
        or (isinstance(node, ast.Import) and any(alias.name.split(".")[0] == library for alias in node.names))
    }
    assert users <= {"cli"}


def test_no_module_hides_a_public_function() -> None:
    for module in pkgutil.walk_packages(tadacli.__path__, "tadacli."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in tadacli.__all__:
        assert not isinstance(getattr(tadacli, name), type(sys)), name
    assert {"classify", "detect", "evaluate", "finetune", "load_model"} <= set(tadacli.__all__)
    for name in ("classify", "detect", "evaluate", "finetune"):
        first, *others = inspect.signature(getattr(tadacli, name)).parameters.values()
        assert first.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD, f"the data of {name} come first"
        assert {other.kind for other in others} == {inspect.Parameter.KEYWORD_ONLY}, name
    for module, names in {
        "tadacli.models": ["add_tadaconv", "build"],
        "tadacli.sampling": ["clip_indices"],
        "tadacli.transforms": ["preprocess"],
        "tadacli.video": ["probe", "read_frames", "iter_frames"],
    }.items():
        assert all(callable(getattr(importlib.import_module(module), name)) for name in names)


def test_importing_the_package_imports_no_torch_and_still_offers_its_modules() -> None:
    program = (
        "import sys, tadacli\n"
        "heavy = 'torch' in sys.modules or 'av' in sys.modules\n"
        "tadacli.models.build, tadacli.video.probe, tadacli.sampling.clip_indices, tadacli.transforms.preprocess\n"
        "sys.exit(heavy)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_an_installed_wheel_works_outside_the_checkout(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "site")
    assert "tadacli/weights/r2plus1d_tiny.camera_motion.safetensors" in names
    assert "tadacli/zoo/labels/SOURCES.md" in names
    assert not [name for name in names if name.startswith(("tests", "benchmarks", "weights"))]
    # The extracted wheel stands first, and the checkout is not the working folder.
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r})\n"
        "import tadacli; from tadacli.camera_motion.scenes import render_sample; from tadacli.cli.app import run\n"
        f"assert tadacli.__file__.startswith({str(tmp_path)!r})\n"
        "render_sample('sample.mp4', motion='pan left')\n"
        "sys.argv = ['tada', 'classify', 'sample.mp4', '--topk', '1', '--format', 'csv']\n"
        "sys.exit(run())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert ",pan left,1," in done.stdout
