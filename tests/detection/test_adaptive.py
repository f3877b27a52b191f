"""An adaptive stride: windows are worked on where scores change; the others are on the line between two that agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from tadacli.detection.adaptive import MOST_APART, AdaptiveWork
from tadacli.detection.detecting import detect
from tadacli.detection.score_file import encode_scores, read_scores, write_scores
from tadacli.detection.window_pass import Worked
from tadacli.detection.window_scores import score_windows
from tadacli.errors import UsageError
from tadacli.results import NoteKind
from tadacli.sampling.settings import window_settings
from tadacli.specs import InputSpec
from tadacli.zoo.loading import Model
from tadacli.zoo.manifest import manifest


class Known:
    """Work whose rows are known: view n of a window says its row."""

    num_crops = 1

    def __init__(self, rows: NDArray[np.float32]) -> None:
        self.rows, self.calls = rows, list[list[int]]()

    def of_clips(self, views: Sequence[Tensor], counts: Sequence[int]) -> Worked:
        assert len(views) == sum(counts)
        numbers = [int(view) for view in views]
        self.calls.append(sorted(set(numbers)))
        starts = np.cumsum([0, *counts[:-1]]).tolist() if counts else []
        return Worked({"": self.rows[[numbers[start] for start in starts]].reshape(len(counts), self.rows.shape[1])})


def worked(rows: NDArray[np.float32], block: int, counts: Sequence[int]) -> tuple[Worked, Known]:
    known = Known(rows)
    views = [torch.tensor(number) for number, count in enumerate(counts) for _ in range(count)]
    return AdaptiveWork(known, block).of_clips(views, counts), known


def test_only_windows_around_a_change_are_worked_on() -> None:
    rows = np.repeat(np.array([[0.9, 0.1], [0.2, 0.8]], np.float32), [11, 21], axis=0)
    found, known = worked(rows, 16, [1] * 32)
    # The first block has both ends unlike: halves of halves lead to the change between 10 and 11.
    assert known.calls == [[0, 15, 16, 31], [7], [11], [9], [10]]
    assert np.array_equal(found.rows[""], rows)
    assert len(found.interpolated) == 32 - 8


def test_a_window_between_two_that_agree_is_on_the_line_from_one_to_the_other() -> None:
    rows = np.array([[0.6, 0.4], [0.0, 1.0], [0.9, 0.1], [0.68, 0.32]], np.float32)
    found, known = worked(rows, 4, [2, 1, 3, 1])
    assert known.calls == [[0, 3]]
    assert found.interpolated == (1, 2)
    line = rows[0] + np.array([[0], [1], [2], [3]]) / 3 * (rows[3] - rows[0])
    assert np.allclose(found.rows[""], line, atol=1e-6)
    assert np.array_equal(found.rows[""][[0, 3]], rows[[0, 3]])


def test_another_best_label_is_a_change_however_near_the_scores_are() -> None:
    rows = np.repeat(np.array([[0.52, 0.48], [0.48, 0.52]], np.float32), [3, 5], axis=0)
    found, known = worked(rows, 8, [1] * 8)
    assert known.calls == [[0, 7], [3], [1], [2]]
    assert np.array_equal(found.rows[""], rows)


@given(scores=st.lists(st.floats(0, 1, width=32), max_size=40), block=st.integers(3, 12), views=st.integers(1, 3))
def test_whatever_the_scores_are_what_is_worked_on_is_exact_and_the_rest_lies_between(
    scores: list[float], block: int, views: int
) -> None:
    values = np.array(scores, np.float32).reshape(-1, 1)
    rows = np.concatenate([values, 1 - values], axis=1)
    found, known = worked(rows, block, [views] * len(rows))
    seen = sorted(number for call in known.calls for number in call)
    between = set(found.interpolated)
    assert sorted({*seen, *between}) == list(range(len(rows)))
    assert len(seen) == len(set(seen)), "no window is worked on twice"
    assert between.isdisjoint(seen)
    assert np.array_equal(found.rows[""][seen], rows[seen]) if seen else True
    for number in between:
        before = max(each for each in seen if each < number)
        after = min(each for each in seen if each > number)
        assert after - before < block
        assert abs(rows[after, 0] - rows[before, 0]) <= MOST_APART
        low, high = sorted((rows[before, 0], rows[after, 0]))
        assert low - 1e-6 <= found.rows[""][number, 0] <= high + 1e-6


# --- in videos --------------------------------------------------------------------------------------


class Brightness(nn.Module):
    """Logits of (dark, bright); counts the clips that it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.num_clips = 0

    def forward(self, clips: Tensor) -> Tensor:
        self.num_clips += len(clips)
        bright = clips.mean(dim=(1, 2, 3, 4)) * 5
        return torch.stack([-bright, bright], dim=1)


def looking_at_brightness() -> Model:
    spec = manifest()["tada2d_r50.ssv2_8f"]
    look = InputSpec("segment", 2, 1, 30.0, 32, 32, (0.5,) * 3, (0.5,) * 3)
    spec = replace(spec, name="brightness", input=look, heads={"": ("dark", "bright")})
    return Model(spec, Brightness().eval(), torch.device("cpu"), torch.float32, Path("none"), "0" * 64)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty seconds at ten frames a second: dark, and bright from 6 to 9 s."""
    path = tmp_path_factory.mktemp("adaptive") / "light.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=Fraction(10), options={"g": "10"})
        stream.height, stream.width, stream.pix_fmt = 32, 48, "yuv420p"
        for number in range(200):
            level = 230 if 60 <= number < 90 else 25
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((32, 48, 3), level, np.uint8), format="rgb24")))
        out.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_a_video_that_changes_seldom_has_the_segments_of_every_window(
    video: Path, tmp_path: Path, batch_size: int
) -> None:
    model = looking_at_brightness()
    common = {"window": "400ms", "stride": "100ms", "batch_size": batch_size}
    every = score_windows(video, model=model, settings=window_settings(**common))  # type: ignore[arg-type]
    settings = window_settings(**common, adaptive_stride=10)  # type: ignore[arg-type]
    assert isinstance(model.network, Brightness)
    model.network.num_clips = 0
    found = score_windows(video, model=model, settings=settings)
    assert found.interpolated is not None
    num_scored = int((~found.interpolated).sum())
    if batch_size == 1:
        assert model.network.num_clips == num_scored
    assert num_scored < len(every.spans) / 3
    assert np.array_equal(found.spans, every.spans)
    assert np.array_equal(found.scores[""][~found.interpolated], every.scores[""][~found.interpolated])
    assert np.abs(found.scores[""] - every.scores[""]).max() < MOST_APART

    write_scores(tmp_path / "scores.npz", found)
    again = read_scores(tmp_path / "scores.npz")
    assert encode_scores(again) == encode_scores(found)
    assert np.array_equal(again.interpolated, found.interpolated)  # type: ignore[arg-type]

    (result,) = detect(video, model=model, windows=settings)
    (whole,) = detect(video, model=model, windows=window_settings(**common))  # type: ignore[arg-type]
    assert [segment.label for segment in result] == [segment.label for segment in whole]
    ends = [np.array([(s.start_seconds, s.end_seconds) for s in each]) for each in (result, whole)]
    assert np.allclose(*ends, atol=1e-6)
    assert any(segment.label == "bright" for segment in result)
    (note,) = [note.text for note in result.notes if note.kind is NoteKind.INTERPOLATED]
    assert note.startswith(f"{num_scored} of {len(every.spans)} windows went through the network")
    assert not [note for note in whole.notes if note.kind is NoteKind.INTERPOLATED]


@pytest.mark.parametrize("batch_size", [1, 100])
def test_no_score_lies_between_those_of_two_shots(video: Path, batch_size: int) -> None:
    common: dict[str, Any] = {"window": "400ms", "stride": "100ms", "start_seconds": 5.0, "end_seconds": 11.4}
    common |= {"batch_size": batch_size, "adaptive_stride": 64}
    model = looking_at_brightness()
    (missed,) = detect(video, model=model, windows=window_settings(**common))
    assert {segment.label for segment in missed} == {"dark"}, "both ends agree"
    (found,) = detect(video, model=model, windows=window_settings(**common, cuts=(6.0, 9.0)))
    spans = [(segment.start_seconds, segment.end_seconds) for segment in found if segment.label == "bright"]
    assert spans == [(6.0, 9.0)]


def test_windows_that_cannot_be_read_are_still_gaps(video: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.mp4"
    with av.open(str(video)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.pos is not None]
    data = bytearray(video.read_bytes())
    for packet in packets[100:120]:
        assert packet.pos is not None
        data[packet.pos + 4 : packet.pos + packet.size] = b"\xff" * (packet.size - 4)
    bad.write_bytes(data)
    model, common = looking_at_brightness(), {"window": "400ms", "stride": "100ms", "batch_size": 1}
    every = score_windows(bad, model=model, settings=window_settings(**common))  # type: ignore[arg-type]
    assert isinstance(model.network, Brightness)
    model.network.num_clips = 0
    found = score_windows(bad, model=model, settings=window_settings(**common, adaptive_stride=13))  # type: ignore[arg-type]
    assert every.gaps
    assert found.gaps == every.gaps
    assert np.array_equal(found.spans, every.spans)
    assert found.interpolated is not None
    assert int((~found.interpolated).sum()) == model.network.num_clips < len(every.spans) == len(found.interpolated)


@pytest.mark.parametrize("stride", [2, 0, -8, 65])
def test_strides_that_skip_nothing_or_too_much_are_refused(stride: int) -> None:
    with pytest.raises(UsageError, match=f"an adaptive stride of {stride} is not possible"):
        window_settings(adaptive_stride=stride)


def test_one_length_of_windows_is_needed() -> None:
    with pytest.raises(UsageError, match="goes with one length of windows"):
        window_settings(window="1s,2s", adaptive_stride=8)
