"""What is known of a model and what its checkpoint states: completed where one is silent, refused where they differ."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from tadacli.errors import CheckpointError, SpecError, TadaError, UndecidedError, UsageError
from tadacli.specs import EvalProtocol, InputSpec, ModelSpec, label_list, numbered_labels
from tadacli.zoo.checkpoints import empty_network
from tadacli.zoo.completing import by_itself, complete
from tadacli.zoo.manifest import ModelCard, cards
from tadacli.zoo.stated import Decided
from tests.zoo.configurations import NETWORKS, changed, stating, tables_for, tables_of

OF_VIDEO = [name for name, card in cards().items() if card.architecture in NETWORKS and not card.source.configuration]
PARTLY_KNOWN = [name for name in OF_VIDEO if cards()[name].spec is None]
KNOWN = "tada2d_r50.k400_8x8"


def shapes(spec: ModelSpec | ModelCard) -> dict[str, tuple[int, ...]]:
    return {name: tuple(each.shape) for name, each in empty_network(spec).state_dict().items()}


@pytest.mark.parametrize("name", OF_VIDEO)
def test_every_published_model_takes_what_its_file_states(name: str) -> None:
    card = cards()[name]
    completed = complete(card, stating(tables_of(card)))
    spec = completed.spec
    assert isinstance(spec, ModelSpec)
    if card.spec is not None:
        assert (spec, completed.notes) == (card.spec, ())
    assert (spec.name, spec.source, dict(spec.published)) == (name, card.source, dict(card.published))
    assert spec.num_classes == card.num_classes
    assert spec.input.clip_frames == card.input["clip_frames"]
    assert spec.protocol == (card.protocol or EvalProtocol(1, 1))
    # The shapes are those that the manifest's network has, whose parameters are counted elsewhere.
    assert sum(each.numel() for each in empty_network(spec).parameters()) == card.num_parameters


def test_a_rate_that_nobody_published_comes_with_the_file() -> None:
    card = cards()["tadaconvnextv2_tiny.k400_32f"]
    completed = complete(card, stating(tables_of(card)))
    assert completed.spec == dataclasses.replace(
        cards()["tadaconvnextv2_tiny.k400_16f"].spec,
        name=card.name,
        input=InputSpec("interval", 32, 2, 30.0, 256, 256, (0.45,) * 3, (0.225,) * 3),
        published=card.published,
        source=card.source,
    )
    assert completed.spec.heads == {"": label_list("kinetics400")}
    assert completed.notes == ()


def test_what_nobody_states_is_said_to_be_made_up() -> None:
    card = cards()["tadaformer_b16.k710_16f"]
    completed = complete(card, stating(tables_of(card)))
    assert completed.spec.heads == {"": numbered_labels(710)}
    assert completed.spec.heads[""][17] == "class 17"
    assert completed.spec.protocol == EvalProtocol(1, 1)  # the file's views are of the validation during training
    assert any("no names" in note and "class 0" in note for note in completed.notes)
    assert any("nobody says how many views" in note for note in completed.notes)


@pytest.mark.parametrize("name", OF_VIDEO)
@pytest.mark.parametrize("key", ["DATA.NUM_INPUT_FRAMES", "VIDEO.HEAD.NUM_CLASSES", "MODEL.NAME"])
def test_a_file_that_contradicts_what_is_known_is_refused(name: str, key: str) -> None:
    card = cards()[name]
    other = next(each for each, _ in NETWORKS.values() if each != NETWORKS[card.architecture][0])
    value = {"DATA.NUM_INPUT_FRAMES": 12, "VIDEO.HEAD.NUM_CLASSES": 23, "MODEL.NAME": other}[key]
    with pytest.raises(CheckpointError if key == "MODEL.NAME" else UndecidedError) as caught:
        complete(card, stating(changed(tables_of(card), key, value)))
    text = caught.value.message
    if key == "DATA.NUM_INPUT_FRAMES":
        assert f"clip_frames 12 in the file, {card.input['clip_frames']} in the manifest" in text
    if key == "VIDEO.HEAD.NUM_CLASSES":
        assert f"num_classes 23 in the file, {card.num_classes} in the manifest" in text


@pytest.mark.parametrize("name", OF_VIDEO)
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("DATA.NUM_INPUT_FRAMES", 0),
        ("DATA.TEST_CROP_SIZE", "large"),
        ("DATA.STD", [0.2, 0.2, 0]),
        ("VIDEO", "none"),
        ("VIDEO.HEAD.ACTIVATION", "sigmoid"),
        ("VIDEO.HEAD.NAME", "SlowFastHead"),
        ("VIDEO.BACKBONE.BRANCH.NAME", "OtherBlock"),
        ("VIDEO.BACKBONE.NUM_OUT_FEATURES", 7),
        ("DATA.MULTI_LABEL", True),
    ],
)
def test_a_broken_file_is_refused_with_key_and_value(name: str, key: str, value: Any) -> None:
    card = cards()[name]
    with pytest.raises(CheckpointError) as caught:
        complete(card, stating(changed(tables_of(card), key, value)))
    shown = repr(value) if isinstance(value, int | str | list) else str(value)
    assert key in caught.value.message
    assert shown in caught.value.message


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("DATA.SAMPLING_RATE", 4, "frame_stride 4 in the file, 8 in the manifest"),
        ("DATA.TARGET_FPS", 25.5, "target_fps 25.5 in the file, 30 in the manifest"),
        ("DATA.MINUS_INTERVAL", True, "minus_interval True in the file, False in the manifest"),
        ("DATA.SAMPLING_MODE", "segment_based", "sampling segment in the file, interval in the manifest"),
        ("DATA.TEST_SCALE", 288, "short_side 288 in the file, 256 in the manifest"),
        ("DATA.TEST_CROP_SIZE", 224, "crop_size 224 in the file, 256 in the manifest"),
        ("DATA.MEAN", [0.5, 0.45, 0.45], "mean [0.5, 0.45, 0.45] in the file, [0.45, 0.45, 0.45] in the manifest"),
        ("DATA.STD", [0.2, 0.225, 0.225], "std [0.2, 0.225, 0.225] in the file"),
        ("VIDEO.BACKBONE.DEPTH", 101, "stage_depths [3, 4, 23, 3] in the file, [3, 4, 6, 3] in the manifest"),
        ("VIDEO.BACKBONE.BRANCH.ROUTE_FUNC_R", 2, "route_ratio 2 in the file, 4 in the manifest"),
    ],
)
def test_both_values_of_a_difference_are_shown_and_a_person_decides(key: str, value: Any, says: str) -> None:
    card = cards()[KNOWN]
    tables = changed({**tables_of(card)}, key, value)
    with pytest.raises(UndecidedError) as caught:
        complete(card, stating(tables))
    assert says in caught.value.message
    assert "--trust file" in caught.value.hint
    kept = complete(card, stating(tables), decided=Decided("manifest"))
    assert (kept.spec, kept.stated.is_trusted) == (card.spec, False)
    taken = complete(card, stating(tables), decided=Decided("file"))
    assert taken.spec != card.spec
    assert taken.stated.is_trusted
    by_file = by_itself(stating(tables)).spec
    assert (taken.spec.input, taken.spec.arguments) == (by_file.input, by_file.arguments)
    assert taken.spec.heads == card.spec.heads


def test_the_labels_of_another_number_of_classes_are_not_kept() -> None:
    card = cards()[KNOWN]
    taken = complete(card, stating(changed(tables_of(card), "VIDEO.HEAD.NUM_CLASSES", 3)), decided=Decided("file"))
    assert taken.spec.heads == {"": ("class 0", "class 1", "class 2")}


def test_what_segment_sampling_does_not_use_is_not_compared() -> None:
    card = cards()["tada2d_r50.ssv2_8f"]
    tables = tables_of(card)
    tables["DATA"] |= {"SAMPLING_RATE": 7, "TARGET_FPS": 12, "MINUS_INTERVAL": True}
    assert complete(card, stating(tables)).spec == card.spec


def test_numbers_may_be_texts() -> None:
    tables = tables_for("tada2d_r50", num_classes=3)
    as_text = changed(changed(tables, "DATA.NUM_INPUT_FRAMES", "16"), "DATA.MEAN", ["4.5e-1", ".45", " 0.45 "])
    assert by_itself(stating(as_text)).spec == by_itself(stating(tables)).spec


@pytest.mark.parametrize(
    ("name", "missing", "hint"),
    [
        ("tadaconvnextv2_small.k400_32f_in21k", "frame_stride", "tada fetch --frame-stride 2 "),
        ("tadaformer_l14.k710_64f", "sampling, frame_stride", "use a file that says it"),
    ],
)
def test_without_settings_a_file_is_refused_and_what_is_missing_named(name: str, missing: str, hint: str) -> None:
    with pytest.raises(SpecError, match=missing) as caught:
        complete(cards()[name], stating(None))
    assert hint in caught.value.hint


def test_a_rate_that_a_person_knows_completes_a_file_that_states_nothing() -> None:
    card = cards()["tadaconvnextv2_small.k400_32f"]
    decided = Decided(given={"frame_stride": 2})
    assert complete(card, stating(None), decided=decided).spec.input.frame_stride == 2
    stated = stating(changed(tables_of(card), "DATA.SAMPLING_RATE", 4))
    with pytest.raises(UsageError, match=r"frame_stride of .* is 4, and 2 is given"):
        complete(card, stated, decided=decided)
    with pytest.raises(UsageError, match="is 8, and 2 is given"):
        complete(cards()[KNOWN], stating(None), decided=decided)
    with pytest.raises(UsageError, match="samples by segments"):
        complete(cards()["tada2d_r50.ssv2_8f"], stating(None), decided=decided)


@pytest.mark.parametrize("architecture", list(NETWORKS))
def test_someone_s_own_training_becomes_a_model(architecture: str) -> None:
    tables = tables_for(architecture, num_classes=5)
    tables["VIDEO"]["HEAD"]["DROPOUT_RATE"] = 0.2
    completed = by_itself(stating(tables))
    spec = completed.spec
    assert spec.name == f"{architecture}.published"
    assert (spec.num_classes, spec.heads[""][4], spec.protocol) == (5, "class 4", EvalProtocol(1, 1))
    assert spec.arguments["dropout"] == 0.2
    published = (
        next(card for card in cards().values() if card.architecture == architecture and card.spec is not None)
        if architecture != "tadaconvnext_tiny"
        else cards()["tadaconvnext_tiny.k400"]
    )
    expected = shapes(published)
    own = {key: shape for key, shape in shapes(spec).items() if not key.startswith("head.")}
    assert own.items() <= expected.items()
    assert len(completed.notes) == 2


def test_verbs_and_nouns_have_a_head_each() -> None:
    tables = tables_for("tada2d_r50", num_classes=3)
    tables["VIDEO"]["HEAD"] |= {"NAME": "BaseHeadx2", "NUM_CLASSES": [97, 300]}
    assert by_itself(stating(tables)).spec.num_classes == {"verb": 97, "noun": 300}
    with pytest.raises(CheckpointError, match=r"VIDEO\.HEAD\.NUM_CLASSES is 97, which does not fit"):
        by_itself(stating(changed(tables, "VIDEO.HEAD.NUM_CLASSES", 97)))


def test_a_wider_network_of_one_s_own_is_built_as_it_says() -> None:
    tables = tables_for("tada2d_r50", num_classes=3)
    tables["VIDEO"]["BACKBONE"] |= {"DEPTH": 101, "NUM_FILTERS": [32, 128, 256, 512, 1024], "NUM_OUT_FEATURES": 1024}
    assert by_itself(stating(tables)).spec.arguments == {"stage_depths": [3, 4, 23, 3], "stem_width": 32}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("BN.EPS", 1e-3),
        ("VIDEO.BACKBONE.DEPTH", 18),
        ("VIDEO.BACKBONE.NUM_FILTERS", [64, 128, 256, 512, 1024]),
        ("VIDEO.BACKBONE.KERNEL_SIZE", [[1, 7, 7], [3, 3, 3], [1, 3, 3], [1, 3, 3], [1, 3, 3]]),
        ("VIDEO.BACKBONE.DOWNSAMPLING", [True, False, True, True, True]),
        ("VIDEO.BACKBONE.BRANCH.POOL_K", [1, 1, 1]),
        ("VIDEO.BACKBONE.NONLOCAL.ENABLE", True),
        ("VIDEO.BACKBONE.NUM_INPUT_CHANNELS", 4),
        ("DATA.ENSEMBLE_METHOD", "max"),
        ("MODEL.NAME", "SlowFast_8x8"),
        ("MODEL.NAME", ...),
        ("VIDEO.HEAD.NUM_CLASSES", ...),
        ("DATA.SAMPLING_MODE", "random"),
        ("DATA.TEST_CROP_SIZE", 300),
        ("DATA.MEAN", ...),
    ],
)
def test_what_no_shape_would_show_is_not_built_in_another_way(key: str, value: Any) -> None:
    with pytest.raises(TadaError) as caught:
        by_itself(stating(changed(tables_for("tada2d_r50", num_classes=3), key, value)))
    assert (key in caught.value.message) or (key == "DATA.MEAN" and "mean is not known" in caught.value.message)


@pytest.mark.parametrize(
    ("architecture", "key", "value"),
    [
        ("tadaconvnextv2_base", "VIDEO.BACKBONE.STEM.T_STRIDE", 1),
        ("tadaconvnextv2_base", "VIDEO.BACKBONE.DEPTH", [3, 3, 9]),
        ("tadaconvnext_tiny", "VIDEO.BACKBONE.BRANCH.ROUTE_FUNC_TYPE", "transformer"),
        ("tadaformer_b16", "VIDEO.BACKBONE.TUBLET_STRIDE", 1),
        ("tadaformer_b16", "VIDEO.BACKBONE.NUM_HEADS", 6),
        ("tadaformer_b16", "VIDEO.BACKBONE.INPUT_RES", 320),
        ("tadaformer_b16", "VIDEO.BACKBONE.DEPTH", [3, 3, 9, 3]),
    ],
)
def test_settings_of_other_families_are_held_to_what_is_built(architecture: str, key: str, value: Any) -> None:
    with pytest.raises(CheckpointError, match=key.replace(".", r"\.")):
        by_itself(stating(changed(tables_for(architecture, num_classes=3), key, value)))


def test_the_network_of_proposals_is_checked_too() -> None:
    card = cards()["bmn.ek100_vivit"]
    tables = {"MODEL": {"NAME": "BaseVideoModel"}, "DATA": {"NUM_INPUT_CHANNELS": 6912, "TEMPORAL_SCALE": 200}}
    tables["DATA"]["DURATION_SCALE"] = 100
    assert complete(card, stating(tables)).spec == card.spec
    with pytest.raises(UndecidedError, match="max_duration_bins 50 in the file, 100 in the manifest"):
        complete(card, stating(changed(tables, "DATA.DURATION_SCALE", 50)))


def test_nothing_but_the_closed_set_is_kept() -> None:
    stated = stating(tables_of(cards()[KNOWN])).stated
    assert "secret" not in json.dumps(stated.to_dict())
    assert "/home" not in json.dumps(stated.to_dict())
    assert not [key for key in stated.values if key.startswith(("OSS", "TEST.", "TASK"))]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: 1", "is not JSON"),
        ("[1, 2]", "no table of settings"),
        ('{"DATA": 3}', "DATA is 3, not a table"),
        ("{" * 100_000, "is not JSON"),
        ('{"DATA": {}, "DATA": {}}', "stands there twice"),
        ("9" * 5000, "is not JSON"),
        (json.dumps({"pad": "x" * 10_000_000}), "has more than 1,048,576 characters"),
        ('{"DATA": {"STD": [NaN, 1, 1]}}', "DATA.STD is [nan, 1, 1]"),
        ('{"DATA": {"MINUS_INTERVAL": "False"}}', "DATA.MINUS_INTERVAL is 'False', and should be true or false"),
        ('{"MODEL": {"NAME": "\\u001b[31m' + "x" * 500 + '"}}', "MODEL.NAME is '\\x1b[31mxxx"),
    ],
    ids="yaml list no-table deep twice long-number 10-MB nan text-for-flag control".split(),
)
def test_a_text_that_is_no_settings_is_one_error(text: str, says: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        stating(text)
    assert says in caught.value.message
    assert len(caught.value.message) < 400
    assert caught.value.message.isprintable()
