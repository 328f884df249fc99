from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.rttm import Turn, cut, parse, text

FILE = """\
;; made by hand
SPKR-INFO clip 1 <NA> <NA> <NA> unknown bea <NA> <NA>
SPEAKER clip 1 2.750 1.50 <NA> <NA> bea <NA> <NA>
SPEAKER clip 1 0.500 2.25 <NA> <NA> anna <NA> <NA>

SPEAKER clip 1 9.0 0.0 <NA> <NA> anna <NA> <NA>
SPEAKER clip 1 5 1e-1 <NA> <NA> anna <NA>
"""


def test_turns_are_read_in_order() -> None:
    assert (
        parse(FILE)
        == parse("\ufeff" + FILE.replace("\n", "\r\n"))
        == [
            Turn(start=0.5, end=2.75, speaker="anna"),
            Turn(start=2.75, end=4.25, speaker="bea"),
            Turn(start=5.0, end=5.1, speaker="anna"),
        ]
    )
    assert parse("") == parse("\n;; nothing\n") == []


moments = st.integers(0, 10_000_000).map(lambda milliseconds: milliseconds / 1000)
some_turns = st.lists(
    st.builds(
        lambda start, length, speaker: Turn(start=start, end=start + length, speaker=speaker),
        moments,
        st.integers(1, 10_000).map(lambda milliseconds: milliseconds / 1000),
        st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1),
    )
)


@given(some_turns)
@settings(deadline=None, max_examples=50)
def test_what_is_written_is_read(turns: list[Turn]) -> None:
    read = parse(text(turns, "clip"))
    assert len(read) == len(turns)
    for one in read:
        assert any(
            one.speaker == two.speaker
            and one.start == pytest.approx(two.start, abs=1e-3)
            and one.end == pytest.approx(two.end, abs=2e-3)
            for two in turns
        )


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("SPEAKER clip 1 0.5 2.0 <NA> <NA>", "line 2 has 7 fields"),
        ("SPEAKER clip 1 half 2.0 <NA> <NA> anna <NA> <NA>", "line 2: could not convert"),
        ("SPEAKER clip 1 0.5 -2.0 <NA> <NA> anna <NA> <NA>", "line 2: a turn from 0.5 to -1.5"),
        ("SPEAKER clip 1 -0.5 2.0 <NA> <NA> anna <NA> <NA>", "line 2: a turn from -0.5"),
        ("SPEAKER clip 1 nan 2.0 <NA> <NA> anna <NA> <NA>", "line 2: a turn from nan"),
        ("SPEAKER clip 1 0 inf <NA> <NA> anna <NA> <NA>", "line 2: a turn from 0.0 to inf"),
        ("1\n00:00:01,000 --> 00:00:02,000", "line 2 is not RTTM: 1"),
    ],
)
def test_what_is_no_rttm_is_refused_by_line(line: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse("SPEAKER clip 1 0.5 2.0 <NA> <NA> anna <NA> <NA>\n" + line)


def test_a_name_is_one_word() -> None:
    for name in ("", "two words", " x"):
        with pytest.raises(ValueError, match="one word"):
            Turn(start=0, end=1, speaker=name)


@given(some_turns, moments, st.floats(0.001, 100))
@settings(deadline=None, max_examples=50)
def test_a_cut_lies_inside_and_keeps_the_time_spoken(turns: list[Turn], start: float, length: float) -> None:
    inside = cut(turns, start, start + length)
    assert all(0 <= turn.start < turn.end <= length + 1e-6 for turn in inside)
    wanted = sum(max(0.0, min(turn.end, start + length) - max(turn.start, start)) for turn in turns)
    assert sum(turn.end - turn.start for turn in inside) == pytest.approx(wanted, abs=1e-6)
