"""Features of the snippets of videos: those of the clips that they are, each frame decoded once, whatever stops it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import tadacli
from tadacli.detection.clip_folders import clips_of, feature_rows, open_clip_folder
from tadacli.detection.extraction import feature_job, features, iter_features
from tadacli.detection.feature_file import read_features
from tadacli.detection.feature_layouts import FeatureLayout, FeatureStore, check_layout, settings_for
from tadacli.detection.features import VideoFeatures
from tadacli.errors import OutputError, UsageError
from tadacli.models import build
from tadacli.models.inference import fuse
from tadacli.profiling import Profile, profiled
from tadacli.sampling.snippets import SnippetSettings, snippet_settings
from tadacli.sampling.windows import window_clips
from tadacli.specs import InputSpec
from tadacli.transforms import preprocess
from tadacli.video.reading import open_video, read_frames
from tadacli.zoo.loading import Model
from tadacli.zoo.manifest import manifest
from tests import media

SIDE = 32
NETWORKS = {
    "r2plus1d_tiny": {},
    "tada2d_r50": {"stage_depths": (1, 1, 1, 1), "stem_width": 8},
    "slowfast_r50": {"stage_depths": (1, 1, 1, 1), "stem_width": 32, "alpha": 4},
    "tadaconvnextv2_tiny": {"stage_depths": (1, 1, 1, 1), "stem_width": 8, "route_head_dim": 4},
}


def small_model(architecture: str = "r2plus1d_tiny", *, heads: dict[str, tuple[str, ...]] | None = None) -> Model:
    """A small network with random weights that looks at eight frames, every fourth of 30 a second."""
    torch.manual_seed(1)
    look = InputSpec("interval", 8, 4, 30.0, SIDE, SIDE, (0.45,) * 3, (0.225,) * 3)
    heads = heads or {"": ("one", "other")}
    spec = replace(manifest()["r2plus1d_tiny.camera_motion"], name="small", input=look, heads=heads)
    network = build(architecture, num_classes=spec.num_classes, **NETWORKS[architecture]).eval()
    return Model(spec, fuse(network), torch.device("cpu"), torch.float32, Path("none"), "0" * 64)


@pytest.fixture(scope="module")
def model() -> Model:
    return small_model()


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds whose pixels number the frames."""
    path = tmp_path_factory.mktemp("extraction") / "numbered.mp4"
    media.render(path, 90, options={"g": "24", "bf": "2"})
    return path


def made(video: Path, model: Model, **words: object) -> VideoFeatures:
    (result,) = features(video, model=model, snippets=snippet_settings(**words))  # type: ignore[arg-type]
    assert result.features is not None, result.error
    return result.features


@pytest.mark.parametrize("architecture", NETWORKS)
@pytest.mark.parametrize("crops", [1, 3])
def test_features_are_those_of_the_network_on_the_clips_of_each_snippet(
    architecture: str, crops: int, video: Path
) -> None:
    model = small_model(architecture)
    found = made(video, model, stride="16f", crops=crops)
    spec = model.spec.input
    assert len(found.values) == 6
    for span, row in zip(found.spans.tolist(), found.values, strict=True):
        with open_video(str(video)) as source:
            (clip,) = window_clips(source, spec, sampling="native", window=tuple(span))
        size = {"short_side": spec.short_side, "crop_size": spec.crop_size, "mean": spec.mean, "std": spec.std}
        views = preprocess(read_frames(video, clip.tolist()), num_crops=crops, **size)  # type: ignore[arg-type]
        with torch.inference_mode():
            alone = torch.cat([model.network.forward_features(view[None])[0] for view in views])  # type: ignore[operator]
        np.testing.assert_array_equal(row, alone.numpy())


def test_snippets_stand_for_even_steps_of_the_whole_video(video: Path, model: Model) -> None:
    """Those that stick out of the video at its ends are moved into it."""
    found = made(video, model)  # 32 frames of 30 a second, one every four
    assert found.stride_seconds == pytest.approx(4 / 30)
    np.testing.assert_allclose(found.centres, (np.arange(22) * 4 + 2) / 30)
    expected = np.clip(found.centres - 16 / 30, 0, 3 - 32 / 30)
    np.testing.assert_allclose(found.spans, np.stack([expected, expected + 32 / 30], axis=1))
    assert (found.start_seconds, found.duration_seconds, found.gaps, found.status) == (0, 3, (), "ok")
    assert found.num_planned == len(found.values) == 22


def test_lengths_in_frames_count_at_the_rate_of_the_model(video: Path, model: Model) -> None:
    fast = replace(model, spec=replace(model.spec, input=replace(model.spec.input, target_fps=60.0)))
    found = made(video, fast, snippet="64f", stride="8f")
    assert found.stride_seconds == pytest.approx(8 / 60)
    np.testing.assert_allclose(np.diff(found.spans, axis=1), 64 / 60)
    assert found.contract is not None
    assert (found.contract.fps, found.contract.model) == (60.0, "small")
    same = made(video, fast, snippet="1.066666667s", stride="133.333333ms")
    np.testing.assert_allclose(same.centres, found.centres, atol=1e-6)


def test_times_are_presentation_times(tmp_path: Path, model: Model) -> None:
    path = tmp_path / "late.mkv"
    media.render(path, 60, pts=[150 + number for number in range(60)])
    found = made(path, model, stride="500ms")
    with open_video(str(path)) as source:
        start = source.times[0]
    assert start > 1
    np.testing.assert_allclose(found.centres, start + 0.25 + 0.5 * np.arange(4))
    assert (found.start_seconds, found.duration_seconds) == pytest.approx((start, start + 2), abs=1e-6)
    assert bool((found.spans[:, 0] >= start).all())


def test_a_video_shorter_than_a_snippet_has_features(tmp_path: Path, model: Model) -> None:
    media.render(tmp_path / "short.mp4", 9)
    found = made(tmp_path / "short.mp4", model)
    assert len(found.values) == 2
    np.testing.assert_allclose(found.spans, [[0, 0.3]] * 2)


def test_several_clips_of_a_snippet_are_averaged(video: Path, model: Model) -> None:
    spec = model.spec.input
    found = made(video, model, snippet="2.2s", stride="1s", crops=3)
    with open_video(str(video)) as source:
        clips = window_clips(source, spec, sampling="native", window=tuple(found.spans[1].tolist()))
    size = {"short_side": spec.short_side, "crop_size": spec.crop_size, "mean": spec.mean, "std": spec.std}
    rows = []
    for clip in clips:
        views = preprocess(read_frames(video, clip.tolist()), num_crops=3, **size)  # type: ignore[arg-type]
        with torch.inference_mode():
            rows.append(model.network.forward_features(views).flatten())  # type: ignore[operator]
    assert len(rows) == 2
    np.testing.assert_allclose(found.values[1], torch.stack(rows).mean(dim=0).numpy(), rtol=1e-5, atol=1e-6)


def test_scores_are_kept_beside_the_features_if_asked(video: Path) -> None:
    model = small_model(heads={"verb": ("take", "put"), "noun": ("cup", "pan", "lid")})
    plain, scored = made(video, model, stride="16f"), made(video, model, stride="16f", with_scores=True)
    assert np.array_equal(plain.values, scored.values)
    assert plain.scores == {}
    assert {name: values.shape for name, values in scored.scores.items()} == {"verb": (6, 2), "noun": (6, 3)}
    with torch.inference_mode():
        logits = model.network.head(torch.from_numpy(scored.values))  # type: ignore[operator]
    for name, values in scored.scores.items():
        np.testing.assert_allclose(values, logits[name].softmax(dim=-1).numpy(), rtol=1e-5)


def test_every_frame_is_decoded_once(video: Path, model: Model) -> None:
    profile = Profile()
    with profiled(profile):
        found = made(video, model)
    report = profile.report()
    assert report.num_used <= report.num_decoded <= 90
    assert report.num_views == len(found.values)


def test_the_batch_size_hardly_matters(video: Path, model: Model) -> None:
    one, four = (made(video, model, crops=3, batch_size=size).values for size in (1, 4))
    np.testing.assert_allclose(four, one, rtol=1e-5, atol=1e-6)


def test_other_words_are_refused() -> None:
    for words in ({"snippet": "0s"}, {"stride": "nonsense"}, {"crops": 2}, {"batch_size": 0}, {"fps": -1.0}):
        with pytest.raises(UsageError):
            snippet_settings(**words)  # type: ignore[arg-type]


class Bare(nn.Module):
    """A network without features."""

    def forward(self, clips: Tensor) -> Tensor:
        return clips.mean(dim=(2, 3, 4))


def test_a_model_without_features_is_refused_before_a_video_is_opened(model: Model, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no features"):
        features(tmp_path / "none.mp4", model=replace(model, network=Bare()))


def test_a_video_that_fails_stops_nothing(video: Path, model: Model, tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_text("not a video")
    broken, whole = tadacli.features([tmp_path / "broken.mp4", video], model=model)
    assert (broken.status, broken.features) == ("error", None)
    assert "broken.mp4" in broken.error
    assert whole.status == "ok"


def test_what_cannot_be_read_is_a_gap_and_has_no_row(model: Model, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.mp4"
    media.render(damaged, 240, options={"g": "24"}, container_options={"movflags": "faststart"}, noise=60)
    damaged.write_bytes(damaged.read_bytes()[: damaged.stat().st_size * 6 // 10])
    found = made(damaged, model, stride="500ms")
    assert found.status == "partial"
    assert found.num_planned == 16
    assert 3 < len(found.values) < 16
    assert found.gaps[-1].end_seconds == pytest.approx(8.0)
    np.testing.assert_allclose(found.centres, 0.25 + 0.5 * np.arange(len(found.values)))


# --- on disk ----------------------------------------------------------------------------------------


class StoppedError(Exception):
    """Stands for being killed."""


def run(
    videos: list[Path],
    model: Model,
    folder: Path,
    *,
    layout: FeatureLayout = "tada",
    resume: bool = True,
    stop_after: int | None = None,
    snippets: SnippetSettings | None = None,
) -> list[str]:
    """The statuses of the videos; with `stop_after`, of a run that stops after so many groups of snippets."""
    paths = [str(video) for video in videos]
    job = feature_job(paths, model=model, snippets=snippets or snippet_settings(stride="8f", with_scores=True))
    num_done = 0

    def count(*_: float) -> None:
        nonlocal num_done
        num_done += 1
        if num_done == stop_after:
            raise StoppedError

    store = FeatureStore(paths, folder, layout=layout, resume=resume)
    return [result.status for result in iter_features(job, store=store, on_progress=count)]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(video: Path, model: Model, tmp_path: Path) -> None:
    run([video], model, tmp_path / "whole")
    expected = contents(tmp_path / "whole")
    assert set(expected) == {"numbered.npz"}
    for stop_after in (1, 5, 11):
        folder = tmp_path / f"stopped {stop_after}"
        with pytest.raises(StoppedError):
            run([video], model, folder, stop_after=stop_after)
        assert set(contents(folder)) == {"numbered.npz.unfinished"}
        journal = folder / "numbered.npz.unfinished"
        journal.write_bytes(journal.read_bytes()[:-7])  # within the last line
        assert run([video], model, folder) == ["ok"]
        assert contents(folder) == expected


def test_what_is_written_is_what_is_given_in_memory(video: Path, model: Model, tmp_path: Path) -> None:
    run([video], model, tmp_path / "f")
    kept, fresh = read_features(tmp_path / "f" / "numbered.npz"), made(video, model, stride="8f", with_scores=True)
    for name in ("values", "spans", "centres"):
        assert np.array_equal(getattr(kept, name), getattr(fresh, name)), name
    assert np.array_equal(kept.scores[""], fresh.scores[""])
    assert kept.contract is not None
    assert fresh.contract is not None
    assert replace(kept.contract, settings={}) == replace(fresh.contract, settings={})


def test_what_is_whole_is_not_made_again_and_not_that_of_other_settings(
    video: Path, model: Model, tmp_path: Path
) -> None:
    run([video], model, tmp_path / "f")
    before = contents(tmp_path / "f")
    assert run([video], model, tmp_path / "f", stop_after=1) == ["ok"]  # nothing to stop
    assert contents(tmp_path / "f") == before
    with pytest.raises(OutputError, match="not overwritten"):
        run([video], model, tmp_path / "f", resume=False)
    with pytest.raises(OutputError, match="other settings"):
        run([video], model, tmp_path / "f", snippets=snippet_settings(stride="4f"))
    assert contents(tmp_path / "f") == before


@pytest.mark.parametrize("layout", ["actionformer", "opentad"])
def test_others_get_an_array_and_what_their_reader_needs(
    layout: FeatureLayout, video: Path, model: Model, tmp_path: Path
) -> None:
    settings = settings_for(layout, snippet_settings(stride="5f"), model.spec.input)
    assert run([video], model, tmp_path / "f", layout=layout, snippets=settings) == ["ok"]
    (result,) = features(video, model=model, snippets=settings)
    fresh = result.features
    assert fresh is not None
    rows = np.load(tmp_path / "f" / "numbered.npy", allow_pickle=False)
    assert np.array_equal(rows, fresh.values)
    record = json.loads((tmp_path / "f" / "numbered.json").read_text())["for_reader"]
    if layout == "actionformer":  # (time * fps - num_frames / 2) / feat_stride is the row
        places = (fresh.centres * record["fps"] - record["num_frames"] / 2) / record["feat_stride"]
    else:
        assert (record["feature_stride"], record["offset_frames"]) == (5, 2)  # whole, as it takes nothing else
        places = (fresh.centres * record["fps"] - record["offset_frames"]) / record["feature_stride"]
    np.testing.assert_allclose(places, np.arange(len(rows)), atol=1e-5)
    before = contents(tmp_path / "f")
    assert run([video], model, tmp_path / "f", layout=layout, snippets=settings, stop_after=1) == ["ok"]
    assert contents(tmp_path / "f") == before


def test_a_layout_without_times_has_no_place_for_a_gap(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "pause.mp4"
    media.render(path, 120, pts=[number + (number >= 60) * 150 for number in range(120)])
    settings = snippet_settings(stride="8f")
    assert run([path], model, tmp_path / "f", layout="actionformer", snippets=settings) == ["error"]
    assert not (tmp_path / "f" / "pause.npy").exists()
    assert run([path], model, tmp_path / "t", snippets=settings) == ["partial"]
    kept = read_features(tmp_path / "t" / "pause.npz")
    assert 0 < len(kept.values) < (kept.num_planned or 0)
    assert float(np.diff(kept.centres).max()) > 2


def test_the_published_layout_has_a_file_for_every_five_seconds(model: Model, tmp_path: Path) -> None:
    """With the rows of the snippets whose centres, 7 + 8 i frames of 60 a second, lie in it."""
    path = tmp_path / "P01_13.mp4"
    media.render(path, 312)
    settings = settings_for("epic-5s", snippet_settings(), model.spec.input)
    assert run([path], model, tmp_path / "f", layout="epic-5s", snippets=settings) == ["ok"]
    folder = open_clip_folder(tmp_path / "f")
    clips = clips_of("P01_13", [folder])
    assert [clip.file_name("P01_13") for clip in clips] == [
        "P01_13_0000000_0005000.pkl",
        "P01_13_0005000_0010000.pkl",
        "P01_13_0010000_0010400.pkl",
    ]
    assert [clip.num_rows for clip in clips] == [37, 38, 3]
    rows = feature_rows("P01_13", [folder], clips, num_channels=192, dtype=torch.float32)
    fresh = features(path, model=model, snippets=settings)[0].features
    assert fresh is not None
    np.testing.assert_allclose(fresh.centres, (7 + 8 * np.arange(78)) / 60)
    assert np.array_equal(rows[0:78].numpy(), fresh.values)
    before = contents(tmp_path / "f")
    assert torch.load(tmp_path / "f" / "P01_13_0000000_0005000.pkl", weights_only=True).shape == (37, 192)
    assert run([path], model, tmp_path / "f", layout="epic-5s", snippets=settings, stop_after=1) == ["ok"]
    assert run([path], model, tmp_path / "g", layout="epic-5s", snippets=settings) == ["ok"]
    assert contents(tmp_path / "f") == contents(tmp_path / "g") == before


def test_what_was_removed_is_made_again_and_another_layout_is_refused(
    video: Path, model: Model, tmp_path: Path
) -> None:
    settings = snippet_settings(stride="8f")
    run([video], model, tmp_path / "f", layout="actionformer", snippets=settings)
    before = contents(tmp_path / "f")
    with pytest.raises(OutputError, match="other settings"):
        run([video], model, tmp_path / "f", layout="opentad", snippets=settings)
    (tmp_path / "f" / "numbered.npy").unlink()
    assert run([video], model, tmp_path / "f", layout="actionformer", snippets=settings) == ["ok"]
    assert contents(tmp_path / "f") == before


def test_opentad_counts_whole_frames(model: Model) -> None:
    with pytest.raises(UsageError, match="has no place") as caught:
        settings_for("opentad", snippet_settings(stride="50ms"), model.spec.input)
    assert "1.5 frames" in caught.value.message


def test_the_published_layout_has_no_other_stride(model: Model) -> None:
    with pytest.raises(UsageError, match="8 frames of 60"):
        settings_for("epic-5s", snippet_settings(stride="8f"), model.spec.input)
    with pytest.raises(UsageError, match="no place for scores"):
        check_layout("epic-5s", with_scores=True)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"kind": "tada features 1"}', b"[" * 100_000, b'{"num_rows": 1e300}']
)
def test_a_description_that_is_none_of_ours_is_refused(
    content: bytes, video: Path, model: Model, tmp_path: Path
) -> None:
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "numbered.json").write_bytes(content)
    with pytest.raises(UsageError, match=r"numbered\.json"):
        run([video], model, tmp_path / "f", layout="opentad", snippets=snippet_settings(stride="8f"))
    assert (tmp_path / "f" / "numbered.json").read_bytes() == content


@pytest.mark.parametrize("name", ["num_rows", "num_columns"])
def test_a_description_of_absurd_features_is_refused(name: str, video: Path, model: Model, tmp_path: Path) -> None:
    settings = snippet_settings(stride="16f")
    run([video], model, tmp_path / "f", layout="opentad", snippets=settings)
    file = tmp_path / "f" / "numbered.json"
    for value in (10**15, -1, "4", None):
        file.write_text(json.dumps({**json.loads(file.read_text()), name: value}))
        if (name, value) == ("num_columns", 10**15):
            continue
        with pytest.raises(UsageError, match=r"numbered\.json"):
            run([video], model, tmp_path / "f", layout="opentad", snippets=settings)
