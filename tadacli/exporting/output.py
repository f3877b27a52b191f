"""What an export leaves: the file and its report, and which libraries write them."""

from __future__ import annotations

from pathlib import Path

from tadacli.errors import UsageError
from tadacli.files import check_new_files, name_with
from tadacli.runtimes import ONNX, SUFFIXES


def report_file(file: Path) -> Path:
    """Where the report of an exported file lies: `model.onnx.report.json` beside `model.onnx`."""
    return file.with_name(name_with(file.name, ".report.json"))


def check_output(file: Path) -> None:
    """Check that a file can be made, before the work that goes into it is done.

    Args:
        file: Its name.

    Raises:
        UsageError: It is of another kind, or the libraries that write it are not installed.
        OutputError: It or its report is there already, or the folder is missing.
    """
    if file.suffix not in SUFFIXES:
        raise UsageError(f"{file} is no kind of exported file", hint=f"end its name in {' or '.join(SUFFIXES)}")
    check_new_files([file, report_file(file)])
    if file.suffix == ONNX:
        onnx_versions()


def onnx_versions() -> dict[str, str]:
    """The versions of the libraries that write ONNX files and run them.

    Raises:
        UsageError: They are not installed.
    """
    try:
        import onnx
        import onnxruntime
        import onnxscript
    except ImportError as error:
        raise UsageError(
            f"ONNX files need {error.name}, which is not installed",
            hint='pip install "tadacli[onnx]"; or export to .pt2, which needs nothing more',
        ) from error
    return {module.__name__: str(module.__version__) for module in (onnx, onnxscript, onnxruntime)}
