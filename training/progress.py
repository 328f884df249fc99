"""How far it is: a progress bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from training.loop import Progress

_LINE_EVERY = 10.0  # seconds between plain lines


@contextlib.contextmanager
def training() -> Iterator[Callable[[Progress], None]]:
    """Yields what `loop.train` takes as `report`."""
    with _shown("training") as show:

        def report(done: Progress) -> None:
            text = f"loss {done.loss:.4f}  grad {done.grad_norm:.3f}  {done.seconds:.2f} s/step"
            show(done.step, done.steps, text)

        yield report


@contextlib.contextmanager
def counting(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Yields a function of the number of finished things out of `total`."""
    with _shown(what) as show:
        yield lambda done: show(done, total, "")


@contextlib.contextmanager
def _shown(what: str) -> Iterator[Callable[[int, int, str], None]]:
    if not sys.stderr.isatty():
        last = 0.0

        def line(done: int, total: int, text: str) -> None:
            nonlocal last
            if done == total or time.monotonic() - last > _LINE_EVERY:
                last = time.monotonic()
                print(f"{what}: {done}/{total}  {text}".rstrip(), file=sys.stderr, flush=True)

        yield line
        return

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    figures = TextColumn("{task.fields[text]}")
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), figures)
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=None, text="")
        yield lambda done, total, text: bar.update(task, completed=done, total=total, text=text)
