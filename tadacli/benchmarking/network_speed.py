"""How fast a network runs on this machine: in which dtype, with how many clips at a time, and how near to its limit."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from tadacli.errors import UsageError
from tadacli.models import BUILDERS, build
from tadacli.models.arithmetic import repeatable_arithmetic
from tadacli.models.inference import fuse
from tadacli.runtimes import is_exported_file
from tadacli.specs import ModelSpec
from tadacli.timing import Timing, in_turns, take_turns, wait_for, warm_up
from tadacli.training.starting_point import base_spec, fresh_network
from tadacli.zoo.dtype import has_bfloat16
from tadacli.zoo.loading import DTYPES, Model, find_spec, load_model, network_on, resolve_device
from tadacli.zoo.manifest import cards
from tadacli.zoo.store import stored

# Sides of a matrix large enough for the best rate of a processor or of an accelerator.
MATRIX_SIZE, ACCELERATOR_MATRIX_SIZE = 2048, 8192
# The heads of a network by itself, as on Kinetics-400.
NUM_CLASSES = 400
REFERENCE = "float32"


@dataclass(frozen=True)
class PassSpeed:
    """One pass of the network over a batch of clips; `left_out` says why there is no `timing`.

    `matrix_share` is the rate of multiply-adds as a share of that of a large matrix product of the same dtype.
    """

    dtype: str
    batch_size: int
    timing: Timing | None = None
    matrix_share: float | None = None
    left_out: str = ""

    @property
    def clips_per_second(self) -> float:
        """Clips a second, by the median; 0 where the pass was left out."""
        return 0.0 if self.timing is None else self.batch_size / self.timing.median_seconds


@dataclass(frozen=True)
class NetworkSpeed:
    """What the passes take, and by dtype what the matrix products of `matrix_size` take.

    `beside` are passes of exported files, with the name of the file in the place of a dtype. `multiply_adds` are those
    of the convolutions and matrix products for one clip; 0 where they cannot be counted.
    """

    passes: tuple[PassSpeed, ...]
    multiply_adds: int
    matrix_size: int
    matrix_products: Mapping[str, Timing] = field(default_factory=dict)
    beside: tuple[PassSpeed, ...] = ()

    @property
    def reference(self) -> PassSpeed:
        """The pass that the others are compared with: float32, the smallest batch."""
        return self.passes[0]

    def clip_seconds(self, dtype: str, batch_size: int) -> float:
        """Seconds for one clip in a batch of this size, or of the nearest size that was measured, a smaller if any."""
        known = [each for each in self.passes if each.dtype == dtype and each.timing is not None]
        smaller = [each for each in known if each.batch_size <= batch_size]
        return 1 / (smaller[-1] if smaller else known[0]).clips_per_second


@dataclass(frozen=True)
class Agreement:
    """On how many clips the best class of every head is the one of float32."""

    dtype: str
    num_agreeing: int
    num_clips: int


def model_to_time(name_or_path: str, *, weights: str | None = None, device: str = "auto") -> Model:
    """A model in float32 whose speed is to be measured, as `load_model` gives it.

    A time needs no weights: where those of a known model are not on this machine, or it is the name of a network
    alone, they are random.

    Args:
        name_or_path: A model or network by name, a run's folder, or a .safetensors file.
        weights: A file with the weights of a known model.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".

    Returns:
        The model; its hash of random weights is "".

    Raises:
        TadaError: What `load_model` raises.
    """
    target = resolve_device(device)
    if weights is not None or not _lacks_weights(name_or_path):
        return load_model(name_or_path, weights=weights, device=device)
    spec = find_spec(name_or_path) if name_or_path in cards() else _spec_of_network(name_or_path)
    network = network_on(fuse(fresh_network(spec).eval()), target, torch.float32)
    return Model(spec, network, target, torch.float32, Path(), "")


def _lacks_weights(name: str) -> bool:
    if name not in cards():
        return name in BUILDERS
    return not find_spec(name).source.file and stored(name) is None


def _spec_of_network(name: str) -> ModelSpec:
    """A network by its own name, on clips like those of the published 8x8 models, or of the one size it takes."""
    spec = replace(base_spec(name)[0], heads={"": tuple(str(number) for number in range(NUM_CLASSES))})
    with torch.device("meta"):
        size = getattr(build(name, num_classes=NUM_CLASSES), "crop_size", spec.input.crop_size)
    return replace(spec, input=replace(spec.input, crop_size=size, short_side=size))


def files_to_time(files: Sequence[Path], model: Model, *, device: str = "auto") -> dict[str, Model]:
    """Exported files of a model, to be put beside it.

    Args:
        files: Their paths.
        model: The model.
        device: As for `model_to_time`.

    Returns:
        The models in them, by file name.

    Raises:
        UsageError: Two files have one name, or one holds another network or clips of another size.
        TadaError: What `load_model` raises.
    """
    found: dict[str, Model] = {}
    for file in files:
        if not is_exported_file(file):
            raise UsageError(f"{file} is no exported file", hint="tada export MODEL -o FILE makes one")
        other = load_model(file, device=device)
        spec, own = other.spec, model.spec
        if (spec.architecture, dict(spec.arguments)) != (own.architecture, dict(own.arguments)) or (
            spec.input.clip_frames,
            spec.input.crop_size,
        ) != (own.input.clip_frames, own.input.crop_size):
            raise UsageError(f"{file} holds {spec.name}, which is another network", hint=f"export {own.name}")
        if file.name in found:
            raise UsageError(f"two of the files are called {file.name}", hint="give them names of their own")
        found[file.name] = other
    return found


def dtypes_to_time(asked: str, device: torch.device) -> list[str]:
    """The number types to measure, float32 first, which the others are compared with.

    Args:
        asked: Names with commas between, or "auto": float32, and bfloat16 where the device is fast with it.
        device: The device.

    Returns:
        Their names, each once.

    Raises:
        UsageError: One is unknown.
    """
    if asked == "auto":
        return [REFERENCE, "bfloat16"] if has_bfloat16(device) else [REFERENCE]
    names = [name.strip() for name in asked.split(",")]
    for name in names:
        if name not in DTYPES:
            hint = f"choose from {', '.join(DTYPES)}, with commas between, or auto"
            raise UsageError(f"unknown dtype {name!r}", hint=hint)
    return list(dict.fromkeys([REFERENCE, *names]))


def in_dtypes(model: Model, dtypes: Sequence[str]) -> dict[str, Model]:
    """The model in each of the number types, by name; that in its own is the model itself.

    Args:
        model: The model.
        dtypes: Names of number types.

    Returns:
        Models that share nothing but what does not depend on the type.

    Raises:
        UsageError: The model is an exported file, which has one type.
    """
    if model.runtime is not None and any(DTYPES[name] != model.dtype for name in dtypes):
        raise UsageError(f"{model.weights_path} is an exported file, of one number type", hint="use --dtype float32")
    return {
        name: model
        if DTYPES[name] == model.dtype
        else replace(model, network=copy.deepcopy(model.network).to(DTYPES[name]), dtype=DTYPES[name])
        for name in dtypes
    }


@torch.inference_mode()
@repeatable_arithmetic()
def measure_network(
    models: Mapping[str, Model],
    *,
    batch_sizes: Sequence[int],
    seconds: float,
    beside: Mapping[str, Model] | None = None,
) -> NetworkSpeed:
    """What passes of a network take, and matrix products of the same number types to compare them with.

    They take turns. A batch whose pass would take more than twice its time is left out, as is one that the memory or
    the device cannot do.

    Args:
        models: The model by number type, float32 first.
        batch_sizes: Clips at a time, ascending.
        seconds: About how long each of the measurements takes.
        beside: Exported files of the model by name, to be put beside it.

    Returns:
        The passes in this order, also those that were left out, with the reason.
    """
    model = models[REFERENCE]
    size = MATRIX_SIZE if model.device.type == "cpu" else ACCELERATOR_MATRIX_SIZE
    passes: dict[PassSpeed, Callable[[], object] | None] = {}
    for dtype, form in {**models, **(beside or {})}.items():
        known: tuple[int, float] | None = None
        for batch_size in batch_sizes:
            expected = 0.0 if known is None else known[1] * batch_size / known[0]
            if expected > 2 * seconds:
                passes[PassSpeed(dtype, batch_size, left_out=_too_long(expected))] = None
                continue
            run = partial(_pass, form, _random_clips(form, batch_size))
            try:
                known = batch_size, warm_up(run, seconds=seconds / 2)
            except RuntimeError as error:
                if not (reason := _limit_of_machine(error)) or not passes:
                    raise
                passes[PassSpeed(dtype, batch_size, left_out=reason)] = None
            else:
                passes[PassSpeed(dtype, batch_size)] = run
    products: dict[str, Callable[[], object]] = {}
    for dtype in dict.fromkeys(each.dtype for each in passes if not each.left_out and each.dtype in models):
        product = partial(_product, torch.rand(size, size, device=model.device).to(DTYPES[dtype]))
        if warm_up(product, seconds=seconds / 2) <= 2 * seconds:
            products[dtype] = product
    runs = [run for run in passes.values() if run is not None]
    timings = take_turns([in_turns(run, seconds=seconds) for run in (*runs, *products.values())], seconds=seconds)
    matrices = dict(zip(products, timings[len(runs) :], strict=True))
    count = multiply_adds(model.spec)
    coming = iter(timings)
    done = tuple(each if each.left_out else _timed(each, next(coming), matrices, count, size) for each in passes)
    own = tuple(each for each in done if each.dtype in models)
    return NetworkSpeed(own, count, size, matrices, tuple(each for each in done if each.dtype not in models))


def _timed(each: PassSpeed, timing: Timing, matrices: Mapping[str, Timing], count: int, matrix_size: int) -> PassSpeed:
    share, product = None, matrices.get(each.dtype)
    if count and product is not None:
        rate = count * each.batch_size / timing.median_seconds
        share = rate * product.median_seconds / matrix_size**3
    return replace(each, timing=timing, matrix_share=share)


def _random_clips(model: Model, batch_size: int) -> Tensor:
    """Clips (B, 3, T, crop, crop) of noise: what they show does not change how long they take."""
    spec = model.spec.input
    generator = torch.Generator().manual_seed(0)
    clip = torch.randn((1, 3, spec.clip_frames, spec.crop_size, spec.crop_size), generator=generator)
    return clip.to(model.device, model.dtype).repeat(batch_size, 1, 1, 1, 1)


def _pass(model: Model, clips: Tensor) -> None:
    model.network(clips)
    wait_for(model.device)


def _product(matrix: Tensor) -> None:
    torch.mm(matrix, matrix)
    wait_for(matrix.device)


def _too_long(expected: float) -> str:
    return f"about {expected:.1f} s a pass; --seconds {math.ceil(0.6 * expected)} measures it"


def _limit_of_machine(error: RuntimeError) -> str:
    """What a device or its memory lacks, "" for any other error."""
    text = str(error).splitlines()[0]
    if "not implemented" in text:
        return "this device has no such operations"
    return "not enough memory" if "memory" in text else ""


@torch.inference_mode()
def multiply_adds(spec: ModelSpec) -> int:
    """Multiply-adds of the convolutions and matrix products of one clip, counted without computing anything.

    Args:
        spec: The model.

    Returns:
        Those of the network as it is trained; 0 where it does something that cannot be counted so.
    """
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        network = build(spec.architecture, num_classes=spec.num_classes, **spec.arguments).eval()
        clip = torch.empty(1, 3, spec.input.clip_frames, spec.input.crop_size, spec.input.crop_size)
        try:
            with FlopCounterMode(display=False) as counter:
                network(clip)
        except NotImplementedError:
            return 0
    return int(counter.get_total_flops()) // 2


@torch.inference_mode()
def agreements(models: Mapping[str, Model], clips: Sequence[Tensor], *, seconds: float) -> tuple[Agreement, ...]:
    """How often each number type but float32 gives the best classes of float32.

    Args:
        models: The model by number type, float32 among them.
        clips: Clips (3, T, crop, crop) in float32.
        seconds: The time there is; at least one clip is used, if there are any.

    Returns:
        The counts of each other type; none without clips.
    """
    others = {dtype: model for dtype, model in models.items() if dtype != REFERENCE}
    counts = dict.fromkeys(others, 0)
    started, num_clips = time.perf_counter(), 0
    for clip in clips if others else ():
        expected = _best_classes(models[REFERENCE], clip)
        for dtype, model in others.items():
            counts[dtype] += _best_classes(model, clip) == expected
        num_clips += 1
        if time.perf_counter() - started > seconds:
            break
    return tuple(Agreement(dtype, count, num_clips) for dtype, count in counts.items() if num_clips)


def _best_classes(model: Model, clip: Tensor) -> list[int]:
    logits = model.network(clip[None].to(model.device, model.dtype))
    named = logits if isinstance(logits, dict) else {"": logits}
    return [int(values[0].argmax()) for values in named.values()]


def check_batch_sizes(text: str) -> list[int]:
    """The batch sizes of a text.

    Args:
        text: Such as "1,4,8".

    Returns:
        The numbers, ascending, each once.

    Raises:
        UsageError: It is anything else than positive whole numbers with commas between.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and int(part) for part in parts):
        raise UsageError(f"batch sizes {text!r} cannot be read", hint="give numbers, for example --batch-size 1,4,8")
    return sorted({int(part) for part in parts})
