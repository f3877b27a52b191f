"""The clips of a batch as the network sees them, as one picture."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from tadacli.training.clips import Heads
from tadacli.training.loop import TrainingBatch


def batch_sheet(
    batch: TrainingBatch,
    heads: Heads,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    max_clips: int = 8,
    max_frames: int = 8,
    side: int = 112,
) -> bytes:
    """A JPEG of a batch as the network sees it: a clip in each row, frames from left to right, then classes.

    Args:
        batch: Clips and their targets.
        heads: Class names by head.
        mean: Of each colour, as the clips were normalised.
        std: Of each colour.
        max_clips: At most so many rows.
        max_frames: Of more frames, so many are shown, evenly spread.
        side: Height and width of a frame in pixels.

    Returns:
        The bytes of the file.
    """
    num_frames = batch.clips.shape[2]
    shown = np.linspace(0, num_frames - 1, min(num_frames, max_frames)).round().astype(int).tolist()
    clips = batch.clips[:max_clips, :, shown].cpu()
    pixels = clips * torch.tensor(std).view(3, 1, 1, 1) + torch.tensor(mean).view(3, 1, 1, 1)
    frames = (pixels * 255).round_().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 4, 1).numpy()
    size = max(9, side // 9)
    font = ImageFont.load_default(size=size)
    lines = [_classes(batch, heads, number) for number in range(len(frames))]
    room = max(round(font.getlength(line)) for row in lines for line in row) + 2 * size
    sheet = Image.new("RGB", (side * len(shown) + room, side * len(frames)), "white")
    pen = ImageDraw.Draw(sheet)
    for row, clip in enumerate(frames):
        for column, frame in enumerate(clip):
            small = Image.fromarray(frame).resize((side, side), Image.Resampling.LANCZOS)
            sheet.paste(small, (column * side, row * side))
        pen.text((side * len(shown) + size, row * side + size // 2), "\n".join(lines[row]), font=font, fill="black")
    data = io.BytesIO()
    sheet.save(data, "JPEG", quality=90)
    return data.getvalue()


def _classes(batch: TrainingBatch, heads: Heads, number: int) -> list[str]:
    """The classes of a clip of a batch, likeliest first, with their shares where it is mixed of several."""
    lines = []
    for head, labels in heads.items():
        shares = batch.targets[head][number].tolist()
        for index in sorted(range(len(labels)), key=lambda index: -shares[index]):
            if shares[index] > 0:
                share = "" if shares[index] == 1 else f"  {shares[index]:.2f}"
                lines.append((f"{head}: " if head else "") + " ".join(labels[index].split())[:40] + share)
    return lines
