"""`tada models`, as a person runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tadacli.models import BUILDERS, OVER_FEATURES, build
from tadacli.specs import label_list
from tadacli.zoo.manifest import cards
from tadacli.zoo.store import hash_file, put
from tests.cli.conftest import Tada
from tests.zoo.configurations import hub_tables

NAME = "tada2d_r50.k400_8x8"
SIZES = {"dims": [8, 16, 32, 64], "depths": [1, 1, 1, 1]}


@pytest.fixture(autouse=True)
def _own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TADA_HOME", str(tmp_path / "home"))


def keep(tmp_path: Path, name: str, content: bytes = b"weights") -> None:
    (tmp_path / "made").write_bytes(content)
    put(tmp_path / "made", name=name, original=hash_file(tmp_path / "made"), source="https://example.org/a.pyth")


def listed(out: bytes) -> dict[str, dict]:
    return {each["name"]: each for each in json.loads(out)}


def test_every_model_has_a_line_that_starts_with_its_name(tada: Tada) -> None:
    code, out, err = tada("models")
    head, *lines = out.decode().partition("\n\n")[0].splitlines()
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in lines] == list(cards())
    line = next(line for line in lines if line.startswith(NAME))
    assert line.split("  ")[0] == NAME
    assert "8 x 8" in line
    assert [cell for cell in line.split("  ") if cell][-1].strip() == "not installed"
    for column, cell in (("GMACs", "43.13"), ("parameters", "27.49 M"), ("top-1", "76.7"), ("size", "~110 MB")):
        end = head.index(column) + len(column)
        assert line[:end].endswith(cell), column


def test_json_has_the_facts_of_the_manifest_as_numbers(tada: Tada) -> None:
    _, out, _ = tada("models", "--json")
    found = listed(out)
    assert list(found) == list(cards())
    for name, card in cards().items():
        assert (found[name]["num_parameters"], found[name]["gmacs"]) == (card.num_parameters, card.gmacs)
        assert found[name]["published"] == card.published
    assert (found[NAME]["size_bytes"], found[NAME]["size_is_exact"]) == (4 * 27_485_472, False)


def test_the_state_says_what_can_be_used(tada: Tada, tmp_path: Path) -> None:
    keep(tmp_path, NAME)
    _, out, _ = tada("models", "--json")
    found = listed(out)
    assert found["r2plus1d_tiny.camera_motion"]["state"] == "built in"
    assert (found[NAME]["state"], found[NAME]["size_bytes"], found[NAME]["size_is_exact"]) == ("installed", 7, True)
    assert found["tada2d_r50.ssv2_8f"]["state"] == "not installed"
    assert {name for name, each in found.items() if each["installed"]} == {NAME, "r2plus1d_tiny.camera_motion"}
    assert not [name for name, each in found.items() if each["state"] == "not built yet"]


def test_settings_that_only_the_file_has_show(tada: Tada) -> None:
    _, out, _ = tada("models", "--json")
    found = listed(out)
    told = {name for name, each in found.items() if each["state"] == "settings come with the file"}
    assert told == {name for name, card in cards().items() if card.spec is None}
    assert {"tadaconvnext_tiny.k400", "tadaconvnextv2_tiny.k400_32f", "tadaformer_b16.k710_16f"} <= told
    assert found["tadaconvnextv2_tiny.k400_16f"]["state"] == "not installed"
    assert all(each["state"] != "incomplete" for each in found.values())


def test_settings_that_came_with_the_file_are_shown(tada: Tada, tmp_path: Path) -> None:
    name = "tadaconvnext_tiny.k400"
    (tmp_path / "configuration.json").write_text(json.dumps(hub_tables()))
    torch.save(
        {"model_state": build("tadaconvnext_tiny", num_classes=3, stem_t_kernel=2, **SIZES).state_dict()},
        tmp_path / "pytorch_model.pt",
    )
    code, _, err = tada("fetch", "--from", tmp_path, name)
    assert code == 0, err
    assert listed(tada("models", "--json")[1])[name]["state"] == "installed"
    text = tada("models", name)[1].decode()
    for shown in ("sampling interval_hub", "4x3 (clips x crops)", "3: action 0, action 1, action 2", "stem_t_kernel 2"):
        assert shown in text
    assert "with the file" not in text
    assert tada("models", name, "--labels")[1].decode() == "action 0\naction 1\naction 2\n"


def test_a_page_says_all_about_one_model(tada: Tada) -> None:
    code, out, _ = tada("models", NAME)
    text = out.decode()
    labels = label_list("kinetics400")
    assert code == 0
    assert f"400: {', '.join(labels[:5])}, ..." in text
    assert "top-1 76.7 %, top-5 92.6 % (published by its authors, not measured here)" in text
    assert f"https://drive.google.com/file/d/{cards()[NAME].source.google_drive}/view" in text
    assert all(part in text for part in ("27,485,472", "10x3", "frame_stride 8", "Apache-2.0", f"tada fetch {NAME}"))


def test_a_page_says_where_the_weights_are_and_what_they_were(tada: Tada, tmp_path: Path) -> None:
    keep(tmp_path, NAME)
    text = tada("models", NAME)[1].decode()
    assert str(tmp_path / "home" / "models" / f"{NAME}.safetensors") in text
    assert "https://example.org/a.pyth, 7 bytes, SHA-256 " in text
    assert f"tada classify VIDEO --model {NAME}" in text
    assert "tada fetch" not in text


def test_a_page_says_what_comes_with_the_file(tada: Tada) -> None:
    text = tada("models", "tadaconvnextv2_tiny.k400_32f")[1].decode()
    assert "with the file input.frame_stride: no configuration was published for 32 frames" in text
    assert "state         settings come with the file" in text
    assert "tada fetch tadaconvnextv2_tiny.k400_32f" in text


def test_what_takes_features_is_said_to_take_no_video(tada: Tada, tmp_path: Path) -> None:
    (line,) = [line for line in tada("models")[1].decode().splitlines() if line.startswith("bmn.ek100_tada2d")]
    assert [cell.strip() for cell in line.split("  ") if cell] == [
        *("bmn.ek100_tada2d", "EPIC-KITCHENS-100", "features", "6.08 M", "-", "-", "-", "-", "not installed")
    ]
    text = tada("models", "bmn.ek100_tada2d")[1].decode()
    assert "num_channels 6144" in text
    assert "it works on the authors' feature folders only" in text
    assert "tada fetch bmn.ek100_tada2d" in text
    keep(tmp_path, "bmn.ek100_tada2d")
    assert "tada detect --features FOLDER --model bmn.ek100_tada2d" in tada("models", "bmn.ek100_tada2d")[1].decode()


@pytest.mark.parametrize("name", list(cards()))
def test_every_page_has_the_whole_card(tada: Tada, name: str) -> None:
    code, out, _ = tada("models", name, "--json")
    whole, card = json.loads(out), cards()[name]
    assert code == 0
    assert (whole["source"], whole["unknown"], whole["note"]) == (card.source.to_dict(), card.unknown, card.note)
    assert {head: tuple(labels) for head, labels in whole["heads"].items()} == card.heads
    assert whole["obstacles"] == card.obstacles({*BUILDERS, *OVER_FEATURES})
    text = tada("models", name)[1].decode()
    assert all(reason in text for reason in card.unknown.values())
    assert card.note in text


def test_networks_without_published_weights_are_named(tada: Tada) -> None:
    text = tada("models")[1].decode()
    published = {card.architecture for card in cards().values()}
    (line,) = [line for line in text.splitlines() if line.startswith("networks without published weights: ")]
    assert set(line.partition(": ")[2].split(", ")) == set(BUILDERS) - published
    code, _, err = tada("models", "slowfast_r50")
    assert (code, "--model slowfast_r50 --init imagenet" in err) == (1, True)
    code, _, err = tada("classify", "any.mp4", "--model", "slowfast_r50")
    assert (code, "--model slowfast_r50 --init imagenet" in err) == (1, True)


def test_an_unknown_name_is_an_error(tada: Tada) -> None:
    code, out, err = tada("models", "nothing")
    assert (code, out) == (1, b"")
    assert err == "error: unknown model 'nothing'\nhint: tada models lists the known ones\n"


# --- labels, and what was made here -------------------------------------------------------------------------


def test_labels_come_one_a_line_in_their_order(tada: Tada, untrained: Path) -> None:
    code, out, err = tada("models", NAME, "--labels")
    assert (code, err) == (0, "")
    assert tuple(out.decode().splitlines()) == label_list("kinetics400")
    assert json.loads(tada("models", NAME, "--labels", "--json")[1]) == {"": list(label_list("kinetics400"))}
    assert tada("models", untrained, "--labels")[1].decode().splitlines()[:2] == ["static", "pan left"]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--labels"], 2, "--labels shows those of one model"),
        (["nothing", "--labels"], 1, "unknown model 'nothing'"),
        (["bmn.ek100_vivit", "--labels"], 1, "bmn.ek100_vivit has no labels of its own"),
        (["tada2d_r50.ssv2"], 1, "is the beginning of 2 models: tada2d_r50.ssv2_8f, tada2d_r50.ssv2_16f"),
    ],
)
def test_labels_that_nobody_knows(tada: Tada, arguments: list[str], code: int, says: str) -> None:
    found, out, err = tada("models", *arguments)
    assert (found, out) == (code, b"")
    assert says in err
    assert "hint: " in err


RUNS = Path(__file__).parents[1] / "earlier_files"


def test_the_page_of_a_run_says_what_it_is_and_how_good(tada: Tada) -> None:
    code, out, err = tada("models", RUNS / "whole_run")
    text = out.decode()
    assert (code, err) == (0, "")
    assert "labels        2: left, up\n" in text
    assert "accuracy      top-1 50.0 %, mean of the classes 50.0 %, on 2 of 2 validation videos\n" in text
    assert "state         finished\n" in text
    assert "made by       tada 0.1.0: tada finetune --data clips --model model.safetensors" in text
    assert text.endswith(f"Use it: tada classify VIDEO --model {RUNS / 'whole_run'}\n")
    found = json.loads(tada("models", RUNS / "whole_run", "--json")[1])
    assert found["sha256"] == hash_file(RUNS / "whole_run" / "model.safetensors").sha256
    assert found["spec"]["heads"] == {"": ["left", "up"]}
    assert (found["report"]["metrics"]["top1"], found["report"]["num_items"]) == (50.0, 2)
    assert "state         not finished" in tada("models", RUNS / "stopped_run")[1].decode()
    assert "state" not in tada("models", RUNS / "model.safetensors")[1].decode()


def test_a_run_that_is_damaged_or_has_no_model_is_an_error(tada: Tada, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "run.json").write_text("{}")
    code, _, err = tada("models", folder)
    assert (code, "has no model.safetensors" in err, "--resume goes on" in err) == (1, True, True)
    (folder / "model.safetensors").write_bytes((RUNS / "model.safetensors").read_bytes())
    for content, says in (("[]", "it is no table"), ('{"tada": 1}', "run.json"), ("{", "run.json")):
        (folder / "run.json").write_text(content)
        code, out, err = tada("models", folder)
        assert (code, out) == (1, b"")
        assert says in err
    other = tmp_path / "other.safetensors"
    other.write_bytes(b"other")
    assert "is no weights file of ours" in tada("models", other)[2]
