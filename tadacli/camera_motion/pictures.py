"""Pictures: generated stills, of textures and scenes, for the virtual camera to film; and what wears a clip down."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

FloatArray = NDArray[np.float64]


def fractal_noise(
    rng: np.random.Generator, height: int, width: int, *, cells: int, octaves: int, roughness: float
) -> FloatArray:
    """(height, width) smooth noise in 0..1: `octaves` layers from `cells` bumps per side upwards."""
    total = torch.zeros(1, 1, height, width)
    for octave in range(octaves):
        rows = max(2, min(height, cells << octave))
        columns = max(2, min(width, rows * width // height))
        layer = torch.from_numpy(rng.standard_normal((1, 1, rows, columns)).astype(np.float32))
        smooth = F.interpolate(layer, size=(height, width), mode="bicubic", align_corners=False)
        total += roughness**octave * smooth
    low, high = total.min(), total.max()
    return ((total - low) / (high - low + 1e-6))[0, 0].numpy().astype(np.float64)


def colour(rng: np.random.Generator) -> FloatArray:
    """(3,) a random colour in 0..1."""
    vivid = rng.uniform(0, 1, 3)
    return np.asarray(vivid * rng.uniform(0.3, 1) + rng.uniform(0, 0.3))


def blend(mask: FloatArray, over: FloatArray, under: FloatArray) -> FloatArray:
    """`over` laid on `under` where `mask` (H, W) is 1."""
    return np.asarray(under + mask[..., None] * (over - under))


def _noise_picture(rng: np.random.Generator, height: int, width: int) -> FloatArray:
    cells, roughness = int(rng.integers(2, 12)), rng.uniform(0.4, 0.95)
    first = fractal_noise(rng, height, width, cells=cells, octaves=6, roughness=roughness)
    second = fractal_noise(rng, height, width, cells=3, octaves=3, roughness=0.5)
    contrast = rng.uniform(1, 4)
    sharp = np.clip((first - 0.5) * contrast + 0.5, 0, 1)
    return blend(second, blend(sharp, colour(rng), colour(rng)), blend(sharp, colour(rng), colour(rng)))


def _draw_shape(rng: np.random.Generator, picture: FloatArray, *, largest: float) -> None:
    height, width = picture.shape[:2]
    radius = min(height, width) * largest * rng.uniform(0.08, 1.0) ** 2
    cx, cy = rng.uniform(0, width), rng.uniform(0, height)
    half_w, half_h = radius * rng.uniform(0.4, 1) + 1, radius * rng.uniform(0.4, 1) + 1
    reach = math.hypot(half_w, half_h)
    top, left = int(max(0, cy - reach)), int(max(0, cx - reach))
    y, x = np.mgrid[top : int(min(height, cy + reach)) + 1, left : int(min(width, cx + reach)) + 1]
    part = picture[top : top + y.shape[0], left : left + x.shape[1]]
    y, x = y[: part.shape[0], : part.shape[1]] - cy, x[: part.shape[0], : part.shape[1]] - cx
    turn = rng.uniform(0, np.pi) if rng.random() < 0.6 else 0.0
    u = (x * math.cos(turn) + y * math.sin(turn)) / half_w
    v = (y * math.cos(turn) - x * math.sin(turn)) / half_h
    power = float(rng.choice([1.0, 2.0, 2.0, 20.0, 20.0]))
    inside = (np.abs(u) ** power + np.abs(v) ** power < 1).astype(np.float64)
    body = np.broadcast_to(colour(rng), (*u.shape, 3))
    if rng.random() < 0.35:
        bars = (np.sin(u * rng.uniform(3, 25)) * np.sin(v * rng.uniform(0, 25) + 1.5) > 0).astype(np.float64)
        body = blend(bars, body, np.broadcast_to(colour(rng), (*u.shape, 3)))
    elif rng.random() < 0.4:
        body = body * (0.75 + 0.25 * v[..., None].clip(-1, 1))
    part[:] = blend(inside * rng.uniform(0.6, 1), body, part)


def _collage(rng: np.random.Generator, height: int, width: int) -> FloatArray:
    picture = _smooth(rng, height, width) if rng.random() < 0.5 else _noise_picture(rng, height, width)
    for _ in range(int(rng.integers(8, 70))):
        _draw_shape(rng, picture, largest=0.35)
    return picture


def _smooth(rng: np.random.Generator, height: int, width: int) -> FloatArray:
    """A gradient with little in it: a wall, a sky."""
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    turn = rng.uniform(0, 2 * np.pi)
    ramp = np.clip((x - 0.5) * math.cos(turn) + (y - 0.5) * math.sin(turn) + 0.5, 0, 1)
    picture = blend(ramp, colour(rng), colour(rng))
    largest = rng.uniform(0.25, 0.7)
    for _ in range(int(rng.integers(3, 9))):
        _draw_shape(rng, picture, largest=largest)
    grain = fractal_noise(rng, height, width, cells=8, octaves=6, roughness=0.9)[..., None] - 0.5
    return np.clip(picture + rng.uniform(0.0, 0.3) * grain, 0, 1)


def _tiles(rng: np.random.Generator, height: int, width: int) -> FloatArray:
    """A checkerboard or stripes; the noise on top keeps a shift by one period from looking like none."""
    y, x = np.mgrid[0:height, 0:width] / min(height, width)
    turn = rng.choice([0.0, rng.uniform(0, np.pi)])
    u, v = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
    count = rng.uniform(3, 14)
    cells = np.sin(u * count * np.pi) * (np.sin(v * count * np.pi) if rng.random() < 0.7 else 1.0)
    board = blend((cells > 0).astype(np.float64), colour(rng), colour(rng))
    noise = fractal_noise(rng, height, width, cells=4, octaves=5, roughness=0.7)[..., None]
    picture: FloatArray = np.clip(board * (0.4 + 1.1 * noise), 0, 1)
    for _ in range(int(rng.integers(0, 12))):
        _draw_shape(rng, picture, largest=0.2)
    return picture


def _page(rng: np.random.Generator, height: int, width: int) -> FloatArray:
    """Rows of small dark marks on a light ground (or the reverse): print, a screen, a shelf."""
    paper, ink = (colour(rng) * 0.3 + 0.7, colour(rng) * 0.4)[:: int(rng.choice([-1, 1]))]
    picture = np.broadcast_to(paper, (height, width, 3)).copy()
    line = int(rng.integers(6, 26))
    for top in range(line // 2, height - line, line):
        left = int(rng.integers(2, line * 3))
        while left < width * rng.uniform(0.75, 1.0):
            word = int(rng.integers(line // 3 + 1, line * 3))
            if rng.random() < 0.85:
                picture[top : top + line // 2, left : left + word] = ink * rng.uniform(0.6, 1)
            left += word + line // 2
    for _ in range(int(rng.integers(1, 6))):
        _draw_shape(rng, picture, largest=0.25)
    return picture


def _bands(rng: np.random.Generator, height: int, width: int) -> FloatArray:
    """Bands of plain colour from edge to edge with a few marks on them: a test signal, a flag, a shutter."""
    count = int(rng.integers(3, 14))
    colours = np.stack([rng.integers(0, 2, 3) if rng.random() < 0.7 else colour(rng) for _ in range(count)])
    edges = np.sort(rng.uniform(0, 1, count - 1)) if rng.random() < 0.3 else np.arange(1, count) / count
    along_x = rng.random() < 0.7
    line = colours[np.searchsorted(edges, np.linspace(0, 1, width if along_x else height))].astype(np.float64)
    picture = np.broadcast_to(line if along_x else line[:, None], (height, width, 3)).copy()
    for _ in range(int(rng.integers(1, 10))):
        _draw_shape(rng, picture, largest=0.2)
    return picture


def _card(rng: np.random.Generator, height: int, width: int) -> FloatArray:
    """A plain ground, a sign and a few words: a title, a slide, a player's screen."""
    ground = rng.choice([0.0, 1.0]) * np.ones(3) if rng.random() < 0.5 else colour(rng)
    picture = np.broadcast_to(ground, (height, width, 3)).copy()
    for _ in range(int(rng.integers(2, 8))):
        _draw_shape(rng, picture, largest=0.3)
    ink = np.abs(ground - rng.uniform(0.5, 1.0))
    for _ in range(int(rng.integers(1, 8))):
        tall = int(rng.integers(5, 30))
        top, left = int(rng.integers(0, height - tall)), int(rng.integers(0, width // 2))
        right = left + int(rng.integers(width // 8, width // 2))
        while left < right:
            letter = int(rng.integers(2, tall))
            picture[top + int(rng.integers(0, tall // 2)) : top + tall, left : left + letter] = ink
            left += letter + int(rng.integers(1, 2 + tall // 3))
    return picture


def _night(rng: np.random.Generator, height: int, width: int) -> FloatArray:
    """A dark ground with a few lights."""
    picture = _noise_picture(rng, height, width) * rng.uniform(0.05, 0.3)
    for _ in range(int(rng.integers(30, 120))):
        _draw_shape(rng, picture, largest=0.05)
    return picture


def landscape(rng: np.random.Generator, height: int, width: int) -> FloatArray:
    """(height, width, 3) in 0..1: a sky with clouds and a sun, ranges of hills, trees and houses."""
    y, x = np.mgrid[0:height, 0:width] / height
    sky_top, sky_low = np.array([0.25, 0.5, 0.85]), np.array([0.95, 0.85, 0.7])
    picture = blend(np.clip(y * 1.6, 0, 1), sky_low, sky_top)
    clouds = fractal_noise(rng, height, width, cells=4, octaves=6, roughness=0.55)
    picture = blend(np.clip(clouds * 3 - 1.6, 0, 0.85), np.ones(3), picture)
    sun_x, sun_y = rng.uniform(0.2, 0.8) * width / height, rng.uniform(0.1, 0.25)
    glow = np.clip(1.5 - np.hypot(x - sun_x, y - sun_y) * 25, 0, 1)
    picture = blend(glow, np.array([1.0, 0.95, 0.7]), picture)
    for layer in range(4):
        waves = zip(rng.uniform(0, 6, 5), (1.5, 2.7, 5.1, 9.7, 23.0), (0.05, 0.03, 0.02, 0.01, 0.003), strict=True)
        ridge = 0.36 + 0.14 * layer + sum(size * np.sin(rate * x[0] + phase) for phase, rate, size in waves)
        grain = fractal_noise(rng, height, width, cells=12, octaves=5, roughness=0.75)
        haze = (3 - layer) / 4
        ground = np.array([0.2, 0.42, 0.18]) * (1 - haze) + np.array([0.55, 0.66, 0.78]) * haze
        ground = ground * rng.uniform(0.85, 1.15, 3)
        picture = blend((y > ridge).astype(np.float64), ground * (0.55 + 0.9 * grain[..., None]), picture)
        for _ in range(14 * layer):
            column = int(rng.integers(0, width))
            _plant(rng, picture, column, int(ridge[column] * height + rng.uniform(0, 0.12) * height), layer)
    return np.clip(picture, 0, 1)


def _plant(rng: np.random.Generator, picture: FloatArray, column: int, foot: int, layer: int) -> None:
    """Draws one tree or house of the landscape, standing on row `foot`."""
    height, width = picture.shape[:2]
    tall = int(height * 0.022 * (layer + 1) * rng.uniform(0.6, 1.4)) + 2
    y, x = np.mgrid[max(0, foot - tall) : min(height, foot + 1), max(0, column - tall) : min(width, column + tall)]
    if y.size == 0:
        return
    up, side = (foot - y) / tall, np.abs(x - column) / tall
    part = picture[y.min() : y.max() + 1, x.min() : x.max() + 1]
    if rng.random() < 0.3:
        wall, roof = (up < 0.6) & (side < 0.5), (up >= 0.6) & (side < (1 - up) * 1.5)
        part[wall] = np.array([0.9, 0.85, 0.75]) * rng.uniform(0.7, 1)
        part[roof] = np.array([0.65, 0.25, 0.15]) * rng.uniform(0.7, 1.2)
        part[wall & (np.abs(up - 0.3) < 0.1) & (np.abs(side - 0.25) < 0.08)] = (0.15, 0.15, 0.25)
    else:
        part[(up < 0.35) & (side < 0.06)] = (0.3, 0.2, 0.12)
        part[(up >= 0.25) & (side < (1 - up) * 0.55)] = np.array([0.1, 0.32, 0.12]) * rng.uniform(0.7, 1.4, 3)


_PICTURES = (
    *(_noise_picture, _collage, _collage, _smooth, _tiles, _page, _night, landscape),
    *(_bands, _bands, _card, _card),  # with little in them, so hard to read
)


def generated_picture(rng: np.random.Generator, height: int, width: int) -> Tensor:
    """(1, 3, height, width) uint8: a texture or scene of a random kind."""
    maker = _PICTURES[int(rng.integers(len(_PICTURES)))]
    return to_source(maker(rng, height, width))


def to_source(picture: FloatArray) -> Tensor:
    """(1, 3, H, W) uint8 of a picture (H, W, 3) in 0..1."""
    pixels = (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))[None]


# --- what a camera, a codec and an editor do to a clip --------------------------------------------


def degrade(clip: Tensor, rng: np.random.Generator) -> Tensor:
    """`clip` (T, 3, h, w) in 0..1 with random colour, light, blur, noise, blocks, bars and overlays."""
    clip = _recolour(clip, rng)
    if rng.random() < 0.25:
        clip = _blur(clip, rng.uniform(0.1, 1.0))
    if rng.random() < 0.25:
        coarse = int(rng.choice([4, 8]))
        blocks = F.interpolate(F.avg_pool2d(clip, coarse), scale_factor=float(coarse))
        clip = clip + rng.uniform(0.1, 0.5) * (blocks - clip)
    if rng.random() < 0.15:
        levels = rng.uniform(8, 40)
        clip = (clip * levels).round() / levels
    if rng.random() < 0.45:
        sigma = 0.06 * rng.uniform(0, 1) ** 2
        clip = clip + sigma * torch.from_numpy(rng.standard_normal(clip.shape, dtype=np.float32))
    if rng.random() < 0.12:
        clip = _overlay(clip, rng)
    return clip.clamp(0, 1)


def _recolour(clip: Tensor, rng: np.random.Generator) -> Tensor:
    gains = torch.from_numpy(rng.normal(1, 0.08, (1, 3, 1, 1)).astype(np.float32))
    flicker = torch.from_numpy(rng.normal(1, 0.02 * rng.random(), (len(clip), 1, 1, 1)).astype(np.float32))
    clip = (clip * gains * flicker).clamp(0, 1)
    if rng.random() < 0.5:
        clip = clip ** float(np.exp(rng.normal(0, 0.35)))
    if rng.random() < 0.5:
        middle = clip.mean()
        clip = middle + (clip - middle) * float(rng.uniform(0.4, 1.4)) + float(rng.normal(0, 0.08))
    if rng.random() < 0.3:
        grey = clip.mean(dim=1, keepdim=True)
        clip = grey + (clip - grey) * float(rng.uniform(0, 1.2))
    if rng.random() < 0.15:  # a slow change of light: exposure settling, a fade
        first, last = rng.uniform(0.15, 1.3, 2) if rng.random() < 0.5 else (1.0, rng.uniform(0.5, 1.3))
        clip = clip * torch.linspace(float(first), float(last), len(clip))[:, None, None, None]
    return clip


def _blur(clip: Tensor, amount: float) -> Tensor:
    side = amount / 3
    kernel = torch.tensor([side, 1 - 2 * side, side])
    weight = (kernel[:, None] * kernel).expand(3, 1, 3, 3).contiguous()
    return F.conv2d(F.pad(clip, (1, 1, 1, 1), mode="replicate"), weight, groups=3)


def _overlay(clip: Tensor, rng: np.random.Generator) -> Tensor:
    """Things that stay put on the screen whatever the camera does: black bars, a caption, a logo."""
    clip = clip.clone()
    height, width = clip.shape[-2:]
    if rng.random() < 0.5:
        bar = int(rng.integers(3, height // 5))
        if rng.random() < 0.6:
            clip[..., :bar, :] = clip[..., height - bar :, :] = 0.0
        else:
            clip[..., :bar] = clip[..., width - bar :] = 0.0
        return clip
    tall, wide = int(rng.integers(4, height // 6)), int(rng.integers(6, width // 2))
    top, left = int(rng.choice([1, height - tall - 1])), int(rng.integers(0, width - wide))
    pattern = rng.choice([0.0, 1.0], (1, 1, tall, wide)) * rng.uniform(0.3, 1)
    clip[..., top : top + tall, left : left + wide] = torch.from_numpy(pattern.astype(np.float32))
    return clip
