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

# A module imports from its own package and from packages in lower rows; in one row, no two import each other.
LAYERS = [
    "__main__",
    "cli",
    "benchmarking exporting",
    "camera_motion",
    "training",
    "reports doctor cluster",
    "evaluation detection classification excerpts",
    "datasets scoring",
    "formats sampling encoding",
    "video zoo",
    "runtimes",
    "models transforms specs concurrency distributed files",
    "results profiling timing strict_tables",
    "allocator errors version",
]
ROWS = {package: row for row, packages in enumerate(LAYERS) for package in packages.split()}
MODULES = sorted(file for file in PACKAGE.rglob("*.py") if file != PACKAGE / "__init__.py")
NUM_LOOSE_MODULES, NUM_LINES = 15, 450


def package_of(file: Path) -> str:
    """The package of a module, or the name of one that stands directly in `tadacli/`."""
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_packages(file: Path) -> set[str]:
    """The packages and loose modules that a file imports from, wherever in it, but its own."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "tadacli":
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tadacli."):
            names.add((node.module or "").split(".")[1])
        elif isinstance(node, ast.Import):
            names.update(alias.name.split(".")[1] for alias in node.names if alias.name.startswith("tadacli."))
    return names - {package_of(file)}


@pytest.mark.parametrize("file", MODULES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_run_downwards(file: Path) -> None:
    upwards = [name for name in imported_packages(file) if ROWS[name] < ROWS[package_of(file)]]
    assert upwards == []


def test_no_packages_import_each_other() -> None:
    arrows = {(package_of(file), name) for file in MODULES for name in imported_packages(file)}
    assert [(one, other) for one, other in sorted(arrows) if (other, one) in arrows] == []


def test_no_modules_import_each_other() -> None:
    """Not even within one package, where the row of the package does not order them."""
    names = {".".join(file.relative_to(ROOT).with_suffix("").parts): file for file in MODULES}
    arrows = {name: {other for other in imported_modules(file) if other in names} for name, file in names.items()}
    while free := [name for name, others in arrows.items() if not others & arrows.keys()]:
        for name in free:
            del arrows[name]
    assert sorted(arrows) == []


def imported_modules(file: Path) -> set[str]:
    """The modules that a file imports, also those imported where they are used, but not those for types alone."""
    tree = ast.parse(file.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = []
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            found.update({node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)})
        elif isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
    return found


def test_the_tree_says_where_things_are() -> None:
    assert len(list(PACKAGE.glob("*.py"))) <= NUM_LOOSE_MODULES
    long = {str(file.relative_to(PACKAGE)): len(file.read_text().splitlines()) for file in MODULES}
    assert {name: lines for name, lines in long.items() if lines > NUM_LINES} == {}
    assert [
        file.parent.name for file in PACKAGE.rglob("__init__.py") if not ast.get_docstring(ast.parse(file.read_text()))
    ] == []


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
    assert {"classify", "detect", "evaluate", "features", "finetune", "load_model"} <= set(tadacli.__all__)
    for name in ("classify", "detect", "evaluate", "features", "finetune", "iter_classify", "iter_detect"):
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
    assert "tadacli/py.typed" in names
    assert not [name for name in names if name.startswith(("tests", "benchmarks", "weights"))]
    # The extracted wheel stands first, and the checkout is not the working folder.
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r})\n"
        "import tadacli; from tadacli.cli.app import run\n"
        "from tadacli.camera_motion.virtual_camera import render_sample\n"
        f"assert tadacli.__file__.startswith({str(tmp_path)!r})\n"
        "render_sample('sample.mp4', motion='pan left')\n"
        "sys.argv = ['tada', 'classify', 'sample.mp4', '--topk', '1', '--format', 'csv']\n"
        "sys.exit(run())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "sample.mp4,1,pan left," in done.stdout
