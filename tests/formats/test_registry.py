"""The table of formats: every name an option takes, and the suffixes that stand for one."""

from __future__ import annotations

from typing import get_args

from tadacli.formats.registry import (
    CLASSIFY_SUFFIXES,
    DETECT_SUFFIXES,
    SEGMENT_FORMATS,
    ClassifyFormat,
    ConvertFormat,
    DetectFormat,
    RowsName,
    SegmentsName,
)
from tadacli.formats.row_formats import DETECTION_FORMATS, FORMATS


def test_every_name_has_its_format_and_every_format_its_name() -> None:
    assert set(get_args(RowsName)) == FORMATS.keys() == DETECTION_FORMATS.keys()
    assert set(get_args(SegmentsName)) == SEGMENT_FORMATS.keys()
    assert set(get_args(ClassifyFormat)) == {"table", "parquet", *FORMATS}
    assert set(get_args(DetectFormat)) == {"table", "parquet", *DETECTION_FORMATS, *SEGMENT_FORMATS}
    assert set(get_args(ConvertFormat)) == {*DETECTION_FORMATS, *SEGMENT_FORMATS, "parquet"}
    assert all(form.name == name for name, form in SEGMENT_FORMATS.items())


def test_a_suffix_stands_for_one_format() -> None:
    assert CLASSIFY_SUFFIXES == {
        ".csv": "csv",
        ".tsv": "tsv",
        ".json": "json",
        ".jsonl": "jsonl",
        ".parquet": "parquet",
        ".txt": "table",
    }
    assert DETECT_SUFFIXES == {
        **CLASSIFY_SUFFIXES,
        ".srt": "srt",
        ".vtt": "vtt",
        ".edl": "edl",
        ".eaf": "eaf",
        ".boris": "boris",
    }
