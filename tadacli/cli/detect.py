"""`tada detect`: what happens in long videos, and when."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from inspect import signature
from typing import get_args

import typer

from tadacli.cli import detect_options as own
from tadacli.cli import engine_options, exits, options
from tadacli.cli.also_shown import also_shown
from tadacli.cli.asked_output import asked_output
from tadacli.cli.console import be_quiet, detection_table, showing, start_profile
from tadacli.cli.detect_features import job_in_features, refuse_other_options
from tadacli.cli.detect_head import is_head_model, job_of_head, refuse_options_without_use
from tadacli.cli.detect_output import write_detections
from tadacli.cli.detect_truth import labels_of_people, truth_of_videos
from tadacli.cli.sinks import open_detection_sink, summarise
from tadacli.detection import DEFAULT_NMS, DEFAULT_NMS_IOU, DEFAULT_THRESHOLD
from tadacli.errors import UsageError
from tadacli.files import name_with
from tadacli.formats.registry import DETECT_SUFFIXES, SEGMENT_FORMATS, DetectFormat
from tadacli.sampling import DEFAULT_WINDOW


def detect_command(
    inputs: own.Inputs = None,
    model: options.ModelName = None,
    weights: options.Weights = None,
    trust: options.TrustedSettings = None,
    labels: options.LabelsFile = None,
    fetch: options.Fetch = False,
    window: own.Window = DEFAULT_WINDOW,
    stride: own.Stride = None,
    sampling: own.Sampling = None,
    start: options.Start = None,
    end: options.End = None,
    allow_gaps: own.AllowGaps = False,
    cuts: own.CutsWord = "none",
    threshold: own.Threshold = str(DEFAULT_THRESHOLD),
    low_threshold: own.LowThreshold = None,
    smooth: own.Smooth = None,
    merge_gap: own.MergeGap = None,
    min_duration: own.MinDuration = None,
    nms: own.NmsKind = DEFAULT_NMS,
    nms_iou: own.NmsIou = DEFAULT_NMS_IOU,
    topk: own.TopK = None,
    topk_per_class: own.TopKPerClass = None,
    label: own.Labels = None,
    background: own.Background = None,
    exclusive: own.Exclusive = None,
    contrast: own.Contrast = False,
    save_scores: own.SaveScores = None,
    from_scores: own.FromScores = None,
    features: own.Features = None,
    class_scores: own.ClassScores = None,
    report: own.Report = None,
    truth: own.Truth = None,
    render: own.Render = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "float32",
    batch_size: own.BatchSize = None,
    adaptive_stride: own.AdaptiveStride = None,
    index: options.Index = None,
    fps: options.Fps = None,
    output_format: own.Format = None,
    output: options.Output = None,
    columns: options.Columns = None,
    times: options.Times = "seconds",
    resume: options.Resume = False,
    recursive: options.Recursive = False,
    max_download: options.MaxDownload = "4GB",
    cache: options.Cache = None,
    cache_size: options.CacheSize = None,
    profile: options.Profile = False,
    quiet: options.Quiet = False,
    engine: engine_options.Engine = None,
    engine_workers: engine_options.EngineWorkers = None,
    address: engine_options.Address = None,
    gpus_per_worker: engine_options.GpusPerWorker = None,
    cpus_per_worker: engine_options.CpusPerWorker = None,
    split_videos: engine_options.SplitVideos = None,
) -> None:
    """Say what happens in long videos, and when: start, end, label, score.

    Windows slide over each video and are scored; where a label's score
    reaches --threshold, a segment is reported. Times are presentation
    times in seconds. Nothing found is a result, too.

    Scores can be kept with --save-scores; --from-scores makes segments
    from them again, with other settings, in no time.

    With --features the videos are not opened: a model such as
    bmn.ek100_tada2d proposes actions from the features in a folder, as
    published, and --class-scores names them. A model that tada finetune
    --task detection made takes videos, or features of tada features.

    Unreadable parts are listed as gaps, and the exit code is then 3.
    """
    given = locals().copy()
    be_quiet(quiet)
    options.keep_copies(cache, cache_size)
    model, weights = options.model_and_weights(model, weights)
    stopwatch = start_profile(profile)
    to = asked_output(
        output_format,
        output,
        columns,
        resume=resume,
        results="detections",
        known=get_args(DetectFormat),
        by_suffix=DETECT_SUFFIXES,
        times=times,
    )
    without = {
        "--profile": profile,
        "--features": features,
        "--class-scores": class_scores,
        "--from-scores": from_scores,
        "--report": report,
        "--truth": truth,
        "--render": render,
    }
    workers = engine_options.asked_engine(
        engine,
        engine_workers,
        address=address,
        gpus=gpus_per_worker,
        cpus=cpus_per_worker,
        device=device,
        output=output,
        without=without,
    )
    share = engine_options.share_seconds(split_videos, workers)
    labelled = labels_of_people(truth, report)
    from tadacli.detection.settings import SegmentSettings

    segments = SegmentSettings(
        threshold=options.score_limit("--threshold", threshold),
        low_threshold=low_threshold,
        smooth_seconds=options.length_seconds("--smooth", smooth),
        merge_gap_seconds=options.length_seconds("--merge-gap", merge_gap),
        min_duration_seconds=options.length_seconds("--min-duration", min_duration),
        nms=nms,
        nms_iou=nms_iou,
        topk=topk,
        topk_per_class=topk_per_class,
        labels=tuple(label or ()),
        background=tuple(background or ()),
        exclusive=exclusive,
        contrast=contrast,
    )
    limit = options.num_bytes("--max-download", max_download)
    defaults = {name: each.default for name, each in signature(detect_command).parameters.items()}
    if workers is None and is_head_model(model):
        refuse_options_without_use(given, defaults)
        job = job_of_head(
            inputs or [],
            model=model,
            features=features,
            segments=segments,
            device=device,
            batch_size=batch_size,
            fps=fps,
            recursive=recursive,
            max_download=limit,
            index=index,
        )
    elif features:
        refuse_other_options(given, defaults)
        job = job_in_features(
            features,
            model=model,
            weights=weights,
            fetch=fetch,
            class_scores=class_scores,
            videos=inputs or [],
            device=device,
            batch_size=batch_size,
        )
    elif class_scores is not None:
        raise UsageError("--class-scores name what is found in features", hint="give their folder with --features")
    elif from_scores:
        if inputs or save_scores:
            raise UsageError("--from-scores takes the place of videos", hint="leave INPUT and --save-scores out")
        if labels is not None:
            raise UsageError("--from-scores have their labels", hint="leave --labels out; --label chooses among them")
        if fps is not None or cuts != "none":
            option = "--fps" if fps is not None else "--cuts, as the score files have them,"
            raise UsageError("--from-scores opens no video", hint=f"leave {option} out")
        of_models = {"--profile": profile or None, "--index": index, "--adaptive-stride": adaptive_stride}
        if given_too := next((name for name, value in of_models.items() if value is not None), None):
            raise UsageError("--from-scores runs no model", hint=f"leave {given_too} out")
        of_windows = ("window", "stride", "sampling", "start", "end", "allow_gaps", "batch_size")
        if given_too := next((name for name in of_windows if given[name] != defaults[name]), None):
            option = f"--{given_too.replace('_', '-')}"
            raise UsageError("--from-scores have the windows that were scored", hint=f"leave {option} out")
        from tadacli.detection.jobs import job_of_kept_scores

        job = job_of_kept_scores(from_scores, segments=segments)
    else:
        from tadacli.detection.cuts import parse_cuts
        from tadacli.sampling.settings import window_settings

        windows = window_settings(
            window=window,
            stride=stride,
            sampling=sampling,
            start_seconds=options.seconds(start),
            end_seconds=options.seconds(end),
            allow_gaps=allow_gaps,
            batch_size=batch_size,
            fps=fps,
            cuts=parse_cuts(cuts),
            adaptive_stride=1 if adaptive_stride is None else adaptive_stride,
        )
        # Parts of videos are told in rows alone: what is named after a video or lies over it all is refused.
        of_videos = (start, end, save_scores, report, truth, render)
        parts = not any(of_videos) and cuts in ("auto", "none") and not {*to.formats} & SEGMENT_FORMATS.keys()
        kept = options.index_folder(index)
        if workers is not None:
            from tadacli.cli.detect_engine import search_on_engine
            from tadacli.cli.engine_run import chosen_model
            from tadacli.cluster.work import DetectWork

            choice = chosen_model(model, weights=weights, dtype=dtype, fetch=fetch, trust=trust, labels=labels)
            work = DetectWork(choice, windows, segments, limit, share, kept)
            coming: Iterable[str] = options.coming_videos(inputs or [], recursive=recursive, parts=parts)
            if save_scores is not None or cuts not in ("auto", "none"):
                coming = list(dict.fromkeys(coming))
                own.check_cuts(cuts, coming)
            search_on_engine(workers, work, coming, to, save_scores=save_scores)
            return
        videos = options.named_videos(inputs or [], recursive=recursive, parts=parts)
        own.check_cuts(cuts, videos)
        to = to.of_videos(videos)
        from tadacli.detection.detecting import detection_job

        loaded = options.repeatable_model(
            model, weights=weights, device=device, dtype=dtype, fetch=fetch, trust=trust, labels=labels
        )
        job = detection_job(videos, model=loaded, windows=windows, segments=segments, max_download=limit, index=kept)
    from tadacli.detection.score_file import plan_score_files
    from tadacli.reports.detection_files import DetectionFiles

    score_files = plan_score_files(job.videos, save_scores, replace=resume)
    # Kept scores and features need no journal: they are all there.
    journal = None
    if to.growing_file is not None and not (from_scores or features):
        journal = to.growing_file.with_name(name_with(to.growing_file.name, ".unfinished"))
    files = DetectionFiles(
        job.videos,
        report,
        render,
        replace=resume,
        keep_parts=journal is not None,
        max_download=limit,
        truth=truth_of_videos(labelled, job.videos),
    )
    with files.held(), showing(stopwatch, unit="clip"):
        sink = open_detection_sink(to, job)
        sink = also_shown(sink, output, partial(detection_table, title=job.spec.name, times=times))
        statuses = write_detections(
            job, sink, files, times=times, journal=journal, save_scores=score_files, replace=resume
        )
    summarise(statuses, "searched", part="with gaps", output=output)
    if set(statuses.values()) & {"error", "partial"}:
        raise typer.Exit(exits.SOME_FAILED)
