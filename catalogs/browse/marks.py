"""The reviews of a catalog as the table marks them: what was read, and on top what was said since."""

from __future__ import annotations

import bisect
import threading
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from catalogs import review
from catalogs.root import Root

SIGNS = {"accept": ("✓", "green"), "reject": ("✗", "red")}


class Marks:
    """Verdict and note of each sample.

    Args:
        root: Where the catalog lies.
        name: The catalog.
    """

    def __init__(self, root: Root, name: str) -> None:
        self._root, self._name = root, name
        self._read: dict[str, pa.Array] = {}
        self._said: dict[str, tuple[str | None, str | None]] = {}
        self._waiting: list[tuple[str, dict[str, str]]] = []
        self._writing = threading.Lock()

    @property
    def waiting(self) -> int:
        """How many reviews are not written yet."""
        return len(self._waiting)

    def read(self) -> None:
        """Read the newest reviews."""
        table = review.newest(self._root, self._name).sort_by("sample_id").combine_chunks()
        self._read = {name: table[name].chunk(0) for name in table.column_names} if table.num_rows else {}

    def of(self, sample_id: str) -> tuple[str | None, str | None]:
        """Verdict and note of a sample; None where there is none."""
        if sample_id in self._said:
            return self._said[sample_id]
        if self._read:
            ids = self._read["sample_id"]
            at = bisect.bisect_left(ids, sample_id, key=lambda value: value.as_py())
            if at < len(ids) and ids[at].as_py() == sample_id:
                return self._read["review"][at].as_py(), self._read["review_note"][at].as_py()
        return None, None

    def sign(self, row: Mapping[str, Any]) -> tuple[str, str]:
        """A character and its colour to stand before a row."""
        verdict, note = self.of(row["sample_id"])
        return SIGNS.get(verdict or "", ("✎", "yellow") if note else ("", ""))

    def say(self, sample_id: str, verdict: str | None = None, note: str | None = None) -> None:
        """Review a sample; it counts here at once, and for others after :meth:`write`."""
        before = self.of(sample_id)
        self._said[sample_id] = (
            before[0] if verdict is None else verdict or None,
            before[1] if note is None else note or None,
        )
        given = {name: text for name, text in (("verdict", verdict), ("note", note)) if text is not None}
        self._waiting.append((sample_id, given))

    def write(self) -> None:
        """Commit what was said since; what piled up while another commit was on its way goes out together.

        Raises:
            StorageError: The reviews cannot be written; they are kept for the next time.
        """
        with self._writing:
            while self._waiting:
                given = self._waiting[0][1]
                same = [sample_id for sample_id, said in self._waiting if said == given]
                run = next(
                    (n for n, (_, said) in enumerate(self._waiting) if said != given), len(self._waiting)
                )
                review.write(self._root, self._name, dict.fromkeys(same[:run]), **given)
                del self._waiting[:run]
