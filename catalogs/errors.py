"""Every error this project raises on purpose, one tree.

    AvcontrolError                 message + what to do next
    ├── ConfigError                bad option, unknown key in a TOML file, bad resolution, unknown modality
    ├── InputError                 nothing usable at --input (missing folder, empty folder)
    ├── SourceError                a source or clip cannot become a sample; the runner makes it a reject
    │   ├── UnreadableSource       not a video, zero-byte, truncated before the first frame
    │   ├── UnsupportedCodec       a stream no decoder here can open
    │   └── UnusableClip           too short, static, black, crosses a cut, fails a modality's check
    ├── CatalogError               about a catalog
    │   ├── CatalogNotFound        no such catalog, version or sample (the message lists those there are)
    │   ├── BadQuery               the WHERE part does not parse or names an unknown column
    │   └── BrokenCatalog          missing media, corrupt file, unknown schema version
    │       └── DamagedFile        bytes from an object store that do not hash to the name they have
    ├── UnsafePath                 a path that leaves the root, or is absolute where it must not be
    ├── StorageError               disk full, read-only root, unreachable storage
    ├── EstimatorUnavailable       a model, weights or package is missing (the hint says how to get it)
    ├── WorkerError                a worker process died or ran past its limits
    │   ├── WorkerCrashed
    │   └── WorkerTimeout
    └── TrainingError              missing encodings, foreign adapter file, loss not finite

The command line prints message and hint in one line and exits with 2.
"""

from __future__ import annotations


class AvcontrolError(Exception):
    """Base of the tree.

    Args:
        message: What is wrong, naming the thing.
        hint: What to do next; may be empty.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}. {self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[type[AvcontrolError], tuple[object, ...]]:
        # Errors cross process borders (Ray, the worker pipe): keep the arguments.
        return type(self), (self.message, self.hint)


class ConfigError(AvcontrolError):
    """An option, a configuration key or a value that cannot be used."""


class InputError(AvcontrolError):
    """Nothing usable at the given input."""


class SourceError(AvcontrolError):
    """A source or clip cannot become a sample.

    Args:
        reason: Short slug kept in the rejects table, e.g. ``truncated``.
        message: One line for a person.
    """

    def __init__(self, reason: str, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.reason = reason

    def __reduce__(self) -> tuple[type[AvcontrolError], tuple[object, ...]]:
        return type(self), (self.reason, self.message, self.hint)


class UnreadableSource(SourceError):
    """Not a video, zero-byte, or broken before its first frame."""


class UnsupportedCodec(SourceError):
    """A stream that no decoder here can open."""


class UnusableClip(SourceError):
    """A clip that fails selection or a modality's check."""


class CatalogError(AvcontrolError):
    """Something about a catalog."""


class CatalogNotFound(CatalogError):
    """No such catalog, version or sample."""


class BadQuery(CatalogError):
    """The WHERE part of a catalog ID does not parse or names an unknown column."""


class BrokenCatalog(CatalogError):
    """Missing media, a corrupt file, an unknown schema version."""


class DamagedFile(BrokenCatalog):
    """Bytes from an object store that do not hash to the name they have."""


class UnsafePath(AvcontrolError):
    """A path that would leave the root."""


class StorageError(AvcontrolError):
    """Disk full, read-only root, unreachable storage."""


class EstimatorUnavailable(AvcontrolError):
    """A model, its weights or its package is missing here."""


class WorkerError(AvcontrolError):
    """A worker process failed.

    Attributes:
        reason: Slug kept in the rejects table.
    """

    reason = "worker"


class WorkerCrashed(WorkerError):
    """A worker process died (its exit status is in the message)."""

    reason = "crashed"


class WorkerTimeout(WorkerError):
    """A worker process ran past its time limit and was killed."""

    reason = "timeout"


class TrainingError(AvcontrolError):
    """Missing encodings, a foreign adapter file, a loss that is not finite."""
