"""Options that several commands share, so that they read alike everywhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

from tadacli.cli.console import say, say_note
from tadacli.cli.help import CLIPS, INPUT, MODEL, OUTPUT, SPEED
from tadacli.cli.weights import model_here
from tadacli.datasets import AnnotationFormat
from tadacli.errors import UsageError
from tadacli.formats.registry import ClassifyFormat, TimesName
from tadacli.sampling import WindowSampling
from tadacli.zoo import DEFAULT_MODEL, DEVICE_NAMES, DtypeName, Trust

if TYPE_CHECKING:
    from tadacli.specs import ScoreLimit
    from tadacli.zoo.loading import Model


def file_or_stdout(output: Path | None) -> Path | None:
    """The file that an option names, None for stdout, which `-` means as well."""
    return None if output == Path("-") else output


INPUT_HELP = "Videos, folders, globs, URLs, folders or tars of frames (JPEG, PNG), @LIST, or - (list on stdin)."

Inputs = Annotated[list[str], INPUT.argument(help=INPUT_HELP, metavar="INPUT", show_default=False)]
ModelName = Annotated[
    str | None,
    MODEL.option(
        help="Model name, a run's folder, or a weights file that says what it is. Default: the built-in one.",
        envvar="TADA_MODEL",
        metavar="MODEL",
    ),
]
Weights = Annotated[
    str | None,
    MODEL.option(
        help="Weights for the model, or without --model as it: .pyth, .pt, .safetensors, a hub's folder.",
        metavar="FILE",
    ),
]
TrustedSettings = Annotated[
    Trust | None,
    MODEL.option("--trust", help="Whose settings count where --weights states others than are known."),
]
Fetch = Annotated[
    bool,
    MODEL.option("--fetch", help="Fetch the model's weights if they are missing, without asking.", envvar="TADA_FETCH"),
]
LabelsFile = Annotated[
    Path | None, MODEL.option("--labels", help="Names for classes that have none, one a line.", metavar="FILE")
]
Device = Annotated[str, SPEED.option(help=f"{DEVICE_NAMES}.", metavar="DEVICE")]
Dtype = Annotated[
    str, SPEED.option(help=f"{', '.join(get_args(DtypeName))}, or auto: the faster here.", metavar="DTYPE")
]
Annotations = Annotated[Path | None, INPUT.option(help="Its annotations, as published.", metavar="FILE_OR_FOLDER")]
LabelsRoot = Annotated[
    Path | None,
    INPUT.option("--data-root", help="Of labels: the folder with the videos. Default: theirs.", metavar="FOLDER"),
]
LabelsTier = Annotated[
    list[str] | None,
    INPUT.option("--tier", help="Of labels: the tier that counts; may be repeated.", metavar="NAME"),
]
LabelsFps = Annotated[
    float | None,
    INPUT.option("--fps", help="Where frames are counted: at this rate. Default: each video's own.", metavar="RATE"),
]
LabelsFormat = Annotated[
    AnnotationFormat | None,
    INPUT.option(
        "--from-format", help="Of labels: how they are written. Default: as their content says.", show_default=False
    ),
]
Start = Annotated[str | None, INPUT.option(help="Look only from this time on.", metavar="00:10:00")]
End = Annotated[str | None, INPUT.option(help="Look only up to this time.", metavar="00:20:00")]
SAMPLING_HELP = "stretch: frames over the whole span; native: clips at the model's own rate."
Sampling = Annotated[
    WindowSampling | None,
    CLIPS.option(help=SAMPLING_HELP),
]
FORMAT_HELP = (
    "Several: csv,jsonl, and -o FOLDER. Default: by the name of --output, else table on a terminal, jsonl in a pipe."
)
Format = Annotated[
    str | None,
    OUTPUT.option("--format", help=f"{', '.join(get_args(ClassifyFormat))}. {FORMAT_HELP}", metavar="FORMAT"),
]
Columns = Annotated[
    str | None,
    OUTPUT.option(
        help="More columns of csv, tsv and parquet, such as notes,settings; all: every one.", metavar="NAMES|all"
    ),
]
Times = Annotated[
    TimesName, OUTPUT.option(help="seconds, timecode (SMPTE) or frames: in tables, beside seconds in files.")
]
Fps = Annotated[float | None, INPUT.option(help="Frames a second of folders and tars of frames.", metavar="RATE")]
Index = Annotated[
    Path | None,
    SPEED.option(
        "--index", help="Keep frame tables of videos in this folder: they open at once next time.", metavar="FOLDER"
    ),
]
FillBatches = Annotated[
    bool, SPEED.option("--fill-batches", help="Share batches among videos: for a GPU, where each has few views.")
]
Output = Annotated[
    Path | None,
    OUTPUT.option(
        "--output",
        "-o",
        help="Write the results here, - is stdout; never overwrites.",
        metavar="FILE",
        callback=file_or_stdout,
    ),
]
Resume = Annotated[bool, OUTPUT.option("--resume", help="Continue an unfinished --output.")]
Recursive = Annotated[bool, INPUT.option("--recursive", "-r", help="Look below folders too.")]
MaxDownload = Annotated[
    str, INPUT.option(help="The largest file fetched for a URL; it may take what it takes at 1 MB/s.", metavar="4GB")
]
Cache = Annotated[
    Path | None,
    INPUT.option("--cache", help="Keep copies of videos from elsewhere in this folder.", metavar="FOLDER"),
]
CacheSize = Annotated[
    str | None,
    INPUT.option(help="How much of them; what was not used for longest goes. Default: 50GB.", metavar="SIZE"),
]
Quiet = Annotated[bool, OUTPUT.option("--quiet", "-q", help="Nothing but errors on stderr.")]
Profile = Annotated[bool, SPEED.option("--profile", help="Say at the end where the wall time went.")]


def named_videos(inputs: list[str], *, recursive: bool, parts: bool = False) -> list[str]:
    """The videos that the inputs name; says in one line what of their folders is none."""
    from tadacli.video.inputs import PassedOver, expand_inputs

    passed_over = PassedOver()
    videos = expand_inputs(inputs, recursive=recursive, stdin=sys.stdin, passed_over=passed_over, parts=parts)
    if text := str(passed_over):
        say_note(text)
    return videos


def coming_videos(inputs: list[str], *, recursive: bool, parts: bool = False) -> Iterator[str]:
    """The same as they are asked for, the first one now: a long list is never in memory as a whole."""
    from itertools import chain

    from tadacli.video.inputs import PassedOver, iter_inputs

    passed_over = PassedOver()
    found = iter_inputs(inputs, recursive=recursive, stdin=sys.stdin, passed_over=passed_over, parts=parts)
    first = next(found)

    def rest() -> Iterator[str]:
        yield from found
        if text := str(passed_over):
            say_note(text)

    return chain([first], rest())


def index_folder(folder: Path | None) -> str | None:
    """The whole path of the folder of --index, made if it is not there; says where nothing can be kept in it."""
    if folder is None:
        return None
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        what = "is no folder" if folder.exists() else f"cannot be made: {error.strerror}"
        raise UsageError(f"--index {folder} {what}", hint="give a folder, or a name in one") from error
    if not os.access(folder, os.W_OK):
        say_note(f"{folder} may only be read: videos that it does not have are looked through each time")
    return str(folder.absolute())


def num_bytes(option: str, text: str) -> int:
    """The bytes of a size such as 500MB, 4GB or 2GiB. Raises `UsageError` for anything else."""
    from tadacli.video.copies import num_bytes

    return num_bytes(option, text)


def keep_copies(folder: Path | None, size: str | None) -> None:
    """Keep copies of videos from elsewhere in a folder, in this process and those that it starts.

    Raises:
        UsageError: The size is none, or there is no folder.
    """
    from tadacli.video import copies

    if folder is not None:
        os.environ[copies.FOLDER] = os.path.abspath(folder)
    if size is not None:
        num_bytes("--cache-size", size)
        if not os.environ.get(copies.FOLDER):
            raise UsageError("--cache-size is that of a folder", hint=f"name it: --cache FOLDER, or {copies.FOLDER}")
        os.environ[copies.SIZE] = size


def score_limit(option: str, text: str) -> ScoreLimit:
    """The number, or "auto". Raises `UsageError` for anything else; whether it is in range is asked elsewhere."""
    if text == "auto":
        return "auto"
    try:
        return float(text)
    except ValueError:
        raise UsageError(
            f"{option} {text} is no score", hint=f"give a number from 0 to 1, or {option} auto for the model's own"
        ) from None


def seconds(text: str | None) -> float | None:
    """The time in seconds of an option such as --start, None for one that was not given."""
    from tadacli.sampling.settings import parse_time

    return None if text is None else parse_time(text)


def length_seconds(option: str, text: str | None) -> float:
    """The length of an option such as --smooth, 0 for one that was not given. Raises `UsageError` for frames."""
    from tadacli.sampling.settings import parse_length

    if text is None or text.strip() in ("0", "0s"):
        return 0.0
    length = parse_length(text)
    if length.unit != "seconds":
        raise UsageError(f"{option} {text} is a number of frames", hint=f"give seconds: {option} 0.5s")
    return length.value


def model_and_weights(model: str | None, weights: str | None) -> tuple[str, str | None]:
    """The model that is meant, and the weights for it: without a model, weights that say what they are, or built in."""
    if model is not None:
        return model, weights
    return (DEFAULT_MODEL if weights is None else weights), None


def label_names(file: Path | None) -> tuple[str, ...]:
    """The names in the file of --labels; none without one."""
    if file is None:
        return ()
    from tadacli.datasets.own_data import label_file

    return label_file(file)


def repeatable_model(
    name: str,
    *,
    weights: str | None,
    device: str,
    dtype: str,
    fetch: bool = False,
    trust: Trust | None = None,
    labels: Path | None = None,
) -> Model:
    """The model, in a process that is repeatable from now on; says what is to be known about it.

    Weights that are missing are fetched with `fetch`, or if the person says so, see `model_here`.
    """
    names = label_names(labels)
    name = model_here(name, weights=weights, fetch=fetch, labels=names)
    from tadacli.scoring.provenance import make_repeatable
    from tadacli.zoo.loading import load_model

    make_repeatable()
    model = load_model(name, weights=weights, trust=trust, labels=names, device=device, dtype=dtype)
    for note in model.notes:
        say(note)
    return model
