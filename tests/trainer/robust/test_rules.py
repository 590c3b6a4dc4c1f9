"""Averages that withstand wrong states, against their definitions and against hostile ones."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from haversack_trainer.contract.robust import Robust, Rule, fault
from haversack_trainer.robust.rules import Tensors, average

FLOATS = st.floats(-100, 100, width=32)


@st.composite
def crowds(draw: st.DrawFn) -> tuple[Robust, np.ndarray, np.ndarray]:
    """A rule, honest vectors and as many hostile ones as it withstands."""
    rule = draw(st.sampled_from(Rule))
    robust = Robust(rule=rule, num_faulty=draw(st.integers(0, 2)))
    honest = robust.least - robust.num_faulty + draw(st.integers(0, 3))
    hostile = st.floats(width=32, allow_nan=False, allow_infinity=False)
    return (
        robust,
        draw(arrays.arrays(np.float32, (honest, 3), elements=FLOATS)),
        draw(arrays.arrays(np.float32, (robust.num_faulty, 3), elements=hostile)),
    )


def states(*vectors: np.ndarray) -> list[Tensors]:
    rows = np.concatenate(vectors)
    return [{"a": row[:2].reshape(1, 2), "b": row[2:]} for row in rows]


def flat(mixed: Tensors | None) -> np.ndarray:
    assert mixed is not None
    return np.concatenate([mixed["a"].reshape(-1), mixed["b"]])


@given(crowds())
def test_faulty_states_do_not_carry_it_away(crowd: tuple[Robust, np.ndarray, np.ndarray]) -> None:
    """By coordinates it stays among the honest values; Krum's choice stays near an honest one."""
    robust, honest, hostile = crowd
    mixed = flat(average(robust, states(honest, hostile), ["a", "b"]))
    if robust.rule in (Rule.TRIMMED_MEAN, Rule.MEDIAN):
        assert (mixed >= honest.min(0) - 1e-3).all()
        assert (mixed <= honest.max(0) + 1e-3).all()
        return
    # Of what Krum chooses, the nearest n - f - 2 are at most as far as an honest state's, all of them honest.
    widest = max(float(np.linalg.norm(one - other)) for one in honest for other in honest)
    away = min(float(np.linalg.norm(mixed.astype(float) - one)) for one in honest)
    assert away <= widest * len(honest) + 1e-2


@given(crowds(), st.randoms())
def test_the_order_of_the_states_changes_no_bit(
    crowd: tuple[Robust, np.ndarray, np.ndarray], random: object
) -> None:
    robust, honest, hostile = crowd
    given_ = states(honest, hostile)
    mixed = flat(average(robust, given_, ["a", "b"]))
    random.shuffle(given_)  # type: ignore[attr-defined]  # Hypothesis' Random
    assert flat(average(robust, given_, ["a", "b"])).tobytes() == mixed.tobytes()


@pytest.mark.parametrize("rule", [Rule.TRIMMED_MEAN, Rule.MULTI_KRUM])
@given(vectors=arrays.arrays(np.float32, (5, 3), elements=FLOATS))
def test_with_nobody_faulty_it_is_the_mean(rule: Rule, vectors: np.ndarray) -> None:
    mixed = flat(average(Robust(rule=rule, num_faulty=0), states(vectors), ["a", "b"]))
    assert mixed == pytest.approx(vectors.astype(float).mean(0), rel=1e-5, abs=1e-5)


def test_trimmed_mean_and_median_by_hand() -> None:
    vectors = np.array([[1, 9, 0], [2, 5, 0], [3, 1, 0], [4, 7, 0], [90, -50, 0]], np.float32)
    trimmed = average(Robust(rule=Rule.TRIMMED_MEAN), states(vectors), ["a"])
    assert trimmed is not None
    assert trimmed["a"].tolist() == [[3, pytest.approx(13 / 3)]]
    middle = average(Robust(rule=Rule.MEDIAN, num_faulty=2), states(vectors), ["a"])
    assert middle is not None
    assert middle["a"].tolist() == [[3, 5]]


def test_krum_by_hand() -> None:
    """Five, of which one is wrong: sums over the two nearest."""
    vectors = np.array([[0, 0, 0], [1, 0, 0], [3, 0, 0], [7, 0, 0], [99, 0, 0]], np.float32)
    assert flat(average(Robust(rule=Rule.KRUM), states(vectors), ["a", "b"]))[0] == 1
    several = flat(average(Robust(rule=Rule.MULTI_KRUM), states(vectors), ["a", "b"]))
    assert several[0] == pytest.approx((0 + 1 + 3 + 7) / 4)


def test_equals_are_told_apart_by_content_not_by_place() -> None:
    vectors = np.array([[v, 0, 0] for v in (0, 0, 1, 1, 1, 0)], np.float32)
    chosen = {
        flat(average(Robust(rule=Rule.KRUM), states(vectors[list(order)]), ["a", "b"])).tobytes()
        for order in list(permutations(range(6)))[::37]
    }
    assert len(chosen) == 1


def test_too_few_states_are_no_average() -> None:
    vectors = np.zeros((2, 3), np.float32)
    assert average(Robust(), states(vectors), ["a"]) is None
    assert average(Robust(), states(np.zeros((3, 3), np.float32)), []) is None


@pytest.mark.parametrize(
    ("rule", "num_faulty", "there", "says"),
    [
        (Rule.TRIMMED_MEAN, 1, 3, None),
        (Rule.TRIMMED_MEAN, 2, 3, "withstands 2 of 5 or more, but minPeers leaves only 3; write 1 or less"),
        (Rule.MEDIAN, 1, 2, "write 0 or less"),
        (Rule.KRUM, 1, 5, None),
        (Rule.KRUM, 1, 4, "withstands 1 of 5 or more, but minPeers leaves only 4; write 0 or less"),
        (Rule.MULTI_KRUM, 0, 2, "withstands 0 of 3 or more, but minPeers leaves only 2; raise that"),
    ],
)  # fmt: skip
def test_a_rule_that_too_few_may_be_left_for_is_refused(
    rule: Rule, num_faulty: int, there: int, says: str | None
) -> None:
    told = fault(Robust(rule=rule, num_faulty=num_faulty), there, "minPeers leaves")
    assert (told is None) == (says is None)
    assert says is None or (told or "").startswith("robust.numFaulty: ")
    assert says is None or says in (told or "")
    assert fault(None, 0, "") is None
