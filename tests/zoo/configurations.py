"""Tables of settings as the authors' training code keeps them, resolved, for every network that was published."""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from tadacli.specs import ModelSpec
from tadacli.zoo.checkpoints import Checkpoint
from tadacli.zoo.manifest import ModelCard
from tadacli.zoo.stated import settings_in_cfg

CLIP = {"MEAN": [0.48145466, 0.4578275, 0.40821073], "STD": [0.26862954, 0.26130258, 0.27577711]}
FILE = Path("published.pyth")


def _convnext(depths: list[int], widths: list[int], **others: Any) -> dict[str, Any]:
    return {
        "META_ARCH": "ConvNeXt",
        "DEPTH": depths,
        "NUM_FILTERS": widths,
        "NUM_INPUT_CHANNELS": 3,
        "NUM_OUT_FEATURES": widths[-1],
        "DROP_PATH": 0.2,
        "LARGE_SCALE_INIT_VALUE": "1e-6",  # as a YAML reader leaves a number without a point
        **others,
    }


def _v2(depths: list[int], width: int, head_dim: int) -> dict[str, Any]:
    branch = {"NAME": "TAdaConvNeXtV2Block", "ROUTE_FUNC_K": [3, 3], "ROUTE_FUNC_R": 2, "HEAD_DIM": head_dim}
    widths = [width * 2**stage for stage in range(4)]
    return _convnext(depths, widths, STEM={"T_KERNEL_SIZE": 3, "T_STRIDE": 2}, BRANCH=branch)


def _former(layers: int, width: int, patch: int) -> dict[str, Any]:
    return {
        "META_ARCH": "VisionTransformer",
        "INPUT_RES": 224,
        "PATCH_SIZE": patch,
        "TUBLET_SIZE": 3,
        "TUBLET_STRIDE": 2,
        "NUM_FEATURES": width,
        "NUM_OUT_FEATURES": width,
        "DEPTH": layers,
        "NUM_HEADS": width // 64,
        "DROP_PATH": 0.0,
        "REQUIRE_PROJ": False,
        "ATTN_MASK_ENABLE": False,
        "REDUCTION": 2,
        "DOUBLE_TADA": False,
        "TEMP_ENHANCE": False,
        "BRANCH": {"NAME": "TAdaFormerBlock", "ROUTE_FUNC_K": [3, 3], "ROUTE_FUNC_R": 2},
    }


_TADA2D = {
    "META_ARCH": "ResNet3D",
    "DEPTH": 50,
    "NUM_FILTERS": [64, 256, 512, 1024, 2048],
    "NUM_INPUT_CHANNELS": 3,
    "NUM_OUT_FEATURES": 2048,
    "KERNEL_SIZE": [[1, 7, 7], [1, 3, 3], [1, 3, 3], [1, 3, 3], [1, 3, 3]],
    "DOWNSAMPLING": [True] * 5,
    "DOWNSAMPLING_TEMPORAL": [False] * 5,
    "NUM_STREAMS": 1,
    "EXPANSION_RATIO": 4,
    "STEM": {"NAME": "Base2DStem"},
    "BRANCH": {"NAME": "TAda2DBlock", "ROUTE_FUNC_K": [3, 3], "ROUTE_FUNC_R": 4, "POOL_K": [3, 1, 1]},
    "NONLOCAL": {"ENABLE": False, "STAGES": [5]},
    "INITIALIZATION": "kaiming",
}
_BRANCH = {"NAME": "TAdaConvNeXtBlock", "ROUTE_FUNC_K": [3, 3], "ROUTE_FUNC_R": 4, "ROUTE_FUNC_TYPE": "normal_lngelu"}
# By architecture: the authors' name of the network, and its table.
NETWORKS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "tada2d_r50": ("TAda2D", _TADA2D),
    "tadaconvnext_tiny": (
        "ConvNeXt_tiny",
        _convnext([3, 3, 9, 3], [96, 192, 384, 768], STEM={"T_KERNEL_SIZE": 3}, BRANCH=_BRANCH),
    ),
    "tadaconvnextv2_tiny": ("TAdaConvNeXtV2-Tiny", _v2([3, 3, 9, 3], 96, 48)),
    "tadaconvnextv2_small": ("TAdaConvNeXtV2-Small", _v2([3, 3, 27, 3], 96, 48)),
    "tadaconvnextv2_base": ("TAdaConvNeXtV2-Base", _v2([3, 3, 27, 3], 128, 64)),
    "tadaformer_b16": ("TAdaFormer_B16", _former(12, 768, 16)),
    "tadaformer_l14": ("TAdaFormer_L14", _former(24, 1024, 14)),
}


def tables_for(architecture: str, *, num_classes: int) -> dict[str, Any]:
    """The tables of a network, with clips of 16 frames at 5 of 30 a second; paths and secrets stand among them."""
    name, backbone = NETWORKS[architecture]
    data: dict[str, Any] = {
        "DATA_ROOT_DIR": "/home/someone/videos",
        "NUM_INPUT_FRAMES": 16,
        "NUM_INPUT_CHANNELS": 3,
        "SAMPLING_MODE": "interval_based",
        "SAMPLING_RATE": 5,
        "TEST_SCALE": 256,
        "TEST_CROP_SIZE": 256,
        "MEAN": [0.45, 0.45, 0.45],
        "STD": [0.225, 0.225, 0.225],
        "MULTI_LABEL": False,
        "ENSEMBLE_METHOD": "sum",
        "TARGET_FPS": 30,
        "MINUS_INTERVAL": False,
    }
    if architecture.startswith("tadaformer"):
        data |= {"TEST_SCALE": 224, "TEST_CROP_SIZE": 224, "SAMPLING_MODE": "segment_based", **CLIP}
    return {
        "TASK_TYPE": "classification",
        "OSS": {"ENABLE": True, "KEY": "a-key", "SECRET": "a-secret"},
        "TEST": {"NUM_ENSEMBLE_VIEWS": 1, "NUM_SPATIAL_CROPS": 1},
        "BN": {"EPS": "1e-5", "MOMENTUM": 0.1},
        "MODEL": {"NAME": name, "EMA": {"ENABLE": False}},
        "VIDEO": {
            "BACKBONE": deepcopy(backbone),
            "HEAD": {"NAME": "BaseHead", "ACTIVATION": "softmax", "DROPOUT_RATE": 0.5, "NUM_CLASSES": num_classes},
        },
        "DATA": data,
        "VISUALIZATION": None,
    }


def tables_of(card: ModelCard) -> dict[str, Any]:
    """The tables that the published file of a card would have; settings that nobody knows are made up."""
    assert isinstance(card.num_classes, int)
    tables = tables_for(card.architecture, num_classes=card.num_classes)
    known, data = dict(card.input), tables["DATA"]
    data["NUM_INPUT_FRAMES"] = known.get("clip_frames", 16)
    if known.get("sampling") == "segment":
        data["SAMPLING_MODE"] = "segment_based"
    if known.get("sampling") == "interval":
        data["SAMPLING_MODE"] = "interval_based"
        data["SAMPLING_RATE"] = known.get("frame_stride", 2)
    for key, name in (("double_tada", "DOUBLE_TADA"), ("temporal_enhance", "TEMP_ENHANCE")):
        if key in card.arguments:
            tables["VIDEO"]["BACKBONE"][name] = card.arguments[key]
    return tables


def changed(tables: Mapping[str, Any], key: str, value: Any) -> dict[str, Any]:
    """The tables with another value under a dotted key; `...` takes the key away."""
    copy = deepcopy(dict(tables))
    *path, last = key.split(".")
    table = copy
    for part in path:
        table = table[part]
    if value is ...:
        del table[last]
    else:
        table[last] = value
    return copy


def stating(tables: Any, *, spec: ModelSpec | None = None) -> Checkpoint:
    """A checkpoint without weights that states these tables; None for one that states nothing."""
    text = tables if isinstance(tables, str) else json.dumps(tables)
    return Checkpoint(FILE, {}, spec, "0" * 64, None if tables is None else settings_in_cfg(text, file=FILE))


def hub_tables(*, num_classes: int = 3, tiny: bool = True, **stem: int) -> dict[str, Any]:
    """A made-up `configuration.json` of the hub: by default of a network that is quick to build."""
    tables = tables_for("tadaconvnext_tiny", num_classes=num_classes)
    backbone = tables["VIDEO"]["BACKBONE"]
    backbone["STEM"] = dict(stem)
    if tiny:
        backbone |= {"DEPTH": [1, 1, 1, 1], "NUM_FILTERS": [8, 16, 32, 64], "NUM_OUT_FEATURES": 64}
        tables["DATA"] |= {"NUM_INPUT_FRAMES": 4, "TEST_SCALE": 32, "TEST_CROP_SIZE": 32}
    del tables["DATA"]["SAMPLING_MODE"]
    return {
        "framework": "pytorch",
        "task": "action-recognition",
        "pipeline": {"type": "TAdaConv_action-recognition"},
        **tables,
        "TEST": {"NUM_ENSEMBLE_VIEWS": 4, "NUM_SPATIAL_CROPS": 3},
        "label_mapping": {str(index): f"action {index}" for index in range(num_classes)},
    }
