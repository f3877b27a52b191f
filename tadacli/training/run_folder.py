"""The folder that a fine-tuning run leaves behind: what lies in it, and when it may be written to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from tadacli.datasets.samples import Dataset
from tadacli.datasets.tables import named
from tadacli.errors import CheckpointError, OutputError
from tadacli.files import csv_line, is_unfinished, write_new
from tadacli.formats.records import encode_json, encode_text
from tadacli.specs import AnySpec
from tadacli.strict_tables import decode_table, in_one_line, parse_json, refusing
from tadacli.training import DEFAULT_RECIPE
from tadacli.training.recipes import RecipeChoice
from tadacli.training.run_log import LOG_NAME
from tadacli.version import __version__
from tadacli.zoo.loading import MODEL_FILE


class RunFolder:
    """Paths of the files of a run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.model = path / MODEL_FILE  # the best so far, with its spec; other commands take it by the folder's name
        self.last = path / "last.safetensors"  # the one after the last step
        self.checkpoint = path / "checkpoint.pt"  # everything that is needed to go on
        self.recipe = path / "recipe.toml"  # as a file that `--recipe` takes
        self.facts = path / "run.json"  # what was started from, and with which command
        self.splits = path / "splits.csv"  # which item is in which split
        self.log = path / LOG_NAME  # loss and accuracy by step
        self.curves = path / "curves.png"  # the log as a picture
        self.card = path / "README.md"  # the model card
        self.report = path / "eval.json"  # the evaluation of the best model on the held-out items, as data
        self.page = path / "eval.html"  # the same as a page to look at


def check_run_folder(path: Path, *, resume: bool) -> None:
    """Raises `OutputError` for a folder that holds something else, or a run that was not to be continued."""
    folder = RunFolder(path)
    if path.exists() and not path.is_dir():
        raise OutputError(f"{path} is a file", hint="give the name of a new folder with --output")
    there = sorted(entry.name for entry in path.iterdir()) if path.is_dir() else []
    # Nothing but this is left of a run that was killed while it wrote its first file.
    there = [name for name in there if not is_unfinished(name)]
    if there and not resume:
        is_run = folder.facts.name in there
        how = "--resume continues this run" if is_run else "give the name of a new folder"
        raise OutputError(f"{path} is not empty and is not overwritten ({there[0]})", hint=how)
    if there and folder.facts.name not in there:
        raise OutputError(f"{path} is not the folder of a run: it has no {folder.facts.name}", hint="check --output")


def open_run(path: Path, *, resume: bool) -> RunFolder:
    """The folder of a run, made if it is not there. Raises as `check_run_folder` does."""
    check_run_folder(path, resume=resume)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path} cannot be made: {error.strerror or error}", hint="give another name") from error
    return RunFolder(path)


def write_facts(
    folder: RunFolder,
    *,
    command: Sequence[str],
    spec: AnySpec,
    chosen: RecipeChoice | None = None,
    negatives: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Writes what the run is: the first file of the folder, by which it is known as a run's.

    Args:
        folder: Of the run.
        command: The words that began it.
        spec: What is trained, or makes the features to train on.
        chosen: The recipe, if nobody named one.
        negatives: By split the names of the videos that hold none of the classes, if there are such.
    """
    facts = {"tada": __version__, "command": list(command), "model": spec.to_dict()}
    if chosen is not None:
        facts["recipe"] = asdict(chosen)
    if negatives:
        facts["negatives"] = {split: list(names) for split, names in negatives.items()}
    write_new(folder.facts, encode_json(facts, indent=2) + b"\n", replace=True)


def read_command(folder: RunFolder) -> list[str]:
    """The words of the command that the run began with."""
    facts = json.loads(folder.facts.read_text(encoding="utf-8", errors="surrogateescape"))
    return list(map(str, facts["command"]))


def read_choice(folder: RunFolder) -> RecipeChoice | None:
    """The recipe that the run began with if nobody named one; None for a folder without a run.

    Raises:
        CheckpointError: The file of the run's facts is damaged.
    """
    if not folder.facts.is_file():
        return None
    with refusing(folder.facts, CheckpointError):
        facts = parse_json(folder.facts.read_bytes())
    if not isinstance(facts, dict) or "recipe" not in facts:
        return RecipeChoice(DEFAULT_RECIPE, "the default when the run began")
    return decode_table(RecipeChoice, facts["recipe"], where=str(folder.facts), error=CheckpointError)


def require_negatives(folder: RunFolder, negatives: Mapping[str, Sequence[str]]) -> None:
    """Checks that a run goes on with the negatives that it began with, before anything is made of others.

    Args:
        folder: Of the run; nothing is known of one that has not begun.
        negatives: As for `write_facts`.

    Raises:
        CheckpointError: They are others, or on other sides; or the file of the run's facts is damaged.
    """
    if not folder.facts.is_file():
        return
    with refusing(folder.facts, CheckpointError):
        facts = parse_json(folder.facts.read_text(encoding="utf-8", errors="surrogateescape"))
        table = facts.get("negatives", {})
    there = decode_table(dict[str, list[str]], table, where=f"{folder.facts}: negatives", error=CheckpointError)
    was, now = ({name: split for split, names in each.items() for name in names} for each in (there, negatives))
    if changed := [name for name in {**was, **now} if was.get(name) != now.get(name)]:
        raise CheckpointError(
            f"{folder.path} was begun with other negatives: {len(changed)} of {len({**was, **now})} are not the same, "
            f"or not on the same side: {named([in_one_line(name) for name in changed])}",
            hint="resume with the folder of negatives that it was begun with, or give another --output",
        )


def write_splits(folder: RunFolder, splits: Mapping[str, Dataset]) -> None:
    """Writes which item is in which split, one line for each, with its classes, and its rate if any has one.

    Of multi-label data there is one line for each label that the annotations give to the item, as in a table of data.
    """
    heads = list(next(iter(splits.values())).heads)
    has_rates = any(sample.fps is not None for dataset in splits.values() for sample in dataset.samples)
    columns = ["split", "id", "path", "start_seconds", "end_seconds", *(["fps"] if has_rates else [])]
    lines = [csv_line([*columns, *(head or "label" for head in heads)])]
    for split, dataset in splits.items():
        for sample in dataset.samples:
            numbers = (sample.start_seconds, sample.end_seconds, *([sample.fps] if has_rates else []))
            span = ["" if each is None else repr(each) for each in numbers]
            each_of = [dataset.names_of(sample)]
            if dataset.multi_label:
                each_of = [{"": dataset.heads[""][index]} for index in sample.own_classes]
            for names in each_of:
                labels = [names.get(head, "") for head in heads]
                lines.append(csv_line([split, sample.id, sample.path or "", *span, *labels]))
    write_new(folder.splits, encode_text("".join(lines)), replace=True)
