"""Weights of networks of pictures that training starts from: those of torchvision, trained on ImageNet, and of CLIP.

They go through the same downloader into the same store as published models do, and are held to the hashes that their
addresses state. They are no models: nothing but training takes them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tadacli.errors import CheckpointError, FetchError
from tadacli.specs import WeightsSource
from tadacli.zoo.store import FileHash, hash_file

if TYPE_CHECKING:
    from tadacli.zoo.checkpoints import Checkpoint

ImageKind = Literal["imagenet", "clip"]
IMAGE_KINDS: Mapping[str, str] = {"imagenet": "ImageNet", "clip": "CLIP"}  # as people call them
_KEY = "tada_image_weights"
_OF_CLIP = "visual."  # how the names of CLIP's image encoder begin; what encodes its texts is of no use here


@dataclass(frozen=True)
class ImageWeights:
    """Published weights of a network of pictures: the name of their file, and where it is.

    `hash_begin` is what the SHA-256 of the file begins with, as its address states it.
    """

    name: str
    kind: ImageKind
    file: str
    hash_begin: str
    source: WeightsSource


def _of_torchvision(name: str, file: str) -> ImageWeights:
    source = WeightsSource(url=f"https://download.pytorch.org/models/{file}", licence="BSD-3-Clause")
    return ImageWeights(name, "imagenet", file, Path(file).stem.rsplit("-", 1)[-1], source)


def _of_clip(name: str, file: str, sha256: str) -> ImageWeights:
    url = f"https://openaipublic.azureedge.net/clip/models/{sha256}/{file}"
    return ImageWeights(name, "clip", file, sha256, WeightsSource(url=url, licence="MIT", sha256=sha256))


IMAGE_WEIGHTS: Mapping[str, ImageWeights] = {
    each.name: each
    for each in (
        _of_torchvision("resnet50.imagenet", "resnet50-19c8e357.pth"),
        _of_torchvision("convnext_tiny.imagenet", "convnext_tiny-983f1562.pth"),
        _of_torchvision("convnext_small.imagenet", "convnext_small-0c510722.pth"),
        _of_torchvision("convnext_base.imagenet", "convnext_base-6075fbad.pth"),
        _of_clip("vit_b16.clip", "ViT-B-16.pt", "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f"),
        _of_clip("vit_l14.clip", "ViT-L-14.pt", "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836"),
    )
}


def earlier_file(weights: ImageWeights) -> Path | None:
    """The file where torchvision and earlier versions keep it, if it is there and is the published one."""
    import torch

    file = Path(torch.hub.get_dir()) / "checkpoints" / weights.file
    if file.is_file() and hash_file(file).sha256.startswith(weights.hash_begin):
        return file
    return None


def convert_image_weights(file: Path, target: Path, *, weights: ImageWeights, original: FileHash) -> None:
    """Write published image weights as safetensors, names and numbers as they are; of CLIP the image encoder alone.

    The same file gives the same bytes.

    Args:
        file: The published weights.
        target: The file to write, replaced if it is there.
        weights: What they are.
        original: What the published file was when it was looked at before.

    Raises:
        FetchError: It is another file than its address states.
        CheckpointError: It is unsafe, damaged, or holds no weights; then nothing is written.
    """
    from safetensors.torch import save

    from tadacli.files import write_new

    if not original.sha256.startswith(weights.hash_begin):
        raise FetchError(
            f"{file} is not {weights.file}: its SHA-256 is {original.sha256}, which does not begin with "
            f"{weights.hash_begin}",
            hint="download it again, from a source that you trust",
        )
    checkpoint = read_image_weights(file)
    if checkpoint.sha256 != original.sha256:
        raise CheckpointError(f"{file} changed while it was read", hint="start again once nothing writes to it")
    tensors = {name: tensor.contiguous() for name, tensor in checkpoint.state_dict.items()}
    write_new(target, save(tensors, metadata={_KEY: weights.name}), replace=True)


def read_image_weights(path: str | os.PathLike[str]) -> Checkpoint:
    """The weights of a network of pictures, from a file of torch.save, safetensors, or the TorchScript archive of CLIP.

    Of the archive the code is not run, and the part that encodes texts is left out.

    Args:
        path: The file.

    Returns:
        The weights by name.

    Raises:
        CheckpointError: The file is missing, damaged, unsafe or holds no weights.
    """
    from tadacli.zoo.checkpoints import Checkpoint, read_checkpoint
    from tadacli.zoo.conversion import refuse_archive
    from tadacli.zoo.torch_script import TorchScriptError, is_torch_script, read_torch_script

    file = Path(path)
    if not file.is_file() or not is_torch_script(file):
        if file.is_file() and file.suffix != ".safetensors":
            refuse_archive(file)
        return read_checkpoint(file)
    try:
        found = read_torch_script(file)
    except TorchScriptError as error:
        raise CheckpointError(
            f"{file} is a TorchScript archive that cannot be read: {error}",
            hint="its code was not run; fetch the file again, or give its weights as a file of torch.save",
        ) from error
    of_images = {name: tensor for name, tensor in found.items() if name.startswith(_OF_CLIP)}
    return Checkpoint(path=file, state_dict=of_images or found, spec=None, sha256=hash_file(file).sha256)
