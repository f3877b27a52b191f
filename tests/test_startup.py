"""How the command line starts: what it does not load, and weights that go into a network without memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tadacli.models import BUILDERS, build
from tadacli.zoo.checkpoints import Checkpoint, load_weights
from tests import media

ARCHITECTURE = "r2plus1d_tiny"
# Each of these takes as long to import as all of our own modules, or longer.
NOT_FOR_SCORING = ["sympy", "pandas", "scipy", "torchvision", "matplotlib", "torch._dynamo", "torch._inductor", "rich"]
HEAVY = {"torch", "torchvision", "av", "pandas", "safetensors"}
NOT_FOR_HELP = {*HEAVY, "numpy", "rich", "tadacli.results"}


def modules_after(*commands: list[str], at_first: str = "", code: int = 0) -> set[str]:
    """What is loaded after a process has run these commands of `tada`, but for what `at_first` has loaded.

    Each of the commands ends with this exit code.
    """
    program = (
        f"import sys\n{at_first}\n"
        "at_first = set(sys.modules)\n"
        "from tadacli.cli.app import run\n"
        f"for arguments in {commands!r}:\n"
        "    sys.argv = ['tada', *arguments]\n"
        f"    assert run() == {code}, arguments\n"
        "print(*sorted(set(sys.modules) - at_first), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stderr.splitlines()[-1].split())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for a video and what is made of it."""
    return tmp_path_factory.mktemp("video")


@pytest.fixture(scope="module")
def loaded_for_scoring(folder: Path) -> set[str]:
    """What `tada classify` and `tada detect` load besides torch and what torch itself loads."""
    video, scores, rows = (str(folder / name) for name in ("video.mp4", "scores.npz", "rows.jsonl"))
    media.render(folder / "video.mp4", 75)
    detect = ["detect", video, "-q", "--save-scores", scores, "-o", rows]
    return modules_after(["classify", video, "-q"], detect, at_first="import torch")


@pytest.mark.parametrize("library", NOT_FOR_SCORING)
def test_the_first_result_does_not_wait_for(library: str, loaded_for_scoring: set[str]) -> None:
    assert {"av", "safetensors", "tadacli.detection"} <= loaded_for_scoring  # it did score
    assert library not in loaded_for_scoring


def test_no_help_waits_for_a_heavy_library() -> None:
    commands = "bench classify clip detect features convert suggest eval finetune fetch models doctor".split()
    loaded = modules_after(["--help"], *([command, "--help"] for command in commands))
    assert "tadacli.cli.finetune" in loaded
    assert not loaded & NOT_FOR_HELP


@pytest.mark.usefixtures("loaded_for_scoring")
def test_what_runs_no_model_does_not_wait_for_pytorch(folder: Path) -> None:
    scores, rows = str(folder / "scores.npz"), str(folder / "rows.jsonl")
    again = ["detect", "--from-scores", scores, "--threshold", "0.2"]
    loaded = modules_after(["models"], again, ["convert", rows, "--to", "srt"], ["convert", rows, "--to", "csv"])
    assert "tadacli.detection.segments" in loaded
    assert not loaded & HEAVY


def test_a_mistake_is_answered_before_pytorch_is_loaded() -> None:
    train = ["finetune", "--data", "nofolder", "--dry-run"]
    wrong = (["detect"], train, ["detect", "--windo", "2s"], ["detect", "a.mp4", "--window", "2x"])
    loaded = modules_after(*wrong, ["detect", "--from-scores", "none.npz"], code=2)
    assert "tadacli.cli.finetune" in loaded
    assert not loaded & HEAVY


def checkpoint() -> Checkpoint:
    """Weights of a small network; one tensor in another layout, one in another dtype."""
    torch.manual_seed(0)
    state = build(ARCHITECTURE, num_classes=9).state_dict()
    layout = next(name for name, tensor in state.items() if tensor.dim() == 5 and tensor.shape[1] > 1)
    state[layout] = state[layout].to(memory_format=torch.channels_last_3d)
    other = next(name for name in state if name.endswith("running_mean"))
    state[other] = state[other].double()
    assert not state[layout].is_contiguous()
    return Checkpoint(Path("weights.safetensors"), state, None, "")


def test_a_network_without_memory_gets_the_same_weights_as_one_with_it() -> None:
    weights = checkpoint()
    usual = build(ARCHITECTURE, num_classes=9)
    with torch.device("meta"):
        empty = build(ARCHITECTURE, num_classes=9)
    load_weights(usual, weights)
    load_weights(empty, weights)
    expected = dict(usual.state_dict(keep_vars=True))
    for name, tensor in empty.state_dict(keep_vars=True).items():
        other = expected.pop(name)
        assert torch.equal(tensor, other), name
        assert type(tensor) is type(other), name
        assert (tensor.dtype, tensor.device, tensor.stride(), tensor.requires_grad) == (
            other.dtype,
            other.device,
            other.stride(),
            other.requires_grad,
        ), name
    assert not expected
    clip = torch.rand(2, 3, 8, 32, 32)
    assert torch.equal(usual.eval()(clip), empty.eval()(clip))


def test_weights_in_a_network_are_its_own() -> None:
    """A file may be mapped into memory: what happens to it later must not reach the network."""
    weights = checkpoint()
    with torch.device("meta"):
        network = build(ARCHITECTURE, num_classes=9)
    load_weights(network, weights)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    for tensor in weights.state_dict.values():
        tensor.fill_(7)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize("architecture", BUILDERS)
def test_a_weights_file_holds_all_that_a_network_has(architecture: str) -> None:
    """Whatever is not in the file would stay without values after `load_weights`."""
    with torch.device("meta"):
        network = build(architecture, num_classes=3)
    tensors = {name for name, _ in (*network.named_parameters(), *network.named_buffers())}
    assert tensors <= set(network.state_dict())
