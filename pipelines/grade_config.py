"""Options of ``avcontrol estimators grade``; apart, so that ``--help`` loads no decoder."""

from __future__ import annotations

from dataclasses import dataclass

from catalogs.options import setting


@dataclass(frozen=True, kw_only=True)
class GradeConfig:
    """Options of ``avcontrol estimators grade``; ``--help`` explains each."""

    root: str | None = setting(
        "Folder or URI whose table `grades` gets the result; without one it is only shown.",
        None,
        env="AVCONTROL_ROOT",
    )
    from_catalog: str | None = setting(
        "Grade on the takes of a catalog that `build multicam` rendered, e.g. 'scenes@3', not on the room.",
        None,
        flag="from",
        completes="catalog",
    )
    clips: int = setting(
        "How many clips; 12 of the room make each camera move without and with moving boxes.", 12
    )
    resolution: str | None = setting(
        "WIDTHxHEIGHTxFRAMES of the clips: 320x192x25, or with --from the takes' own.", None
    )
    seed: int = setting("Of the rooms, the cameras and the points that trackers are asked for.", 0)
    settings: dict[str, str] = setting(
        "An option of the estimator, or NAME.KEY=VALUE of one of several (weights, checkout); may be given many times.",
        {},
        flag="set",
    )
