"""The columns of the tables. Every component of a sample's identity is a column of its own."""

from __future__ import annotations

import pyarrow as pa

SCHEMA_VERSION = 1
TICKS_PER_SECOND = 705_600_000  # spans are in ticks: frames and samples of usual rates are whole ticks

_text, _int, _long, _float = pa.string(), pa.int32(), pa.int64(), pa.float64()

SAMPLES = pa.schema(
    [
        ("sample_id", _text),
        ("modality", _text),
        # the pair: media paths relative to the root; null where a modality has none
        ("caption", _text),
        ("caption_source", _text),
        ("video", _text),
        ("reference_video", _text),
        ("audio", _text),
        ("reference_audio", _text),
        ("streams", _text),  # of the backbone that are trained: video, audio or joint
        ("signals", pa.list_(pa.struct([("name", _text), ("path", _text)]))),
        ("width", _int),
        ("height", _int),
        ("frames", _int),
        ("fps_num", _int),
        ("fps_den", _int),
        ("sample_rate", _int),
        ("audio_samples", _long),
        ("reference_downscale", _int),
        ("steps", _int),
        # identity: sample_id is the hash of these
        ("source_sha256", _text),
        ("span_start", _long),
        ("span_end", _long),
        ("timeline", _text),
        ("estimator", _text),
        ("estimator_weights", _text),
        ("params", _text),
        ("code_version", _text),
        ("seed", _long),
        ("calibration", _text),  # null where there is none
        # provenance
        ("source_uri", _text),
        ("source_license", _text),
        ("source_attribution", _text),
        ("estimator_license", _text),
        ("commercial_ok", pa.bool_()),
        ("decoder", _text),
        ("decoder_reason", _text),
        ("made_with", _text),
        # figures to select by
        ("quality", _float),
        ("motion", _float),
        ("brightness", _float),
        ("sharpness", _float),
        ("av_offset_ms", _float),
        ("expected_error", _float),  # null for exact signals, and where the estimator was never graded
        ("expected_error_of", _text),
        # book-keeping
        ("unit_id", _text),
        ("run_id", _text),
        ("schema_version", _int),
    ]
)
"""One row per sample. Spans are integer ticks of 1/705600000 s from the source's first video frame."""

REJECTS = pa.schema(
    [
        ("reject_id", _text),
        ("modality", _text),
        ("source_uri", _text),
        ("source_sha256", _text),
        ("span_start", _long),
        ("span_end", _long),
        ("stage", _text),
        ("reason", _text),
        ("message", _text),
        ("timeline", _text),
        ("params", _text),
        ("code_version", _text),
        ("seed", _long),
        ("unit_id", _text),
        ("run_id", _text),
        ("schema_version", _int),
    ]
)
"""One row per clip or source that could not become a sample, with enough to replay it."""

LEDGER = pa.schema(
    [
        ("ledger_id", _text),
        ("unit_id", _text),
        ("source_uri", _text),
        ("timeline", _text),
        ("samples", _int),
        ("rejects", _int),
        ("run_id", _text),
    ]
)
"""One row per finished work unit: what was done to which source, at which clip timeline."""

SOURCES = pa.schema(
    [
        ("source_id", _text),
        ("source_uri", _text),
        ("size", _long),
        ("mtime_ns", _long),
        ("sha256", _text),
        ("ticks", _long),
        ("sound_ticks", _long),
        ("probe", _text),
        ("reason", _text),
        ("message", _text),
        ("run_id", _text),
    ]
)
"""One row per source seen, keyed by URI, size and modification time: what was probed is not probed again."""

ENCODINGS = pa.schema(
    [
        ("encoding_id", _text),
        ("kind", _text),
        ("input", _text),
        ("encoder", _text),
        ("backbone", _text),
        ("path", _text),
        ("shape", _text),
        ("dtype", _text),
        ("run_id", _text),
    ]
)
"""One row per latent or prompt embedding, keyed by its input and the encoder's weights hash."""

REVIEWS = pa.schema(
    [
        ("review_id", _text),
        ("sample_id", _text),
        (
            "review",
            _text,
        ),  # accept, reject, "" where it was taken back, null where this row leaves it as it was
        ("review_note", _text),  # the same
        ("reviewer", _text),
        ("reviewed_at", pa.timestamp("us", "UTC")),
    ]
)
"""One row per review given; rows are only ever added, and for each sample the newest that says something counts."""


def samples_schema(columns: pa.Schema | None = None) -> pa.Schema:
    """The samples schema with a modality's own columns after the common ones."""
    return pa.schema([*SAMPLES, *(columns or [])])
