"""The Dataset that a user would write today for a folder of videos: torchcodec for frames, torchvision for pixels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchcodec.decoders import VideoDecoder
from torchvision.transforms import v2

from tadacli.sampling.clips import clip_indices
from tadacli.specs import InputSpec


class Clips(Dataset[tuple[str, Tensor]]):
    """One normalised clip (3, T, crop, crop) of each video, from its middle, and the path of the video.

    Args:
        paths: The videos.
        spec: How the model takes clips.
    """

    def __init__(self, paths: Sequence[str], spec: InputSpec) -> None:
        self._paths, self._spec = paths, spec
        self._prepare = v2.Compose(
            [
                v2.Resize(spec.short_side, antialias=False),
                v2.CenterCrop(spec.crop_size),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(spec.mean, spec.std),
            ]
        )

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, number: int) -> tuple[str, Tensor]:
        path, spec = self._paths[number], self._spec
        decoder = VideoDecoder(path)
        frames = decoder.get_frames_at(clip_of(decoder, spec)).data
        return path, self._prepare(frames).transpose(0, 1)


def clip_of(decoder: VideoDecoder, spec: InputSpec) -> list[int]:
    """The frames in the middle of a video that the model wants."""
    return clip_indices(
        spec.sampling,
        decoder.metadata.num_frames,
        fps=decoder.metadata.average_fps_from_header,  # the other one is of times that are rounded
        clip_frames=spec.clip_frames,
        frame_stride=spec.frame_stride,
        target_fps=spec.target_fps,
        minus_interval=spec.minus_interval,
    )
