"""What a person has - folders, a table, annotations of long videos - as samples to train on and to validate with."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tadacli.datasets import FinetuneDatasetName
from tadacli.datasets.check import Finding, FindingDetail, FindingKind, check_dataset
from tadacli.datasets.own_data import Source, WantedSplits, known_dataset, label_file, own_data
from tadacli.datasets.own_path import require_data
from tadacli.datasets.rates import with_rates
from tadacli.datasets.samples import Dataset, Sample, UnusedKind
from tadacli.datasets.splitting import grouping, split_samples
from tadacli.datasets.tables import AnyPath, named
from tadacli.errors import UsageError
from tadacli.results import counted, out_of
from tadacli.specs import InputSpec
from tadacli.strict_tables import in_one_line

# In these the video that a sample is cut from is known; elsewhere each file counts as a video.
_WITH_VIDEO_IDS = ("segments", "kinetics", "ssv2", "ek100")
_BAD = (FindingKind.MISSING, FindingKind.UNREADABLE, FindingKind.DAMAGED)
_LONGEST_REASON = 500
# A name that ends in the number of a clip, after something that has a number of its own: v_Punch_g03_c01.
_NUMBERED_CLIP = re.compile(r"(.*\d.*)[_-](?:c|clip|cut|part|seg|segment|scene|shot)[_-]?\d+", re.IGNORECASE)


@dataclass(frozen=True)
class FinetuneData:
    """Samples to train on and to validate with, and how they were split.

    `heads` are the class names of both in index order. Of a `published` data set some classes may have no
    sample, and other times of a video may be in the other split. `background` is the class of windows that show none of
    the others, if there is one. `left_out` names samples or videos that cannot be used, and why.
    """

    name: str
    heads: Mapping[str, tuple[str, ...]]
    train: Dataset
    validation: Dataset
    how_split: str
    remarks: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    published: bool = False
    background: str = ""

    @property
    def multi_label(self) -> bool:
        """Whether samples may show several classes at a time."""
        return self.train.multi_label

    @property
    def counts(self) -> dict[str, dict[str, dict[str, int]]]:
        """Number of samples by split ("train", "validation"), head and class; every class is there."""
        return {
            split: {
                head: {label: found[index] for index, label in enumerate(labels)}
                for head, labels in self.heads.items()
                for found in [Counter(each for sample in dataset.samples for each in dataset.classes_of(sample, head))]
            }
            for split, dataset in (("train", self.train), ("validation", self.validation))
        }

    @property
    def notes(self) -> tuple[str, ...]:
        """What to know before training: rows that are not used, classes that cannot be trained or validated."""
        notes, counts = list(self.remarks), self.counts
        for head, labels in self.heads.items():
            kind = f"{head} classes" if head else "classes"
            train, validation = counts["train"][head], counts["validation"][head]
            untrained = [label for label in labels if not train[label]]
            unseen = [label for label in labels if train[label] and not validation[label]]
            for names, what in ((untrained, "training"), (unseen, "validation")):
                if names:
                    notes.append(f"{len(names)} of {len(labels)} {kind} have no {what} samples: {named(names)}")
        return tuple(notes)


def load_finetune_data(
    data: AnyPath | None = None,
    *,
    dataset: FinetuneDatasetName | None = None,
    annotations: AnyPath | None = None,
    data_root: AnyPath | None = None,
    labels: AnyPath | None = None,
    validation_share: float = 0.2,
    group_by: str = "video",
    seed: int = 0,
    tier: str | Sequence[str] | None = None,
    train_split: str | None = None,
    validation_split: str | None = None,
    fps: float | None = None,
    multi_label: bool | None = None,
) -> FinetuneData:
    """Training and validation samples of `data`, which says by itself what it is, or of a `dataset` by name.

    Splits that the data name are kept, a test split is not used; otherwise one is made by group. The classes are those
    of the file `labels` in its order, the official list, or in alphabetical order those that occur.

    Args:
        data: A folder with a folder for each class, or one with such folders for train and validation; a folder of
            .eaf, an .eaf, a .csv (see `read_annotations`), a .json in the form of ActivityNet, or what `tada detect`
            wrote (.json, .jsonl, .csv).
        dataset: The name of a data set, in place of `data`.
        annotations: The data set's annotations, as published.
        data_root: The folder in which videos are looked for.
        labels: A file of class names: a JSON list, or one on each line.
        validation_share: About the share that is held out, between 0 and 1, where the data name no validation split.
        group_by: What stays on one side (see `splitting.grouping`).
        seed: Which groups are held out.
        tier: Of ELAN files, the tier with the labels, or several.
        train_split: The split of the data to train with, in whatever case; by default train.
        validation_split: The split to validate with; by default validation, or, if `train_split` is given, the only
            other one.
        fps: Frames a second of folders and tars of frames whose rate the data do not say; by default what their name
            says, or else 30, with a remark.
        multi_label: Whether samples may show several classes at a time, those of spans with the same times and of spans
            that overlap them. By default they may where one span in twenty, and three at least, have several labels; a
            remark says so.

    Returns:
        The samples, and how they were split.

    Raises:
        UsageError: Options contradict each other, there are fewer than two classes, or one without a training sample,
            unless the list is an official one.
    """
    require_data(data, dataset)
    names = None if labels is None else label_file(labels)
    tiers = [tier] if isinstance(tier, str) else tier
    splits = WantedSplits(train_split, validation_split)
    if dataset is None:
        assert data is not None
        if annotations is not None:
            raise UsageError("--data holds the annotations, and others were given", hint="give one of the two")
        source = own_data(Path(data), data_root, names, tiers, splits, multi_label)
    else:
        source = known_dataset(dataset, annotations, data_root, names, tiers, splits, multi_label)
    parts = {split: with_rates(dataset, fps) for split, dataset in source.parts.items()}
    source = replace(source, parts=parts)
    return _split_in_two(source, validation_share=validation_share, group_by=group_by, seed=seed)


def check_finetune_data(
    data: FinetuneData,
    *,
    input_spec: InputSpec,
    workers: int,
    allow_bad: int = 0,
    index: str | os.PathLike[str] | None = None,
    on_progress: Callable[[int, int], object] | None = None,
) -> FinetuneData:
    """The data without the samples that cannot be used, after every file was opened and looked at.

    Args:
        data: What was loaded.
        input_spec: The model's clips, by which samples are called too short.
        workers: How many files are looked at at a time.
        allow_bad: Up to so many videos may be missing, unreadable or damaged.
        index: A folder in which the frame tables of video files are kept (see `tadacli.video.open_video`).
        on_progress: Is called with (files done, files in all).

    Returns:
        The data; its notes are what the files gave reason to say.

    Raises:
        UsageError: More videos than `allow_bad` are bad, validation shares a file, bytes or a video with training (in
            a published data set other times of a video are a note), or classes have nothing left.
    """
    datasets = {"train": data.train, "validation": data.validation}
    clip_frames, clip_seconds = _clip_extent(input_spec)
    check = check_dataset(
        datasets,
        workers=workers,
        clip_frames=clip_frames,
        clip_seconds=clip_seconds,
        index=index,
        on_progress=on_progress,
    )
    bad = [finding for finding in check.findings if finding.kind in _BAD or finding.detail is FindingDetail.NO_FRAME]
    dropped = {(finding.split, finding.id) for finding in bad}
    _refuse_bad(bad, datasets, allow_bad)
    left = [each for each in check.findings if (each.split, each.id) not in dropped]
    remarks = _leaks([each for each in left if each.kind is FindingKind.IN_SEVERAL_SPLITS], datasets, data.published)
    for kind, what in (
        (FindingKind.TOO_SHORT, "are shorter than a clip of the model, and repeat frames"),
        (FindingKind.OUTSIDE, "reach beyond their video, and are cut there"),
        (FindingKind.DUPLICATE, "have the same content as another of their split"),
    ):
        remarks += _counted([each for each in left if each.kind is kind], datasets, what)
    left_out = tuple(f"{each.id}: {each.reason}" for each in _once(bad))
    if left_out:
        remarks.append(f"{out_of(len(left_out), _total(datasets), 'samples', 'are left out')}: {named(left_out)}")

    def kept(split: str) -> Dataset:
        samples = tuple(each for each in datasets[split].samples if (split, each.id) not in dropped)
        return replace(datasets[split], samples=samples)

    remarks = [*data.remarks, *remarks]
    checked = replace(
        data, train=kept("train"), validation=kept("validation"), remarks=tuple(remarks), left_out=left_out
    )
    _refuse_classes(checked)
    return checked


def without_videos(data: FinetuneData, failed: Mapping[str, str]) -> FinetuneData:
    """The data without the samples of videos that cannot be used.

    Args:
        data: What was loaded.
        failed: Why, by the path of the video.

    Returns:
        The data; `left_out` names the videos and the reasons, and a remark says how many they are.

    Raises:
        UsageError: Nothing is left to train or to validate with, or a class has lost its training samples.
    """
    videos = {str(each.path) for side in (data.train, data.validation) for each in side.samples}
    left_out = tuple(with_reason(path, reason) for path, reason in failed.items() if path in videos)
    if not left_out:
        return data
    remark = f"{len(left_out)} of {len(videos)} videos cannot be read, and are left out: {named(left_out)}"

    def kept(dataset: Dataset) -> Dataset:
        return replace(dataset, samples=tuple(each for each in dataset.samples if str(each.path) not in failed))

    left = replace(
        data,
        train=kept(data.train),
        validation=kept(data.validation),
        remarks=(*data.remarks, remark),
        left_out=(*data.left_out, *left_out),
    )
    try:
        _refuse_classes(left)
    except UsageError as error:
        raise UsageError(f"{error.message}; {remark}", hint="mend them, or give more of these classes") from error
    return left


def with_reason(path: str, reason: str) -> str:
    """A video and why it cannot be used, in words.

    Args:
        path: Of the video.
        reason: What is wrong with it; most reasons name the video themselves.

    Returns:
        Both in one line that is safe to print, with the path once.
    """
    return in_one_line(reason if path in reason else f"{path}: {reason}", most=_LONGEST_REASON)


# --- classes ----------------------------------------------------------------------------------------------


def _refuse_classes(data: FinetuneData) -> None:
    """Raise `UsageError` if the split leaves nothing to train or to validate with, or a class without training."""
    for split, dataset in (("training", data.train), ("validation", data.validation)):
        _refuse_empty(dataset, split, data.name)
    _refuse_one_class(data.train, data.name)
    if data.published:
        return
    for train in data.counts["train"].values():
        missing = [repr(label) for label, number in train.items() if not number]
        if missing:
            raise UsageError(
                f"{len(missing)} of {len(train)} classes have no training samples: {named(missing)}",
                hint="add videos of them, or take them out of the data and the list of labels",
            )


def _refuse_empty(dataset: Dataset, split: str, name: str) -> None:
    if not dataset.samples:
        what = f"{split} samples" if split else "samples"
        raise UsageError(f"{name} has no {what} that can be used", hint="give two videos or more of each class")


def _refuse_one_class(dataset: Dataset, name: str) -> None:
    for head, labels in dataset.heads.items():
        there = {each for sample in dataset.samples for each in dataset.classes_of(sample, head)}
        if len(there) == 1:
            kind = f"{head} class" if head else "class"
            raise UsageError(
                f"{name} has one {kind} to train, {labels[there.pop()]!r}: there is nothing to tell apart",
                hint="give samples of at least two classes",
            )


# --- train and validation ---------------------------------------------------------------------------------


def _split_in_two(source: Source, *, validation_share: float, group_by: str, seed: int) -> FinetuneData:
    parts, remarks = {}, list(source.remarks)
    for split, dataset in source.parts.items():
        remarks += [f"{split}: {note}" if split else note for note in _row_notes(dataset)]
        # One class in each head is what a sample is trained with.
        samples = tuple(sample for sample in dataset.samples if set(sample.labels) == set(dataset.heads))
        parts[split] = replace(dataset, samples=samples)
    if {"train", "validation"} <= set(parts):
        train, validation, how = parts["train"], parts["validation"], "as the data name it"
        remarks += [f"the data name their splits: nothing is grouped by {group_by}"] if group_by != "video" else []
    else:
        dataset = parts["train"] if "train" in parts else parts[""]
        _refuse_empty(dataset, "", source.name)
        _refuse_one_class(dataset, source.name)
        train, validation, how = _split(dataset, source, validation_share, group_by, seed)
        if group_by == "video":
            remarks += _numbered_clips([_name_in(source, sample) for sample in dataset.samples])
    heads = train.heads
    data = FinetuneData(
        source.name, heads, train, validation, how, tuple(dict.fromkeys(remarks)), published=source.published
    )
    _refuse_classes(data)
    return data


def _split(dataset: Dataset, source: Source, share: float, group_by: str, seed: int) -> tuple[Dataset, Dataset, str]:
    if source.in_class_folders and group_by == "folder":
        raise UsageError(
            "each class is one folder, so grouping by folder cannot split a class",
            hint="group by video, or by a part of the file name: --group-by re:PATTERN",
        )
    group_of = grouping(
        group_by,
        name_of=lambda sample: _name_in(source, sample),
        video_of=lambda sample: (sample.video_id if dataset.name in _WITH_VIDEO_IDS else "") or sample.id,
        columns={key: span.columns for key, span in source.spans.items()},
    )

    def labels_of(sample: Sample) -> list[str]:
        return [
            f"{head}\0{labels[index]}"
            for head, labels in dataset.heads.items()
            for index in dataset.classes_of(sample, head)
        ]

    train, validation = split_samples(
        dataset.samples, validation_share=share, group_of=group_of, labels_of=labels_of, seed=seed
    )
    num_train, num_validation = (len({group_of(sample) for sample in side}) for side in (train, validation))
    how = (
        f"by {group_by}, seed {seed}: {num_train} groups to train with, {num_validation} to validate with, which are "
        f"{len(validation) / len(dataset.samples):.1%} of {len(dataset.samples)} samples ({share:.1%} wanted)"
    )
    return replace(dataset, samples=train), replace(dataset, samples=validation, unused=(), remarks=()), how


def _name_in(source: Source, sample: Sample) -> str:
    """The path of a sample's video as the data name it."""
    return source.spans[sample.id].video if sample.id in source.spans else sample.id


def _row_notes(dataset: Dataset) -> list[str]:
    """What to know of rows that become no sample; the check speaks of files."""
    reasons = Counter(row.reason for row in dataset.unused if row.kind is not UnusedKind.OTHER_SPLIT)
    first = {row.reason: row.place for row in reversed(dataset.unused)}
    unlabelled = sum(set(sample.labels) != set(dataset.heads) for sample in dataset.samples)
    return [
        *map(str, dataset.remarks),
        *(
            f"{out_of(reasons[each], dataset.num_rows, 'rows', 'are not used')}: {each} ({first[each]})"
            for each in sorted(reasons)
        ),
        *([f"{out_of(unlabelled, len(dataset.samples), 'samples', 'are not used')}: no label"] if unlabelled else []),
    ]


def _numbered_clips(names: Iterable[str]) -> list[str]:
    """A hint at clips that seem to be cut from the same video, which a split by file would tear apart."""
    clips = defaultdict(list)
    for name in sorted(set(names)):
        match = _NUMBERED_CLIP.fullmatch(os.path.splitext(name)[0])
        if match is not None:
            clips[match[1]].append(name)
    alike = [names for names in clips.values() if len(names) > 1]
    if not alike:
        return []
    return [
        f"{sum(map(len, alike))} files look like clips of {len(alike)} videos, {alike[0][0]} and {alike[0][1]} first: "
        "keep those of a video together with --group-by re:PATTERN"
    ]


# --- what a check found -----------------------------------------------------------------------------------


def _clip_extent(spec: InputSpec) -> tuple[int, float | None]:
    """(frames, seconds) that a sample needs for a clip without repeated frames."""
    if spec.sampling == "segment":
        return spec.clip_frames, None
    return 1, spec.clip_frames * spec.frame_stride / spec.target_fps


def _once(findings: Sequence[Finding]) -> list[Finding]:
    """The first finding of each sample."""
    return list({(each.split, each.id): each for each in reversed(findings)}.values())[::-1]


def _total(datasets: Mapping[str, Dataset]) -> int:
    return sum(len(dataset.samples) for dataset in datasets.values())


def _refuse_bad(bad: Sequence[Finding], datasets: Mapping[str, Dataset], allow_bad: int) -> None:
    samples = {sample.id: sample for each in datasets.values() for sample in each.samples}
    files = {each.path or samples[each.id].video_id or each.id for each in bad}
    if len(files) > allow_bad:
        first = [f"{each.id} ({each.reason}){_at(samples[each.id])}" for each in _once(bad)]
        beyond = any(each.kind is FindingKind.OUTSIDE for each in bad)
        units = "times count in seconds, unless columns are called start_ms or start_frame; " if beyond else ""
        raise UsageError(
            f"{counted(len(files), 'videos')}, {len(first)} of {counted(_total(datasets), 'samples')}, cannot be used: "
            f"{named(first)}",
            hint=f"{units}mend or remove them, or leave them out: --allow-bad {len(files)}",
        )


def _at(sample: Sample) -> str:
    """Where a sample stands in the annotations, if that is known."""
    return f" at {sample.place}" if sample.place else ""


def _leaks(found: Sequence[Finding], datasets: Mapping[str, Dataset], published: bool) -> list[str]:
    """A note on what a published data set shares between its splits; anything else is refused."""
    mild = [each for each in found if published and each.detail is FindingDetail.SAME_VIDEO]
    worse = _once([each for each in found if not (published and each.detail is FindingDetail.SAME_VIDEO)])
    if worse:
        first = [f"{each.id} ({each.reason})" for each in worse]
        raise UsageError(
            f"{len(worse)} of {len(datasets['validation'].samples)} validation samples are in training, too: "
            f"{named(first)}",
            hint="keep each video in one split only: remove copies, or group what belongs together (--group-by)",
        )
    return _counted(mild, datasets, "are of a video that is in training, too, as published")


def _counted(found: Sequence[Finding], datasets: Mapping[str, Dataset], what: str) -> list[str]:
    found = _once(found)
    told = out_of(len(found), _total(datasets), "samples", what)
    return [f"{told}: {found[0].id} ({found[0].reason})"] if found else []
