"""Builds without Ray: what workers would do is done here and now."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from pipelines import worker
from pipelines.runner import _done


class Here:
    """In the place of a MediaWorker."""

    def __init__(self, request: dict[str, Any], **limits: Any) -> None:
        self.request = request

    def __call__(self, row: dict[str, Any]) -> list[dict[str, Any]]:
        answers = worker._answer({**self.request, **row})
        results = [one for one in answers if one["event"] in ("source", "sample", "reject")]
        return results + [_done(part["unit"], results) for part in row.get("parts", [])]


def run(rows: Any, stage: Any, arguments: dict[str, Any], resources: Any) -> Iterator[dict[str, Any]]:
    here = Here(arguments["request"])
    return (result for row in rows for result in here(row))


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.build.MediaWorker", Here)
    monkeypatch.setattr("pipelines.commit.run", run)
