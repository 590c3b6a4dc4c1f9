"""Which segments become one: the log stays whole, and its segments few."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from haversack_trainer.checkpoint.compaction import FAN_IN, MAX_TIER, Span, merged

FULL = 100
SIZES = st.lists(st.integers(1, 3 * FULL), max_size=200)


def spans_of(sizes: list[int]) -> list[Span]:
    return [Span(number + 1, size) for number, size in enumerate(sizes)]


@given(SIZES)
def test_nothing_is_lost_and_what_is_done_is_done(sizes: list[int]) -> None:
    spans, position = spans_of(sizes), 0
    found = merged(spans, FULL)
    for span in found:
        assert span.size_bytes == sum(it.size_bytes for it in spans[position : span.next])
        position = span.next
    assert position == len(spans)
    assert merged(found, FULL) == found


@given(st.lists(st.integers(FULL, 2 * FULL), min_size=1, max_size=1500))
def test_a_log_that_grows_by_full_segments_has_few_and_seldom_writes_a_byte_again(
    sizes: list[int],
) -> None:
    spans: tuple[Span, ...] = ()
    written = 0
    for number, size in enumerate(sizes):
        before, spans = set(spans), merged([*spans, Span(number + 1, size)], FULL)
        written += sum(span.size_bytes for span in spans if span not in before)
    total = sum(sizes)
    most = 2 * FULL * FAN_IN**MAX_TIER
    assert all(span.size_bytes <= most for span in spans)
    assert len(spans) <= (FAN_IN - 1) * MAX_TIER + math.ceil(total / (FULL * FAN_IN**MAX_TIER))
    assert written <= total * (MAX_TIER + 1)


def test_segments_that_may_still_grow_are_left_alone() -> None:
    spans = spans_of([FULL - 1] * 20)
    assert merged(spans, FULL) == tuple(spans)


def test_eight_times_eight_become_one() -> None:
    spans = spans_of([FULL] * 64)
    assert merged(spans, FULL) == (Span(64, 64 * FULL),)
    assert len(merged(spans[:63], FULL)) == 7 + 7
