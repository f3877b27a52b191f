"""Whether this installation works: what it is made of, what it can do, and how to mend what is broken.

Every check stands alone, down to its imports: where one library is broken, the others are still looked at.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import platform
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tadacli.doctor.findings import Finding, message, pip_install
from tadacli.errors import TadaError
from tadacli.version import __version__

if TYPE_CHECKING:
    import torch

# Distributions with their module and the lowest version that will do, as in pyproject.toml.
PACKAGES = (
    ("torch", "torch", "2.12"),
    ("torchvision", "torchvision", "0.27"),
    ("av", "av", "18"),
    ("numpy", "numpy", ""),
    ("pandas", "pandas", "2.3.3"),
    ("pillow", "PIL", "10.1"),
    ("simplejpeg", "simplejpeg", "1.9"),
    ("safetensors", "safetensors", "0.4.3"),
    ("fsspec", "fsspec", "2024.2"),
    ("aiohttp", "aiohttp", "3.12"),
    ("gdown", "gdown", "6"),
    ("filelock", "filelock", "3.13"),
    ("platformdirs", "platformdirs", "4"),
    ("typer", "typer", "0.28"),
    ("pydantic", "pydantic", "2.12"),
    ("typing-extensions", "typing_extensions", "4.14.1"),
    ("rich", "rich", "13.8"),
    ("tqdm", "tqdm", "4.66"),
)
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
_AV = "av>=18"
# Where Linux shows that an NVIDIA driver is loaded, and how many processors a container may use.
NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")
CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def diagnose(
    *, on_finding: Callable[[Finding], object] = lambda _finding: None, raise_errors: bool = False
) -> list[Finding]:
    """The findings of all checks, always in the same order; `on_finding` gets each as soon as it is there.

    A check that fails by itself becomes a problem with its message, unless `raise_errors`.
    """
    findings: list[Finding] = []
    for group, check in CHECKS:
        for finding in _guarded(group, check, raise_errors=raise_errors):
            findings.append(finding)
            on_finding(finding)
    return findings


def _guarded(group: str, check: Callable[[], Iterable[Finding]], *, raise_errors: bool) -> Iterator[Finding]:
    try:
        yield from check()
    except Exception as error:  # whatever is broken, the other checks are still made
        if raise_errors:
            raise
        yield Finding(group, "check", "problem", f"it failed: {message(error)}", _mend(error))


def _mend(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name:
        module = error.name.split(".")[0]
        return pip_install(next((package[0] for package in PACKAGES if package[1] == module), module))
    hint = error.hint if isinstance(error, TadaError) else ""
    return hint or "TADA_DEBUG=1 tada doctor  (shows where; please report it)"


# --- versions -------------------------------------------------------------------------------------


def check_versions() -> Iterator[Finding]:
    """Python, tada and the libraries: what is missing, does not load or is too old."""
    python = f"{platform.python_version()} on {platform.system()} {platform.machine()}, {sys.executable}"
    yield Finding("versions", "python", "ok", python)
    yield Finding("versions", "tada", "ok", f"{__version__}, {Path(__file__).parents[1]}")
    for distribution, module, lowest in PACKAGES:
        yield _package(distribution, module, lowest)
    try:
        from av import ffmpeg_version_info, library_versions
    except Exception:  # said above, with what mends it
        yield Finding("versions", "FFmpeg", "note", "not known, since av does not load")
        return
    libraries = ", ".join(f"{name} {'.'.join(map(str, version))}" for name, version in sorted(library_versions.items()))
    yield Finding("versions", "FFmpeg", "ok", f"{ffmpeg_version_info}, which av brings: {libraries}")


def _package(distribution: str, module: str, lowest: str) -> Finding:
    wanted = f"{distribution}>={lowest}" if lowest else distribution
    again = _new_torch() if distribution in ("torch", "torchvision") else pip_install(wanted)
    try:
        loaded = importlib.import_module(module)
    except Exception as error:  # a library that is there can fail to load in any way
        absent = isinstance(error, ModuleNotFoundError) and error.name == module
        found = "not installed" if absent else f"it does not load: {message(error)}"
        return Finding("versions", distribution, "problem", found, again)
    try:
        version = importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        version = str(getattr(loaded, "__version__", "unknown"))
    if _release(version) and _release(version) < _release(lowest):
        return Finding("versions", distribution, "problem", f"{version}, but {lowest} or later is needed", again)
    return Finding("versions", distribution, "ok", version)


def _release(version: str) -> tuple[int, ...]:
    """The numbers of a version before any letters; trailing zeros do not count."""
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in re.sub(r"(\.0+)+$", "", found[0]).split(".")) if found else ()


# --- devices and threads --------------------------------------------------------------------------


def check_devices() -> Iterator[Finding]:
    """The processor, and every accelerator that torch offers: does it compute what the processor computes?"""
    import torch

    from tadacli.doctor.bfloat16 import check_bfloat16

    yield Finding("devices", "cpu", "ok", f"{num_cores()} cores can be used, {platform.machine()}")
    yield from check_bfloat16()
    num_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    for index in range(num_gpus):
        yield check_accelerator(torch.device("cuda", index), _gpu_memory)
    if not num_gpus:
        yield _no_gpu(torch.version.cuda)
    if torch.backends.mps.is_available():
        yield check_accelerator(torch.device("mps"), lambda _device: "Apple GPU")


def check_accelerator(device: torch.device, describe: Callable[[torch.device], str]) -> Finding:
    import torch

    try:
        found = describe(device)
        values = torch.arange(3 * 8 * 8, dtype=torch.float32).reshape(1, 3, 8, 8) / 192
        kernel = torch.arange(2 * 3 * 3 * 3, dtype=torch.float32).reshape(2, 3, 3, 3) / 54
        expected = torch.nn.functional.conv2d(values, kernel)
        computed = torch.nn.functional.conv2d(values.to(device), kernel.to(device)).cpu()
    except Exception as error:  # drivers fail in ways of their own
        return Finding("devices", str(device), "problem", f"it does not compute: {message(error)}", _without(device))
    if not torch.allclose(computed, expected, rtol=1e-2):
        return Finding("devices", str(device), "problem", f"{found}, computes wrong numbers", _without(device))
    return Finding("devices", str(device), "ok", f"{found}, computes right")


def _without(device: torch.device) -> str:
    if device.type == "cuda":
        return "CUDA_VISIBLE_DEVICES= tada classify VIDEO  (or --device cpu; nvidia-smi shows the driver)"
    return "tada classify VIDEO --device cpu"


def _gpu_memory(device: torch.device) -> str:
    import torch

    free, total = torch.cuda.mem_get_info(device)
    return f"{torch.cuda.get_device_name(device)}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free"


def _no_gpu(cuda_version: str | None) -> Finding:
    if not NVIDIA_DRIVER.exists():
        return Finding("devices", "cuda", "ok", "no NVIDIA driver here; models run on the processor")
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        found, fix = "CUDA_VISIBLE_DEVICES hides the GPU", "unset CUDA_VISIBLE_DEVICES"
    elif cuda_version is None:
        found, fix = "there is an NVIDIA driver, but torch is built without CUDA", _new_torch()
    else:
        found = f"there is an NVIDIA driver, but torch, built for CUDA {cuda_version}, finds no GPU"
        fix = "nvidia-smi  (says for which CUDA the driver is; it must not be older than that of torch)"
    return Finding("devices", "cuda", "note", found, fix)


def num_cores() -> int:
    """Processor cores that this process may use: of the machine, by affinity, or by the quota of a container."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = CPU_QUOTA.read_text(encoding="ascii").split()
        return max(1, min(cores, round(int(quota) / int(period))))
    except (OSError, ValueError):  # no such file, or no quota: "max"
        return cores


def check_threads() -> Iterator[Finding]:
    """Settings of threads that make scoring slow."""
    import torch

    cores, threads = num_cores(), torch.get_num_threads()
    settings = [(name, os.environ[name]) for name in _THREAD_VARIABLES if name in os.environ]
    for name, value in settings:
        if not (value.isascii() and value.isdigit() and int(value)):
            yield Finding("threads", name, "note", f"{value!r} is no number of threads", f"unset {name}")
        elif int(value) > cores:
            found = (
                f"it asks for {value} threads, but {cores} cores can be used; more threads than cores slow things down"
            )
            yield Finding("threads", name, "note", found, f"unset {name}")
        elif int(value) == 1 < cores:
            yield Finding("threads", name, "note", f"1 of {cores} cores is used", f"unset {name}")
    if threads > cores:
        found = f"torch starts {threads} threads for {cores} cores"
        yield Finding("threads", "torch", "note", found, f"export OMP_NUM_THREADS={cores}")
    else:
        yield Finding("threads", "torch", "ok", f"{threads} threads for {cores} cores")


# --- decoders -------------------------------------------------------------------------------------


def check_decoders() -> Iterator[Finding]:
    """The kinds of video that cameras, phones and the web produce, each tried; the less common ones by name."""
    from tadacli.doctor.codecs import CODINGS, LESS_COMMON, check_codec, has_decoder

    for name in CODINGS:
        try:
            state = check_codec(name)
        except Exception as error:  # the others are still tried
            yield Finding("decoders", name, "problem", f"it cannot be tried: {message(error)}", _new_av())
            continue
        if state.error:
            yield Finding("decoders", name, "problem", state.error, _new_av())
        elif state.encoder:
            yield Finding("decoders", name, "ok", f"{state.decoder} decodes what {state.encoder} encodes")
        else:
            yield Finding("decoders", name, "ok", f"{state.decoder} is there; not tried, since nothing encodes it here")
    absent = [name for name in LESS_COMMON if not has_decoder(name)]
    present = ", ".join(name for name in LESS_COMMON if name not in absent)
    if absent:
        found = f"there are {present or 'none'}; not there: {', '.join(absent)}"
        yield Finding("decoders", "less common", "note", found, _new_av())
    else:
        yield Finding("decoders", "less common", "ok", present)


def _new_av() -> str:
    return pip_install(_AV, "--only-binary", "av")  # the wheels have all decoders; a build of one's own may not


def _check_store() -> Iterable[Finding]:
    from tadacli.doctor.store import check_store

    return check_store()


# --- the built-in model ---------------------------------------------------------------------------


def check_built_in() -> Iterator[Finding]:
    """The built-in model: its weights, and a known clip through all of it, where "auto" would run it as well."""
    from tadacli.zoo.loading import resolve_device

    weights = _weights()
    yield weights
    best = resolve_device("auto").type
    for device in ("cpu",) if best == "cpu" else ("cpu", best):
        if weights.status == "ok":
            yield _self_test(device)
        else:
            yield Finding("built-in model", f"self-test on {device}", "note", "not made without the right weights")


def _weights() -> Finding:
    """Are the weights there, the published ones, and fit for their network?"""
    from tadacli.doctor.self_test import WEIGHTS_SHA256
    from tadacli.zoo import DEFAULT_MODEL
    from tadacli.zoo.loading import load_model

    try:
        model = load_model(device="cpu")
    except TadaError as error:
        return Finding("built-in model", "weights", "problem", error.message, weights_again())
    if model.weights_sha256 != WEIGHTS_SHA256:
        found = f"{model.weights_path} is not what was published: SHA-256 {model.weights_sha256}, not {WEIGHTS_SHA256}"
        return Finding("built-in model", "weights", "problem", found, weights_again())
    return Finding("built-in model", "weights", "ok", f"{DEFAULT_MODEL} loads, SHA-256 {model.weights_sha256}")


def _self_test(device: str) -> Finding:
    from tadacli.doctor.self_test import CannotTestError, self_test

    name = f"self-test on {device}"
    try:
        answer = self_test(device=device)
    except CannotTestError as error:
        return Finding("built-in model", name, "note", f"not made: {error.message}", _new_av())
    except Exception as error:  # another device may still work
        answered, wrong = "", message(error)
    else:
        answered, wrong = ", ".join(f"{label} {score:.3f}" for label, score in answer.scores.items()), answer.error
    if wrong:
        fix = _new_torch(_AV) if device == "cpu" else "tada classify VIDEO --device cpu"
        return Finding("built-in model", name, "problem", wrong, fix)
    return Finding("built-in model", name, "ok", f"{answered}, as expected")


CHECKS: tuple[tuple[str, Callable[[], Iterable[Finding]]], ...] = (
    ("versions", check_versions),
    ("devices", check_devices),
    ("threads", check_threads),
    ("decoders", check_decoders),
    ("store", _check_store),
    ("built-in model", check_built_in),
)


def _new_torch(*others: str) -> str:
    """The two are built for each other; one of another version may not load."""
    lowest = [f"{name}>={version}" for name, _, version in PACKAGES if name in ("torch", "torchvision")]
    return pip_install(*lowest, *others)


def weights_again(root: Path = Path(__file__).parents[2]) -> str:
    """The command that puts the built-in weights back: in a checkout at `root`, or from where tada was installed."""
    if (root / ".git").exists():
        return shlex.join(["git", "-C", str(root), "checkout", "--", "weights"])
    origin = "tadacli"
    try:
        text = importlib.metadata.distribution("tadacli").read_text("direct_url.json")
        origin = str(json.loads(text)["url"]) if text else origin
    except (importlib.metadata.PackageNotFoundError, ValueError, KeyError):
        pass
    return pip_install("--no-deps", origin)
