"""A bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import io

import pytest

from haversack_trainer.report.progress import Standing, open_progress
from haversack_trainer.report.units import duration, size


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_log_gets_a_line_per_period_and_the_last_word() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = open_progress(10, stream, period_seconds=15, clock=clock)
    for round_ in range(1, 8):
        clock.now = 10.0 * round_
        progress.show(Standing(round_, 4, 0.5, 1_500_000 * round_))
    progress.close()
    assert stream.getvalue().splitlines() == [
        "round 1/10 (10 %), loss 0.5000, 4 peers, sent 1.5 MB, 1 min 30 s left",
        "round 3/10 (30 %), loss 0.5000, 4 peers, sent 4.5 MB, 1 min 10 s left",
        "round 5/10 (50 %), loss 0.5000, 4 peers, sent 7.5 MB, 50 s left",
        "round 7/10 (70 %), loss 0.5000, 4 peers, sent 10.5 MB, 30 s left",
    ]


def test_closing_tells_what_was_held_back() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = open_progress(10, stream, period_seconds=15, clock=clock)
    progress.show(Standing(1, 1))
    progress.show(Standing(2, 1))
    assert len(stream.getvalue().splitlines()) == 1
    progress.close()
    assert stream.getvalue().splitlines()[1].startswith("round 2/10 (20 %), 1 peer, sent 0 B")


def test_the_last_round_is_always_told() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = open_progress(2, stream, period_seconds=15, clock=clock)
    progress.show(Standing(1, 2))
    progress.show(Standing(2, 2))
    assert stream.getvalue().splitlines()[-1] == "round 2/2 (100 %), 2 peers, sent 0 B"


def test_the_estimate_does_not_count_rounds_done_before_a_resume() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = open_progress(100, stream, first_round=90, period_seconds=1, clock=clock)
    clock.now = 10.0
    progress.show(Standing(95, 1))
    assert stream.getvalue().rstrip().endswith("10 s left")


def test_a_terminal_gets_a_bar() -> None:
    stream = Terminal()
    progress = open_progress(10, stream)
    progress.show(Standing(4, 3, 0.25, 2_000))
    progress.close()
    last = stream.getvalue().rpartition("\r")[2]
    assert "4/10" in last
    assert "loss 0.2500, 3 peers, sent 2 kB" in last


@pytest.mark.parametrize(
    ("num_bytes", "said"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (1_234_567, "1.23 MB"),
        (999_400_000, "999 MB"),
        (5e9, "5 GB"),
        (7e14, "700 TB"),
    ],
)
def test_sizes_are_read_at_a_glance(num_bytes: float, said: str) -> None:
    assert size(num_bytes) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0.0 s"),
        (4.24, "4.2 s"),
        (59, "59 s"),
        (59.7, "1 min 0 s"),
        (200, "3 min 20 s"),
        (3599.9, "1 h 0 min"),
        (7500, "2 h 5 min"),
        (200_000, "2 d 7 h"),
    ],
)
def test_durations_are_read_at_a_glance(seconds: float, said: str) -> None:
    assert duration(seconds) == said
