"""A plain transcription of the published detection pipeline of EPIC-KITCHENS-100: dense maps, no tricks.

Inference of "A Stronger Baseline for Ego-Centric Action Detection" (arXiv 2106.06942) with the settings of its
published configuration; the sizes of the maps are those of the network.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch

from tadacli.models.bmn import BMN
from tests.models.test_bmn import sampled

SNIPPET_SECONDS = 8 / 60


def resampled(values: torch.Tensor, first: int, num_bins: int) -> np.ndarray:
    """(C, T) of the window from a snippet on: padded with zeros, then linear with aligned corners."""
    window = np.zeros((values.shape[1], 2 * num_bins))
    part = values[first : first + 2 * num_bins].numpy().T
    window[:, : part.shape[1]] = part
    out = np.zeros((values.shape[1], num_bins))
    for place in range(num_bins):
        position = place * (2 * num_bins - 1) / (num_bins - 1)
        low = min(math.floor(position), 2 * num_bins - 2)
        out[:, place] = window[:, low] * (1 - (position - low)) + window[:, low + 1] * (position - low)
    return out


def class_map(logits: torch.Tensor, first: int, num_bins: int, longest: int) -> np.ndarray:
    """(K, D, T): probabilities at 6 points of every proposal of a window, without any extension."""
    window = resampled(logits.flatten(1), first, num_bins)
    out = np.zeros((logits.shape[2], longest, num_bins))
    for duration, start in itertools.product(range(longest), range(num_bins)):
        if start + duration >= num_bins:
            continue
        for point in range(6):
            at_point = np.zeros(len(window))
            for number in range(3 * point, 3 * point + 3):
                position = start + duration * number / 17
                low = math.floor(position)
                share = position - low
                at_point += window[:, low] * (1 - share) / 3
                if share > 0:
                    at_point += window[:, low + 1] * share / 3
            views = np.exp(at_point.reshape(logits.shape[1], -1))
            out[:, duration, start] += (views / views.sum(1, keepdims=True)).mean(0) / 6
    return out


def network_outputs(model: BMN, window: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The maps of a window, by sampling every proposal first."""
    with torch.no_grad():
        shared = model.backbone.conv_layer(torch.from_numpy(window)[None])
        points = sampled(model.head.x_1d_p(shared)[0], num_bins=model.num_bins, durations=model.max_duration_bins)
        maps = model.head.x_2d_p(model.head.x_3d_p(points[None]).squeeze(2))[0]
        return maps.numpy(), model.head.x_1d_s(shared)[0, 0].numpy(), model.head.x_1d_e(shared)[0, 0].numpy()


def transcription(model: BMN, features: torch.Tensor, logits: dict[str, torch.Tensor], seconds: float) -> list:
    """[score, verb, noun, start, end] of every detection of the published pipeline."""
    num_bins, longest = model.num_bins, model.max_duration_bins
    length = math.ceil(len(features) / 2)
    valid = np.array([[float(s + d + 1 <= num_bins) for s in range(num_bins)] for d in range(longest)])
    sums = {"maps": np.zeros((2, longest, length)), "start": np.zeros(length), "end": np.zeros(length)}
    sums |= {head: np.zeros((values.shape[2], longest, length)) for head, values in logits.items()}
    map_count, window_count = np.zeros((longest, length)), np.zeros(length)
    starts_seconds = np.arange(0, seconds, longest * 2 * SNIPPET_SECONDS)
    if len(starts_seconds) > 1 and seconds - starts_seconds[-1] < 0.2:
        starts_seconds = starts_seconds[:-1]
    for number in range(len(starts_seconds)):
        first = number * longest * 2
        maps, start, end = network_outputs(model, resampled(features, first, num_bins))
        classes = {head: class_map(values, first, num_bins, longest) for head, values in logits.items()}
        for place in range(num_bins):
            bin_number = number * longest + place
            if bin_number >= length:
                break
            sums["start"][bin_number] += start[place]
            sums["end"][bin_number] += end[place]
            window_count[bin_number] += 1
            sums["maps"][:, :, bin_number] += maps[:, :, place] * valid[:, place]
            map_count[:, bin_number] += valid[:, place]
            for head, values in classes.items():
                sums[head][:, :, bin_number] += values[:, :, place] * valid[:, place]
    map_count[map_count < 0.01] = 1
    fused = {name: values / (window_count if values.ndim == 1 else map_count) for name, values in sums.items()}

    def bins(values: np.ndarray) -> list[bool]:
        return (
            [False]
            + [
                (values[i] > values[i - 1] and values[i] > values[i + 1]) or values[i] > 0.5 * values.max()
                for i in range(1, length - 1)
            ]
            + [False]
        )

    is_start, is_end = bins(fused["start"]), bins(fused["end"])
    is_start[0] = is_end[-1] = True
    found = []
    for d, s in itertools.product(range(longest), range(length)):
        if s + d + 1 < length and is_start[s] and is_end[s + d + 1]:
            score = fused["maps"][1, d, s] ** 1.2 * fused["maps"][0, d, s]
            found.append([score, s / length * seconds, min((s + d + 1) / length * seconds, seconds), d, s])
    detections = []
    for score, start_seconds, end_seconds, d, s in suppressed(found, seconds):
        verbs, nouns = fused["verb"][:, d, s], fused["noun"][:, d, s]
        pairs = [
            (verbs[v] * nouns[n], int(v), int(n)) for v in np.argsort(-verbs)[:10] for n in np.argsort(-nouns)[:30]
        ]
        for product, verb, noun in sorted(pairs, key=lambda pair: -pair[0])[:20][:5]:
            detections.append([score * product, verb, noun, start_seconds, end_seconds])
    return detections


def suppressed(found: list, seconds: float) -> list:
    """Soft-NMS without classes; the published loop loses the last one left, which we keep."""
    left, kept = [list(each) for each in found], []
    while left and len(kept) < int(seconds / 1.0) + 1:
        best = max(left, key=lambda each: each[0])
        left.remove(best)
        kept.append(best)
        for each in left:
            shared = max(min(best[2], each[2]) - max(best[1], each[1]), 0)
            iou = shared / (best[2] - best[1] + each[2] - each[1] - shared)
            if iou > 0.25 + 0.65 * (best[2] - best[1]) / seconds:
                each[0] *= math.exp(-(iou**2) / 0.4)
    return kept
