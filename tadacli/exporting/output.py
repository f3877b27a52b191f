"""What an export leaves: the file and its report, and which libraries write them."""

from __future__ import annotations

from collections.abc import Sequence
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


def check_int8(file: Path, clips: Sequence[str], min_agreement: float) -> None:
    """Raises `UsageError` for what cannot be in eight bits: another file than ONNX, no clips, or no share to reach."""
    if file.suffix != ONNX:
        raise UsageError(f"{file} cannot be in int8: only ONNX files can", hint="end its name in .onnx")
    if not clips:
        raise UsageError("int8 needs videos to calibrate on", hint="add --clips FOLDER with videos like those to come")
    if not 0 <= min_agreement <= 1:
        raise UsageError(
            f"a share of {min_agreement:g} is not between 0 and 1", hint="for example --min-agreement 0.98"
        )


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
