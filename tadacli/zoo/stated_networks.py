"""Which network a checkpoint states, as a builder's name and arguments.

A family of networks of the authors' code has the settings that change it here. What our builder makes in one way only,
and what no shape of the weights would show, is held to that way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

from tadacli.errors import CheckpointError
from tadacli.models import BUILDERS
from tadacli.strict_tables import in_one_line
from tadacli.zoo.stated import StatedSettings, Values

_STAGE_DEPTHS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}  # of a ResNet, by its layers
_STAGES = 4


@dataclass(frozen=True)
class StatedNetwork:
    """A network that a checkpoint states: arguments that it leaves out are missing, the classes are None then.

    `dropout` changes nothing in use, and so stands beside the arguments.
    """

    architecture: str
    arguments: Mapping[str, Any]
    num_classes: int | dict[str, int] | None
    dropout: float | None


@dataclass(frozen=True)
class _Family:
    """Networks of one builder: the values that a setting may have, and the builder's arguments by the others."""

    architecture: str
    allowed: Mapping[str, tuple[Any, ...]]
    arguments: Callable[[Values], dict[str, Any]]


def network_of(stated: StatedSettings, *, file: Path, architecture: str = "") -> StatedNetwork | None:
    """The network that a checkpoint states.

    Args:
        stated: Its settings.
        file: Where they stand, for errors.
        architecture: What is known of it, for settings that do not name the network.

    Returns:
        The network; None for settings that say nothing of it.

    Raises:
        CheckpointError: It is a network that this version cannot build, or not with these settings; the message names
            the key and the value.
    """
    values = stated.values
    name = values.get("MODEL.NAME")
    if name is None:
        named = [each for each in _FAMILIES.values() if each.architecture == architecture]
        if not named:
            return None
        family = named[0]
    elif name in _FAMILIES:
        family = _FAMILIES[name]
    else:
        known = ", ".join(_FAMILIES)
        raise _refused(file, "MODEL.NAME", name, f"and the networks that can be built are {known}")
    for key, allowed in {**_COMMON, **family.allowed}.items():
        if key in values and values[key] not in allowed:
            wanted = " or ".join(map(str, allowed))
            raise _refused(file, key, values[key], f"and {family.architecture} is built with {wanted} only")
    try:
        arguments = family.arguments(values)
    except _RefusedValueError as error:
        raise _refused(file, error.key, values[error.key], error.reason) from None
    return StatedNetwork(
        family.architecture, arguments, _num_classes(values, file), values.get("VIDEO.HEAD.DROPOUT_RATE")
    )


def usual_arguments(architecture: str) -> dict[str, Any]:
    """The arguments that a network is built with where nothing else is said, lists as tuples."""
    builder = getattr(import_module(f"tadacli.models.{BUILDERS[architecture]}"), architecture)
    found = {name: each.default for name, each in signature(builder).parameters.items()}
    return {name: plain(value) for name, value in found.items() if value is not Parameter.empty}


def plain(value: Any) -> Any:
    """An argument as it is compared: a list as a tuple."""
    return tuple(value) if isinstance(value, list) else value


class _RefusedValueError(Exception):
    """A setting whose value makes no network that can be built."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(key)
        self.key, self.reason = key, reason


def _refused(file: Path, key: str, value: object, reason: str) -> CheckpointError:
    shown = in_one_line(repr(value))
    return CheckpointError(
        f"{file} states a network that cannot be built: {key} is {shown}, {reason}", hint="nothing was stored"
    )


def _num_classes(values: Values, file: Path) -> int | dict[str, int] | None:
    found, head = values.get("VIDEO.HEAD.NUM_CLASSES"), values.get("VIDEO.HEAD.NAME", "BaseHead")
    if head not in ("BaseHead", "BaseHeadx2"):
        raise _refused(file, "VIDEO.HEAD.NAME", head, "and the heads that can be built are BaseHead, BaseHeadx2")
    if found is None:
        return None
    if head == "BaseHead" and isinstance(found, int):
        return found
    if head == "BaseHeadx2" and isinstance(found, list) and len(found) == 2:
        return dict(zip(("verb", "noun"), found, strict=True))
    raise _refused(file, "VIDEO.HEAD.NUM_CLASSES", found, f"which does not fit VIDEO.HEAD.NAME {head}")


def _stated(values: Values, **names: str) -> dict[str, Any]:
    """Arguments by name from the keys below VIDEO.BACKBONE that say them, those that are there."""
    keys = {name: f"VIDEO.BACKBONE.{key}" for name, key in names.items()}
    return {name: plain(values[key]) for name, key in keys.items() if key in values}


def _widths(values: Values, *, first: str, growth: tuple[int, ...]) -> dict[str, Any]:
    """The width of the first stage as the argument `first`, where the widths grow as they do in the network."""
    key = "VIDEO.BACKBONE.NUM_FILTERS"
    if key not in values:
        return {}
    widths = values[key]
    if widths != [widths[0] * factor for factor in growth]:
        raise _RefusedValueError(key, f"and the widths should grow by {', '.join(map(str, growth))}")
    _check_out_features(values, widths[-1])
    return {first: widths[0]}


def _check_out_features(values: Values, width: int) -> None:
    key = "VIDEO.BACKBONE.NUM_OUT_FEATURES"
    if values.get(key, width) != width:
        raise _RefusedValueError(key, f"and the last stage has {width}")


def _depths(values: Values) -> None:
    key = "VIDEO.BACKBONE.DEPTH"
    found = values.get(key)
    if key in values and (not isinstance(found, list) or len(found) != _STAGES):
        raise _RefusedValueError(key, f"and should be the blocks of {_STAGES} stages")


def _tada2d(values: Values) -> dict[str, Any]:
    arguments = _stated(values, route_ratio="BRANCH.ROUTE_FUNC_R", route_kernels="BRANCH.ROUTE_FUNC_K")
    key = "VIDEO.BACKBONE.DEPTH"
    if key in values:
        if isinstance(values[key], list) or values[key] not in _STAGE_DEPTHS:
            raise _RefusedValueError(key, f"and should be one of {', '.join(map(str, _STAGE_DEPTHS))}")
        arguments["stage_depths"] = _STAGE_DEPTHS[values[key]]
    return arguments | _widths(values, first="stem_width", growth=(1, 4, 8, 16, 32))


def _tadaconvnext(values: Values) -> dict[str, Any]:
    _depths(values)
    names = {"dims": "NUM_FILTERS", "depths": "DEPTH", "routing": "BRANCH.ROUTE_FUNC_TYPE"}
    arguments = _stated(values, **names, ratio="BRANCH.ROUTE_FUNC_R", kernels="BRANCH.ROUTE_FUNC_K")
    if "dims" in arguments:
        if len(arguments["dims"]) != _STAGES:
            raise _RefusedValueError("VIDEO.BACKBONE.NUM_FILTERS", f"and should be the widths of {_STAGES} stages")
        _check_out_features(values, arguments["dims"][-1])
    # What the authors' code takes where its tables say nothing.
    stem = {"stem_t_kernel": 2, "stem_t_stride": 2}
    return arguments | stem | _stated(values, stem_t_kernel="STEM.T_KERNEL_SIZE", stem_t_stride="STEM.T_STRIDE")


def _tadaconvnextv2(values: Values) -> dict[str, Any]:
    _depths(values)
    arguments = _stated(values, stage_depths="DEPTH", route_head_dim="BRANCH.HEAD_DIM")
    return arguments | _widths(values, first="stem_width", growth=(1, 2, 4, 8))


def _tadaformer(values: Values) -> dict[str, Any]:
    names = {"width": "NUM_FEATURES", "num_layers": "DEPTH", "patch_size": "PATCH_SIZE", "crop_size": "INPUT_RES"}
    arguments = _stated(values, **names, double_tada="DOUBLE_TADA", temporal_enhance="TEMP_ENHANCE")
    if isinstance(arguments.get("num_layers", 1), tuple):
        raise _RefusedValueError("VIDEO.BACKBONE.DEPTH", "and should be the number of layers")
    width = arguments.get("width")
    if width is not None:
        if width % 256:
            raise _RefusedValueError("VIDEO.BACKBONE.NUM_FEATURES", "and should be a multiple of 256")
        _check_out_features(values, width)
        if values.get("VIDEO.BACKBONE.NUM_HEADS", width // 64) != width // 64:
            raise _RefusedValueError("VIDEO.BACKBONE.NUM_HEADS", f"and heads are 64 wide, {width // 64} of them")
    size = values.get("DATA.TEST_CROP_SIZE")
    if "crop_size" in arguments and size not in (None, arguments["crop_size"]):
        raise _RefusedValueError("VIDEO.BACKBONE.INPUT_RES", f"and DATA.TEST_CROP_SIZE is {size}")
    return arguments


_COMMON: Mapping[str, tuple[Any, ...]] = {
    "VIDEO.BACKBONE.NUM_INPUT_CHANNELS": (3,),
    "VIDEO.HEAD.ACTIVATION": ("softmax",),
    "DATA.NUM_INPUT_CHANNELS": (3,),
    "DATA.MULTI_LABEL": (False,),
    "DATA.ENSEMBLE_METHOD": ("sum", "avg", "mean"),
}
_TADA2D = {
    "BN.EPS": (1e-5,),
    "VIDEO.BACKBONE.META_ARCH": ("ResNet3D",),
    "VIDEO.BACKBONE.KERNEL_SIZE": ([[1, 7, 7], *[[1, 3, 3]] * 4],),
    "VIDEO.BACKBONE.DOWNSAMPLING": ([True] * 5,),
    "VIDEO.BACKBONE.DOWNSAMPLING_TEMPORAL": ([False] * 5,),
    "VIDEO.BACKBONE.EXPANSION_RATIO": (4,),
    "VIDEO.BACKBONE.NONLOCAL.ENABLE": (False,),
    "VIDEO.BACKBONE.STEM.NAME": ("Base2DStem",),
    "VIDEO.BACKBONE.BRANCH.NAME": ("TAda2DBlock",),
    "VIDEO.BACKBONE.BRANCH.POOL_K": ([3, 1, 1],),
}
_CONVNEXT = {
    "VIDEO.BACKBONE.META_ARCH": ("ConvNeXt",),
    "VIDEO.BACKBONE.BRANCH.NAME": ("TAdaConvNeXtBlock",),
    "VIDEO.BACKBONE.BRANCH.ROUTE_FUNC_TYPE": ("normal_lngelu", "normal"),
}
_CONVNEXT_V2 = {
    "VIDEO.BACKBONE.META_ARCH": ("ConvNeXt",),
    "VIDEO.BACKBONE.STEM.T_KERNEL_SIZE": (3,),
    "VIDEO.BACKBONE.STEM.T_STRIDE": (2,),
    "VIDEO.BACKBONE.BRANCH.NAME": ("TAdaConvNeXtV2Block",),
    "VIDEO.BACKBONE.BRANCH.ROUTE_FUNC_R": (2,),
    "VIDEO.BACKBONE.BRANCH.ROUTE_FUNC_K": ([3, 3],),
}
_FORMER = {
    "VIDEO.BACKBONE.META_ARCH": ("VisionTransformer",),
    "VIDEO.BACKBONE.TUBLET_SIZE": (3,),
    "VIDEO.BACKBONE.TUBLET_STRIDE": (2,),
    "VIDEO.BACKBONE.REDUCTION": (2,),
    "VIDEO.BACKBONE.REQUIRE_PROJ": (False,),
    "VIDEO.BACKBONE.ATTN_MASK_ENABLE": (False,),
    "VIDEO.BACKBONE.BRANCH.NAME": ("TAdaFormerBlock",),
    "VIDEO.BACKBONE.BRANCH.ROUTE_FUNC_R": (2,),
    "VIDEO.BACKBONE.BRANCH.ROUTE_FUNC_K": ([3, 3],),
}
# By the name that the authors' code gives them.
_FAMILIES: Mapping[str, _Family] = {
    "TAda2D": _Family("tada2d_r50", _TADA2D, _tada2d),
    "ConvNeXt_tiny": _Family("tadaconvnext_tiny", _CONVNEXT, _tadaconvnext),
    "TAdaConvNeXtV2-Tiny": _Family("tadaconvnextv2_tiny", _CONVNEXT_V2, _tadaconvnextv2),
    "TAdaConvNeXtV2-Small": _Family("tadaconvnextv2_small", _CONVNEXT_V2, _tadaconvnextv2),
    "TAdaConvNeXtV2-Base": _Family("tadaconvnextv2_base", _CONVNEXT_V2, _tadaconvnextv2),
    "TAdaFormer_B16": _Family("tadaformer_b16", _FORMER, _tadaformer),
    "TAdaFormer_L14": _Family("tadaformer_l14", _FORMER, _tadaformer),
}
