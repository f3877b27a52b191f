"""The published inference by boundary matching, against a plain transcription of it with dense maps."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from tadacli.detection.boundary_matching import action_segments, class_probabilities, propose
from tadacli.models.bmn import BMN
from tests.models.test_bmn import sampled

SNIPPET_SECONDS = 8 / 60
NUM_BINS, LONGEST = 16, 8
NUM_VERBS, NUM_NOUNS, VIEWS = 12, 33, 3
HEADS = {
    "verb": tuple(f"verb {number}" for number in range(NUM_VERBS)),
    "noun": tuple(f"noun {number}" for number in range(NUM_NOUNS)),
}


def network() -> BMN:
    """A network whose probabilities differ enough to choose by."""
    torch.manual_seed(3)
    made = BMN(in_channels=8, num_bins=NUM_BINS, max_duration_bins=LONGEST).double().eval()
    for parameter in made.parameters():
        parameter.data.mul_(2.5 if parameter.dim() > 1 else 1)
    return made


def video(num_snippets: int, seed: int) -> tuple[torch.Tensor, dict[str, torch.Tensor], float]:
    """Features (N, C), logits (N, V, K) by head, and the length in seconds of a video with so many snippets."""
    draw = torch.Generator().manual_seed(seed)
    features = torch.randn(num_snippets, 8, dtype=torch.float64, generator=draw) * 3
    logits = {
        head: torch.randn(num_snippets, VIEWS, count, dtype=torch.float64, generator=draw)
        for head, count in (("verb", NUM_VERBS), ("noun", NUM_NOUNS))
    }
    return features, logits, (7 + 8 * (num_snippets - 1)) / 60 + 0.05


# --- the transcription --------------------------------------------------------------------------------


def resampled(values: torch.Tensor, first: int) -> np.ndarray:
    """(C, T) of the window from a snippet on: padded with zeros, then linear with aligned corners."""
    window = np.zeros((values.shape[1], 2 * NUM_BINS))
    part = values[first : first + 2 * NUM_BINS].numpy().T
    window[:, : part.shape[1]] = part
    out = np.zeros((values.shape[1], NUM_BINS))
    for place in range(NUM_BINS):
        position = place * (2 * NUM_BINS - 1) / (NUM_BINS - 1)
        low = min(math.floor(position), 2 * NUM_BINS - 2)
        out[:, place] = window[:, low] * (1 - (position - low)) + window[:, low + 1] * (position - low)
    return out


def class_map(logits: torch.Tensor, first: int) -> np.ndarray:
    """(K, D, T): probabilities at 6 points of every proposal of a window, without any extension."""
    window = resampled(logits.flatten(1), first)
    out = np.zeros((logits.shape[2], LONGEST, NUM_BINS))
    for duration, start in itertools.product(range(LONGEST), range(NUM_BINS)):
        if start + duration >= NUM_BINS:
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
            views = np.exp(at_point.reshape(VIEWS, -1))
            out[:, duration, start] += (views / views.sum(1, keepdims=True)).mean(0) / 6
    return out


def network_outputs(model: BMN, window: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The maps of a window, by sampling every proposal first."""
    with torch.no_grad():
        shared = model.backbone.conv_layer(torch.from_numpy(window)[None])
        points = sampled(model.head.x_1d_p(shared)[0], num_bins=NUM_BINS, durations=LONGEST)
        maps = model.head.x_2d_p(model.head.x_3d_p(points[None]).squeeze(2))[0]
        return maps.numpy(), model.head.x_1d_s(shared)[0, 0].numpy(), model.head.x_1d_e(shared)[0, 0].numpy()


def transcription(model: BMN, features: torch.Tensor, logits: dict[str, torch.Tensor], seconds: float) -> list:
    """[score, verb, noun, start, end] of every detection of the published pipeline."""
    length = math.ceil(len(features) / 2)
    valid = np.array([[float(s + d + 1 <= NUM_BINS) for s in range(NUM_BINS)] for d in range(LONGEST)])
    sums = {"maps": np.zeros((2, LONGEST, length)), "start": np.zeros(length), "end": np.zeros(length)}
    sums |= {head: np.zeros((values.shape[2], LONGEST, length)) for head, values in logits.items()}
    map_count, window_count = np.zeros((LONGEST, length)), np.zeros(length)
    starts_seconds = np.arange(0, seconds, LONGEST * 2 * SNIPPET_SECONDS)
    if len(starts_seconds) > 1 and seconds - starts_seconds[-1] < 0.2:
        starts_seconds = starts_seconds[:-1]
    for number in range(len(starts_seconds)):
        first = number * LONGEST * 2
        maps, start, end = network_outputs(model, resampled(features, first))
        classes = {head: class_map(values, first) for head, values in logits.items()}
        for place in range(NUM_BINS):
            bin_number = number * LONGEST + place
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
    for d, s in itertools.product(range(LONGEST), range(length)):
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


# --- the tests ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("num_snippets", "seed"), [(45, 0), (64, 1), (9, 3)])
def test_every_detection_is_that_of_the_published_pipeline(num_snippets: int, seed: int) -> None:
    model = network()
    features, logits, seconds = video(num_snippets, seed)
    expected = transcription(model, features, logits, seconds)
    sizes = {"network": model, "duration_seconds": seconds, "snippet_seconds": SNIPPET_SECONDS}
    proposals = propose(features, **sizes, batch_size=2)
    classes = {head: class_probabilities(values, proposals, **sizes) for head, values in logits.items()}
    found = action_segments(proposals, **classes, heads=HEADS)
    assert len(found) == len(expected) > 4
    for segment, (score, verb, noun, start, end) in zip(found, expected, strict=True):
        assert segment.action == f"{verb},{noun}"
        assert segment.label == f"{HEADS['verb'][verb]} {HEADS['noun'][noun]}"
        assert (segment.score, segment.start_seconds, segment.end_seconds) == pytest.approx(
            (score, start, end), rel=1e-9
        )


def test_windows_at_once_change_nothing() -> None:
    model = network()
    features, _, seconds = video(80, 5)
    single, several = (
        propose(features, model, duration_seconds=seconds, snippet_seconds=SNIPPET_SECONDS, batch_size=size)
        for size in (1, 3)
    )
    np.testing.assert_array_equal(single.cells, several.cells)
    np.testing.assert_allclose(single.scores, several.scores, rtol=1e-12)


def test_a_video_of_one_snippet_has_no_proposals() -> None:
    features, logits, seconds = video(1, 0)
    sizes = {"network": network(), "duration_seconds": seconds, "snippet_seconds": SNIPPET_SECONDS}
    proposals = propose(features, **sizes)
    assert len(proposals.spans) == 0
    assert class_probabilities(logits["verb"], proposals, **sizes).shape == (0, NUM_VERBS)


def test_no_features_are_refused() -> None:
    with pytest.raises(ValueError, match="0 snippets"):
        propose(torch.zeros(0, 8), network(), duration_seconds=1, snippet_seconds=SNIPPET_SECONDS)
