"""The order of batches: a function of the seed and the batch's number, worked out where it is asked for.

Nothing of the size of an epoch is held. A shuffle is a permutation of range(n) computed position by position: a
Feistel network over pairs of digits to the base ceil(sqrt(n)), walked along its cycle until it falls below n
(Black and Rogaway, "Ciphers with Arbitrary Finite Domains", CT-RSA 2002).
"""

from __future__ import annotations

import bisect
import hashlib
import itertools
import math
from collections.abc import Sequence

_ROUNDS = 8


def permuted(index: int, size: int, key: object) -> int:
    """Where a shuffle of range(size) puts `index`.

    Args:
        index: In range(size).
        size: Things shuffled.
        key: Of the shuffle; anything whose repr says what it is.
    """
    if size < 2:
        return index
    base = (
        math.isqrt(size - 1) // 2 * 2 + 2
    )  # the least even one whose square reaches size (even: any parity comes up)
    keyed = hashlib.blake2b(repr(key).encode(), digest_size=8)
    while True:
        left, right = divmod(index, base)
        for turn in range(_ROUNDS):
            mixed = keyed.copy()
            mixed.update(b"%d,%d" % (turn, right))
            left, right = right, (left + int.from_bytes(mixed.digest())) % base
        index = left * base + right
        if index < size:
            return index


def batches_per_epoch(sizes: Sequence[int], batch_size: int) -> int:
    """Batches of one pass over buckets of these sizes; the last of each bucket may be smaller."""
    return sum(-(-size // batch_size) for size in sizes)


def batch(sizes: Sequence[int], batch_size: int, seed: int, number: int) -> tuple[int, list[int]]:
    """What the run's batch `number` holds.

    Every epoch goes through all samples once in an order of its own; a batch is of one bucket.

    Args:
        sizes: Of the buckets: samples that fit one batch.
        batch_size: Samples of a batch.
        seed: Of the run.
        number: From 0, over all epochs.

    Returns:
        The bucket, and the positions in it.
    """
    counts = [-(-size // batch_size) for size in sizes]
    epoch, index = divmod(number, sum(counts))
    place = permuted(index, sum(counts), (seed, epoch))
    ends = list(itertools.accumulate(counts))
    bucket = bisect.bisect_right(ends, place)
    first = (place - ends[bucket] + counts[bucket]) * batch_size
    size = sizes[bucket]
    positions = range(first, min(first + batch_size, size))
    return bucket, [permuted(position, size, (seed, epoch, bucket)) for position in positions]
