"""The order of batches, held against what a shuffle must be."""

from collections import Counter
from itertools import pairwise, permutations

from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2, kstest

from training.order import batch, batches_per_epoch, permuted

SIZES = st.lists(st.integers(1, 40), min_size=1, max_size=5)


@given(st.integers(1, 500), st.integers(0, 2**64))
@settings(max_examples=60, deadline=None)
def test_a_shuffle_is_a_permutation(size: int, key: int) -> None:
    assert sorted(permuted(index, size, key) for index in range(size)) == list(range(size))


def test_small_shuffles_are_all_equally_likely() -> None:
    for size in (2, 3, 4, 5):
        orders = list(permutations(range(size)))
        seen = Counter(
            tuple(permuted(n, size, (7, key)) for n in range(size)) for key in range(100 * len(orders))
        )
        off = sum((seen[order] - 100) ** 2 / 100 for order in orders)
        assert chi2.sf(off, len(orders) - 1) > 1e-3, size


def test_a_large_shuffle_leaves_no_trace_of_the_order() -> None:
    size = 10**12
    places = [permuted(index, size, "key") / size for index in range(4000)]
    steps = [(after - before) % 1 for before, after in pairwise(places)]
    assert kstest(places, "uniform").pvalue > 1e-3 and kstest(steps, "uniform").pvalue > 1e-3


@given(SIZES, st.integers(1, 7), st.integers(0, 9), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_every_epoch_shows_every_sample_once_and_never_mixes_buckets(
    sizes: list[int], batch_size: int, seed: int, epoch: int
) -> None:
    count = batches_per_epoch(sizes, batch_size)
    assert count == sum((size + batch_size - 1) // batch_size for size in sizes)
    batches = [batch(sizes, batch_size, seed, epoch * count + index) for index in range(count)]
    seen = [(bucket, position) for bucket, positions in batches for position in positions]
    assert sorted(seen) == [(bucket, n) for bucket, size in enumerate(sizes) for n in range(size)]
    short = Counter(bucket for bucket, positions in batches if len(positions) < batch_size)
    assert all(number == 1 for number in short.values())


@given(SIZES, st.integers(1, 7), st.integers(0, 50), st.integers(1, 8))
@settings(max_examples=40, deadline=None)
def test_processes_share_one_order_however_many_they_are(
    sizes: list[int], batch_size: int, first: int, world: int
) -> None:
    numbers = range(first, first + 24)
    alone = [batch(sizes, batch_size, 3, number) for number in numbers]
    shared = {
        number: batch(sizes, batch_size, 3, number)
        for rank in range(world)
        for number in numbers[rank::world]
    }
    assert [shared[number] for number in numbers] == alone


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    sizes = [50, 30]
    count = batches_per_epoch(sizes, 4)
    orders = {
        str([batch(sizes, 4, seed, epoch * count + n) for n in range(count)])
        for seed in range(3)
        for epoch in range(3)
    }
    assert len(orders) == 9
