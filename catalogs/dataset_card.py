"""The card of a Hugging Face dataset, ``README.md``: licences, attribution, columns, splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from catalogs.describe import MEDIA, Row

_HUB_LICENCES = frozenset(
    (
        *(
            "apache-2.0",
            "mit",
            "unlicense",
            "cc0-1.0",
            "odc-by",
            "odbl",
            "pddl",
            "cc-by-2.0",
            "cc-by-3.0",
            "cc-by-4.0",
        ),
        *(
            "cc-by-sa-3.0",
            "cc-by-sa-4.0",
            "cc-by-nc-4.0",
            "cc-by-nc-sa-4.0",
            "cc-by-nc-nd-4.0",
            "cc-by-nd-4.0",
        ),
    )
)
_SIZES = {"n<1K": 10**3, "1K<n<10K": 10**4, "10K<n<100K": 10**5, "100K<n<1M": 10**6, "1M<n<10M": 10**7}
_SHOWN = 50
LICENCES = ("source_license", "estimator_license", "commercial_ok")


@dataclass(kw_only=True)
class Tally:
    """Whose the samples are: counted while they are written."""

    licences: Counter[tuple[str, ...]] = field(default_factory=Counter)
    attributions: dict[str, None] = field(default_factory=dict)

    def add(self, row: Row) -> None:
        """Count a sample."""
        self.licences[tuple(_word(row[name]) for name in LICENCES)] += 1
        if row["source_attribution"]:
            self.attributions[_line(row["source_attribution"])] = None


def card(
    title: str,
    origin: str,
    samples: Mapping[str, int],
    media: Mapping[str, str],
    schema: pa.Schema,
    tally: Tally,
) -> str:
    """The text of a card.

    Args:
        title: The dataset's name.
        origin: The catalog IDs it was made from.
        samples: How many each split has.
        media: What each media column is called in the dataset.
        schema: The other columns.
        tally: Whose the samples are.
    """
    total = sum(samples.values())
    sources = {licence.lower() for licence, *_ in tally.licences}
    only = sources.pop() if len(sources) == 1 else ""
    suffix = "mp4" if any(name.endswith("video") for name in media) else "flac"
    splits = "".join(
        f"  - split: {name}\n    path:\n    - {name}/metadata.parquet\n    - {name}/media/*/*.{suffix}\n"
        for name in samples
    )
    attributions = list(tally.attributions)
    more = [f"… and {len(attributions) - _SHOWN} more, in the column `source_attribution`"]
    credited = [*attributions[:_SHOWN], *(more if len(attributions) > _SHOWN else [])]
    columns = [f"`{name}`: path of the {column.replace('_', ' ')}" for column, name in media.items()]
    columns += [f"`{one.name}`: {one.type}" for one in schema if one.name not in MEDIA]
    return f"""---
license: {only if only in _HUB_LICENCES else "other"}
size_categories:
- {next((name for name, limit in _SIZES.items() if total < limit), "n>10M")}
configs:
- config_name: default
  data_files:
{splits}---

# {title}

{total} aligned pairs of a reference (the control) and a target, exported by avcontrol from

    {origin}

## Licences

| source | estimator | commercial use | samples |
|---|---|---|---|
{_rows(f"| {' | '.join(row)} | {count} |" for row, count in sorted(tally.licences.items()))}

Every row has its own in {", ".join(f"`{name}`" for name in LICENCES)}.

## Attribution

{_rows(f"* {each}" for each in credited) or "None was recorded."}

## Columns

{_rows(f"* {each}" for each in columns)}
"""


def _rows(lines: Any) -> str:
    return "\n".join(lines)


def _word(value: Any) -> str:
    known = {True: "yes", False: "no", None: "unknown", "": "unknown"}
    return known[value] if value in known else _line(value)


def _line(text: Any) -> str:
    return " ".join(str(text).replace("|", "/").split())
