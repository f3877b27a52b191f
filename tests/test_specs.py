"""The manifest and its strict reader."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tadacli.errors import SpecError, UsageError
from tadacli.models import BUILDERS, OVER_FEATURES, build, build_over_features
from tadacli.sampling.clips import clip_indices
from tadacli.scoring.provenance import run_of
from tadacli.specs import ModelSpec, ProposalSpec, any_spec_from_dict, label_list, spec_from_dict
from tadacli.zoo import DEFAULT_MODEL
from tadacli.zoo.checkpoints import read_checkpoint
from tadacli.zoo.loading import builtin_weights
from tadacli.zoo.manifest import ModelCard, cards, manifest, read_cards
from tests.media import shared_folder

ENTRY = """
["net.recipe"]
architecture = "tada2d_r50"
task = "action"
dataset = "somewhere"
heads = { "" = ["a", "b"] }
input = { sampling = "segment", clip_frames = 8, short_side = 64, crop_size = 64, mean = [0, 0, 0], std = [1, 1, 1] }
protocol = { num_clips = 2, num_crops = 3 }
published = { top1 = 50.0, top5 = 60.0 }
num_parameters = 1000
gmacs = 1.5
source = { google_drive = "1YsbTKLoDwxtStAsP5oxUMbIsw85NvY0O", licence = "Apache-2.0" }
"""
FEATURES = 'features = { network = "net", num_channels = 4, num_bins = 20, bin_frames = 16, fps = 60 }'
ARGUMENTS = "arguments = { in_channels = 4, num_bins = 20, max_duration_bins = 10 }"
PROPOSALS = f"""
["spans.recipe"]
architecture = "bmn"
task = "action proposals"
dataset = "somewhere"
{ARGUMENTS}
{FEATURES}
num_parameters = 1000
source = {{ url = "https://example.org/spans.pyth", licence = "Apache-2.0" }}
unknown = {{ gmacs = "not counted" }}
"""
# Golden state dicts in the published layout, by the architecture and the data set of the checkpoints that have it.
GOLDENS = {
    ("tada2d_r50", "Kinetics-400"): "tada2d_r50_k400_8f",
    ("tada2d_r50", "Something-Something V2"): "tada2d_r50_ssv2_16f",
    ("tadaconvnext_tiny", "Kinetics-400"): "tadaconvnext_tiny_normal_lngelu",
    ("tadaconvnextv2_tiny", "Kinetics-400"): "tadaconvnextv2_tiny_k400_16f",
    ("tadaformer_b16", "Kinetics-400"): "tadaformer_b16_k400_16f",
    ("tadaformer_b16", "Something-Something V2"): "tadaformer_b16_ssv2_16f",
}
BUILT = [name for name, card in cards().items() if card.architecture in {*BUILDERS, *OVER_FEATURES}]


def on_meta(card: ModelCard) -> torch.nn.Module:
    with torch.device("meta"):
        if card.takes_features:
            return build_over_features(card.architecture, **card.arguments).eval()
        return build(card.architecture, num_classes=card.num_classes, **card.arguments).eval()


def golden(card: ModelCard) -> dict:
    file = GOLDENS.get((card.architecture, card.dataset))
    if file is None:
        pytest.skip("no golden of this network")
    return json.loads((shared_folder() / "golden_models" / f"{file}.json").read_text())


def test_all_published_checkpoints_and_the_built_in_one_are_known() -> None:
    families = Counter(card.architecture.split("_")[0] for card in cards().values())
    expected = {"r2plus1d": 1, "tada2d": 4, "tadaconvnext": 1, "tadaconvnextv2": 14, "tadaformer": 14, "bmn": 2}
    assert families == expected
    assert next(iter(cards())) == DEFAULT_MODEL
    assert all(name.startswith(f"{card.architecture}.") for name, card in cards().items())


def test_ids_and_accuracies_are_those_of_the_table_of_facts() -> None:
    text = (shared_folder() / "facts.md").read_text(encoding="utf-8")
    section = text[text.index("## 5. Checkpoints") : text.index("Superseded first-release")]
    rows = [line for line in section.splitlines() if line.startswith("|") and not re.search("ViViT-FE|ir-CSN", line)]
    published = set(re.findall(r"(?<![\w-])1[\w-]{32}(?![\w-])", "\n".join(rows)))
    known = {card.source.google_drive: card for card in cards().values() if card.source.google_drive}
    assert set(known) == published
    for row in rows:
        ids = re.findall(r"(?<![\w-])1[\w-]{32}(?![\w-])", row)
        figures = row.split("|")[2] if ids else ""
        for drive, figure in zip(ids, figures.split(" / "), strict=False):
            card = known[drive]
            key = "action_map" if card.architecture == "bmn" else "top1"
            if key in card.published and len(ids) > 1:
                assert float(figure.split("(")[0]) == card.published[key], card.name
            elif key in card.published:
                assert f"{card.published[key]:.2f}".rstrip("0") in figures, card.name


@pytest.mark.parametrize("name", BUILT)
def test_a_built_network_has_the_size_and_cost_that_the_manifest_states(name: str) -> None:
    card = cards()[name]
    network = on_meta(card)
    assert sum(each.numel() for each in network.parameters()) == card.num_parameters
    if "crop_size" in card.input and card.gmacs is not None:
        size = (card.input["crop_size"],) * 2
        with FlopCounterMode(display=False) as counter:
            network(torch.empty(1, 3, card.input["clip_frames"], *size, device="meta"))
        assert round(counter.get_total_flops() / 2e9, 2) == card.gmacs


@pytest.mark.parametrize(
    "name", [name for name in BUILT if (cards()[name].architecture, cards()[name].dataset) in GOLDENS]
)
def test_a_built_network_has_the_names_and_shapes_of_the_published_layout(name: str) -> None:
    state = on_meta(cards()[name]).state_dict()
    expected = {key: tuple(shape) for key, (shape, _) in golden(cards()[name])["state_dict"].items()}
    assert {key: tuple(tensor.shape) for key, tensor in state.items()} == expected


@pytest.mark.parametrize(
    "name", [name for name in cards() if (cards()[name].architecture, cards()[name].dataset) in GOLDENS]
)
def test_parameters_are_those_of_the_published_network_built_or_not(name: str) -> None:
    assert cards()[name].num_parameters == golden(cards()[name])["params"]


@pytest.mark.parametrize("name", list(manifest()))
def test_every_usable_entry_samples_and_reads_back(name: str) -> None:
    spec = manifest()[name]
    settings = spec.input
    indices = clip_indices(
        settings.sampling,
        300,
        fps=30,
        clip_frames=settings.clip_frames,
        frame_stride=settings.frame_stride,
        target_fps=settings.target_fps,
    )
    assert len(indices) == settings.clip_frames
    assert spec_from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def test_what_nobody_published_is_not_made_up() -> None:
    incomplete = [name for name, card in cards().items() if card.spec is None]
    assert len(incomplete) == 1 + 5 + 4  # the hub's, 32 frames at an unknown rate, Kinetics-710
    for name in incomplete:
        card = cards()[name]
        assert card.told_by_file, name
        assert set(card.unknown) & {"input", "input.frame_stride", "heads", "features"}, name
    assert "frame_stride" not in cards()["tadaconvnextv2_tiny.k400_32f"].input


def test_obstacles_follow_the_networks_that_are_built() -> None:
    card = cards()["tadaformer_b16.k400_16f"]
    assert card.obstacles(["tadaformer_b16"]) == []
    assert card.obstacles([]) == ["its network, tadaformer_b16, is not built into this version"]
    assert all(
        cards()[name].spec is None or cards()[name].obstacles({*BUILDERS, *OVER_FEATURES}) == [] for name in BUILT
    )


def test_the_built_in_file_carries_the_spec_of_the_manifest() -> None:
    """But for what is said of its labels since it was made: results name the hash of the file, which stays."""
    spec = manifest()[DEFAULT_MODEL]
    assert spec.exclusive_labels
    assert read_checkpoint(builtin_weights(spec.source.file)).spec == replace(spec, exclusive_labels=False)


@pytest.mark.parametrize(("name", "count"), [("kinetics400", 400), ("ssv2", 174), ("camera_motion", 9)])
def test_label_lists_are_whole_and_without_repeats(name: str, count: int) -> None:
    labels = label_list(name)
    assert len(labels) == len(set(labels)) == count


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('task = "action"', 'task = "cooking"', 'task has the wrong type or value, got "cooking"'),
        ('dataset = "somewhere"', "", "dataset is missing"),
        ('dataset = "somewhere"', 'dataset = "somewhere"\ncolour = "red"', "net.recipe: unknown key colour"),
        ("num_crops = 3", "num_crops = 3, flip = true", "net.recipe: unknown key protocol.flip"),
        ("num_crops = 3", "num_crops = 0", "at least one clip and one crop"),
        ("clip_frames = 8", "clip_frames = 0", "not positive"),
        ("clip_frames = 8", 'clip_frames = "8"', "clip_frames has the wrong type"),
        ("clip_frames = 8", "clip_frames = 8, frame_stride = 2", "segment sampling does not use"),
        ("crop_size = 64", "crop_size = 65", "crop above the short side"),
        ("mean = [0, 0, 0]", "mean = [0, 0]", "input: mean.2 is missing"),
        ('"segment"', '"sometimes"', 'input: sampling has the wrong type or value, got "sometimes"'),
        ('"segment"', '"interval"', "net.recipe: input: frame_stride is missing"),
        ('heads = { "" = ["a", "b"] }', "heads = { }", "heads needs one unnamed head"),
        ('heads = { "" = ["a", "b"] }', 'heads = { "" = "nowhere" }', "no label list 'nowhere'"),
        ('heads = { "" = ["a", "b"] }', "num_classes = 2", "heads is missing"),
        ("gmacs = 1.5", f"gmacs = 1.5\n{FEATURES}", "unknown key features where the task is action"),
        ("gmacs = 1.5", "gmacs = 1.5\nnum_classes = 3", "num_classes is missing, or not the number of labels"),
        ("gmacs = 1.5", "", "gmacs is missing"),
        ("gmacs = 1.5", 'gmacs = 1.5\nexclusive_labels = "yes"', "exclusive_labels has the wrong type or value"),
        ("gmacs = 1.5", 'gmacs = 1.5\nunknown = { gmacs = "?" }', "gmacs is given, and said to be unknown"),
        ("gmacs = 1.5", "unknown = { gmacs = 3 }", "unknown.gmacs has the wrong type or value, got 3"),
        ("gmacs = 1.5", 'gmacs = 1.5\nunknown = { dataset = "?" }', "unknown.dataset is no key that may be left out"),
        ("gmacs = 1.5", 'gmacs = 1.5\nunknown = { "input.sampling" = "?" }', "input.sampling is given, and said to be"),
        ("top5 = 60.0", "top5 = 40.0", "top5 below top1"),
        ("top5 = 60.0", "top5 = 600.0", "no percentage"),
        ("top5 = 60.0", "top6 = 60.0", "unknown key published.top6"),
        ("1YsbTKLoDwxtStAsP5oxUMbIsw85NvY0O", "1YsbTKLo", "source.google_drive does not look like one"),
        ("source = {", 'source = { url = "ftp://x",', "source.url does not look like one"),
        ("source = {", 'source = { sha256 = "12",', "source.sha256 does not look like one"),
        ("source = {", "source = { size_bytes = -1,", "source.size_bytes is not positive"),
        ("source = {", 'source = { mirror = "x",', "net.recipe: unknown key source.mirror"),
        ("source = {", 'source = { file = "x.safetensors",', "google_drive or url, or else file"),
        ('google_drive = "1YsbTKLoDwxtStAsP5oxUMbIsw85NvY0O", ', "", "google_drive or url, or else file"),
        (', licence = "Apache-2.0"', "", "source.licence is missing"),
        ('["net.recipe"]', '["net.recipe"', "not valid TOML"),
    ],
)
def test_a_wrong_entry_is_named_with_its_key(old: str, new: str, reason: str) -> None:
    assert old in ENTRY
    assert list(read_cards(ENTRY)) == ["net.recipe"]
    with pytest.raises(SpecError, match=reason):
        read_cards(ENTRY.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("features = {", "features = { colour = 1,", "spans.recipe: unknown key features.colour"),
        ("num_channels = 4", "num_channels = 0", "features: it has a number that is not positive"),
        ("num_channels = 4", "num_channels = 8", "arguments.in_channels is 4, and its features have 8"),
        ("num_parameters = 1000", "num_parameters = 1000\nnum_classes = 3", "unknown key num_classes"),
        ("num_parameters = 1000", "num_parameters = 1000\nexclusive_labels = true", "unknown key exclusive_labels"),
        ("num_parameters = 1000", "num_parameters = 1000\ninput = { clip_frames = 8 }", "unknown key input"),
    ],
)
def test_what_takes_features_is_read_as_strictly(old: str, new: str, reason: str) -> None:
    card = read_cards(PROPOSALS)["spans.recipe"]
    assert isinstance(card.spec, ProposalSpec)
    assert card.obstacles(["bmn"]) == []
    assert any_spec_from_dict(json.loads(json.dumps(card.spec.to_dict()))) == card.spec
    with pytest.raises(SpecError, match=reason):
        read_cards(PROPOSALS.replace(old, new, 1))


def test_an_entry_says_why_a_setting_is_left_out_and_leaves_it_to_the_file() -> None:
    text = ENTRY.replace('"segment"', '"interval", target_fps = 30')
    with pytest.raises(SpecError, match="frame_stride is missing"):
        read_cards(text)
    card = read_cards(text + 'unknown = { "input.frame_stride" = "never written down" }')["net.recipe"]
    assert (card.spec, card.input["clip_frames"]) == (None, 8)
    assert (card.obstacles(["tada2d_r50"]), card.told_by_file) == ([], ("input.frame_stride",))
    with pytest.raises(SpecError, match="not positive"):  # what is known is still checked
        read_cards(text.replace("clip_frames = 8", "clip_frames = 0") + 'unknown = { "input.frame_stride" = "x" }')


def test_no_two_entries_have_one_file() -> None:
    with pytest.raises(SpecError, match=r"net\.other: source\.google_drive is that of net\.recipe"):
        read_cards(ENTRY + ENTRY.replace("net.recipe", "net.other"))


FITTED = {"temperatures": {"": 1.5}, "thresholds": {"": [0.25, 1]}}


def test_fitted_scores_travel_with_a_model_and_are_left_out_where_there_are_none() -> None:
    spec = read_cards(ENTRY)["net.recipe"].spec
    assert spec is not None
    assert not FITTED.keys() & spec.to_dict().keys()
    with pytest.raises(UsageError, match="carries no thresholds") as raised:
        spec.require_thresholds()
    assert "give a number" in raised.value.hint
    fitted = spec_from_dict({**spec.to_dict(), **FITTED})
    assert (fitted.temperatures, fitted.require_thresholds()) == ({"": 1.5}, {"": (0.25, 1.0)})
    written = json.dumps(fitted.to_dict())
    assert spec_from_dict(json.loads(written)) == fitted
    assert json.loads(written) == {**json.loads(json.dumps(spec.to_dict())), **FITTED}
    assert fitted.to_dict(labels=False)["thresholds"] == FITTED["thresholds"]


def test_labels_that_exclude_each_other_are_said_where_they_do_and_no_run_is_another_for_it() -> None:
    spec = read_cards(ENTRY)["net.recipe"].spec
    exclusive = read_cards(ENTRY + "exclusive_labels = true")["net.recipe"].spec
    assert isinstance(spec, ModelSpec)
    assert isinstance(exclusive, ModelSpec)
    assert exclusive == replace(spec, exclusive_labels=True)
    assert "exclusive_labels" not in spec.to_dict()
    assert exclusive.to_dict() == {**spec.to_dict(), "exclusive_labels": True}
    assert spec_from_dict(json.loads(json.dumps(exclusive.to_dict()))) == exclusive
    one, other = (run_of(each, settings={}, weights_sha256="", tool_version="") for each in (spec, exclusive))
    assert one.id == other.id


def test_labels_that_hold_independently_are_said_where_they_do_and_make_another_run() -> None:
    spec = read_cards(ENTRY)["net.recipe"].spec
    assert isinstance(spec, ModelSpec)
    several = replace(spec, multi_label=True)
    assert "multi_label" not in spec.to_dict()  # files and runs of earlier versions stay what they are
    assert several.to_dict(labels=False)["multi_label"] is True
    assert spec_from_dict(json.loads(json.dumps(several.to_dict()))) == several
    one, other = (run_of(each, settings={}, weights_sha256="", tool_version="") for each in (spec, several))
    assert one.id != other.id
    with pytest.raises(ValueError, match="multi_label is true, and its labels exclude each other"):
        replace(several, exclusive_labels=True)
    with pytest.raises(ValueError, match="multi_label is true, and its labels are of several heads"):
        replace(several, heads={"verb": ("a", "b"), "noun": ("c", "d")})


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("temperatures", {"verb": 1.0}, "temperatures names a head 'verb'"),
        ("temperatures", {"": 0}, r"temperatures.\(single\) is not a positive number: 0"),
        ("temperatures", {"": -1.5}, "not a positive number"),
        ("temperatures", {"": float("nan")}, "not a positive number"),
        ("temperatures", {"": float("inf")}, "not a positive number"),
        ("temperatures", {"": "warm"}, r"temperatures.\(single\) has the wrong type or value, got \"warm\""),
        ("temperatures", {"": True}, r"temperatures.\(single\) has the wrong type or value, got true"),
        ("temperatures", 1.5, "temperatures has the wrong type"),
        ("thresholds", {"verb": [0.1, 0.2]}, "for every head or for none"),
        ("thresholds", {"": [0.1]}, r"thresholds.\(single\) needs one number for each of 2 classes"),
        ("thresholds", {"": 0.5}, r"thresholds.\(single\) has the wrong type or value, got 0.5"),
        ("thresholds", {"": [0.1, 1.5]}, "holds 1.5, which is not between 0 and 1"),
        ("thresholds", {"": [0.1, float("nan")]}, "holds nan"),
        ("segment_low_share", 0, "segment_low_share is 0.0, and no share above 0"),
        ("segment_low_share", 1.5, "segment_low_share is 1.5, and no share above 0"),
        ("thresholds", {"": [0.1, None]}, r"thresholds.\(single\).1 has the wrong type or value, got null"),
    ],
)
def test_fitted_scores_are_read_strictly_and_have_no_place_in_the_manifest(key: str, value, reason: str) -> None:
    spec = read_cards(ENTRY)["net.recipe"].spec
    assert spec is not None
    with pytest.raises(SpecError, match=f"net.recipe: .*{reason}"):
        spec_from_dict({**spec.to_dict(), key: value})
    with pytest.raises(SpecError, match=f"net.recipe: unknown key {key}"):
        read_cards(ENTRY + f"{key} = {{}}")


def test_named_heads_keep_their_order() -> None:
    text = ENTRY.replace('{ "" = ["a", "b"] }', '{ verb = ["cut", "mix"], noun = ["egg", "pan", "tap"] }')
    spec = read_cards(text)["net.recipe"].spec
    assert spec is not None
    assert spec.num_classes == {"verb": 2, "noun": 3}
    with pytest.raises(SpecError, match="exclusive_labels are of one head"):
        read_cards(text + "exclusive_labels = true")
