"""Work of a screen in threads, so that keys are answered meanwhile."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from typing import Any

from textual import work
from textual.css.query import NoMatches


def background(group: str, *, exclusive: bool = True) -> Callable[[Callable[..., None]], Callable[..., Any]]:
    """Make a method of a screen run in a thread; it ends quietly if the screen was left meanwhile.

    Args:
        group: Work of the same kind.
        exclusive: A later call takes the place of an earlier one of its group.
    """

    def decorate(method: Callable[..., None]) -> Callable[..., Any]:
        @functools.wraps(method)
        def run(*given: Any) -> None:
            with contextlib.suppress(NoMatches):  # what was to be shown has no place any more
                method(*given)

        return work(thread=True, exclusive=exclusive, group=group)(run)

    return decorate
