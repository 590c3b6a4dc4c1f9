"""Which drop rates the configurator tries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haversack_trainer.method import Unsuited
from haversack_trainer.methods.droppeft.bandit import (
    Arm,
    Policy,
    Pull,
    choose,
    exploration,
    in_time,
    recent,
    rewards,
)
from haversack_trainer.methods.droppeft.configurator import Configurator
from haversack_trainer.methods.droppeft.kinds import Shape
from haversack_trainer.methods.droppeft.rates import shape_weights, water_fill
from haversack_trainer.methods.droppeft.settings import Configurator as Kind
from haversack_trainer.methods.droppeft.settings import Settings
from haversack_trainer.methods.droppeft.word import Trial

ARMS = (0.0, 0.2, 0.4, 0.6)
GREEDY = Policy.of(Settings(configurator="EpsilonGreedy"), ARMS)
UCB = Policy.of(Settings(configurator="DiscountedUCB"), ARMS)
POLICIES = pytest.mark.parametrize("policy", [GREEDY, UCB], ids=["greedy", "ucb"])


def a_pull(round: int, peer: int, arm: Arm, gain: float, seconds: float = 1.0) -> Pull:
    return Pull(round, peer, "a", arm, gain, seconds)


def played(
    policy: Policy,
    worth: Callable[[Arm], float],
    rounds: int,
    *,
    peers: int = 3,
    feasible: Sequence[Arm] = ARMS,
) -> list[Pull]:
    """A run in which an arm's gain per second is ``worth``, shrinking by and by."""
    pulls: list[Pull] = []
    for round in range(rounds):  # noqa: A001  # the field's word
        now = [
            choose(policy, pulls, feasible, seed=17, round=round, peer=peer, kind="a")
            for peer in range(peers)
        ]
        pulls += [
            a_pull(round, peer, arm, worth(arm) / (1 + round) * (1 - arm), 1 - arm)
            for peer, arm in enumerate(now)
        ]
    return pulls


@POLICIES
@pytest.mark.parametrize("best", ARMS)
def test_an_arm_that_dominates_is_chosen_nearly_always(policy: Policy, best: Arm) -> None:
    pulls = played(policy, lambda arm: 2.0 if arm == best else 1.0, 400)
    late = Counter(pull.arm for pull in pulls if pull.round >= 100)
    floor = 1 - policy.least_exploration - 0.03 if policy is GREEDY else 0.5
    assert late[best] / late.total() >= floor


@POLICIES
def test_the_choice_follows_when_another_arm_becomes_better(policy: Policy) -> None:
    pulls = played(policy, lambda arm: 2.0 if arm == 0.2 else 1.0, 40)
    for round in range(40, 80):  # noqa: A001  # the field's word
        for peer in range(3):
            arm = choose(policy, pulls, ARMS, seed=17, round=round, peer=peer, kind="a")
            pulls.append(a_pull(round, peer, arm, 2.0 if arm == 0.6 else 1.0))
    late = Counter(pull.arm for pull in pulls if pull.round >= 60)
    assert late.most_common(1)[0][0] == 0.6


@given(
    st.lists(
        st.builds(
            Pull,
            st.integers(0, 20),
            st.integers(0, 3),
            st.sampled_from(["a", "b"]),
            st.sampled_from(ARMS),
            st.floats(-1, 1),
            st.floats(0.01, 100),
        ),
        max_size=30,
    ),
    st.lists(st.sampled_from(ARMS), min_size=1, unique=True).map(sorted),
    st.integers(0, 30),
    st.sampled_from([GREEDY, UCB]),
)
def test_a_choice_is_feasible_and_a_function_of_the_log(
    pulls: list[Pull], feasible: list[Arm], round: int, policy: Policy
) -> None:
    def chosen(seen: Sequence[Pull]) -> Arm:
        return choose(policy, seen, feasible, seed=17, round=round, peer=1, kind="a")

    assert chosen(pulls) in feasible
    of_others = [pull for pull in pulls if pull.kind == "b" or pull.round >= round]
    mine = [pull for pull in pulls if pull not in of_others]
    assert chosen(pulls) == chosen(mine)


@POLICIES
def test_at_first_the_arms_are_dealt_round(policy: Policy) -> None:
    pulls = played(policy, lambda _: 1.0, 3, peers=2)
    assert {pull.arm for pull in pulls} == set(ARMS)


def test_what_the_window_has_forgotten_is_untested_again() -> None:
    gains = zip(ARMS, (1.0, 1.0, 1.0, 5.0), strict=True)
    pulls = [a_pull(round, 0, arm, gain) for round, (arm, gain) in enumerate(gains)]  # noqa: A001
    assert [pull.arm for pull in recent(pulls, 5, 2)] == [0.6]
    stale = replace(UCB, window=2)
    assert choose(stale, pulls, ARMS, seed=17, round=5, peer=0, kind="a") == 0.0
    assert choose(UCB, pulls, ARMS, seed=17, round=5, peer=0, kind="a") == 0.6


def test_rewards_are_measured_within_the_round() -> None:
    """Twice the speed of everybody, or a later round with smaller gains, changes nothing."""
    first = [a_pull(0, peer, 0.2, gain) for peer, gain in enumerate((1.0, 2.0, 4.0))]
    later = [replace(pull, round=1, gain=pull.gain / 8, seconds=0.5) for pull in first]
    found = [reward for _, reward in rewards(first + later)]
    assert found == pytest.approx([-1, 0, 2] * 2, rel=0.01)


def test_few_peers_are_measured_against_their_past() -> None:
    pulls = [a_pull(round, 0, 0.0, gain) for round, gain in enumerate((1.0, 3.0, 2.0))]  # noqa: A001
    found = [reward for _, reward in rewards(pulls)]
    assert found == pytest.approx([0, 1, 0], abs=0.01)


def test_who_was_worst_twice_takes_the_best_arm() -> None:
    eager = replace(GREEDY, exploration=1.0, least_exploration=1.0)
    pulls = [
        a_pull(round, peer, arm, gain)
        for round in (10, 11)  # noqa: A001
        for peer, arm, gain in ((0, 0.0, 1.0), (1, 0.2, 3.0), (2, 0.4, 2.0))
    ]
    assert choose(eager, pulls, ARMS, seed=17, round=12, peer=0, kind="a") == 0.2
    assert choose(eager, pulls, ARMS, seed=17, round=12, peer=1, kind="a") != 0.2


def test_exploration_falls_to_its_floor() -> None:
    chances = [exploration(GREEDY, number) for number in range(200)]
    assert chances[0] == pytest.approx(0.3)
    assert chances == sorted(chances, reverse=True)
    assert chances[-1] == pytest.approx(0.05)


def test_arms_that_take_too_long_are_left_out() -> None:
    depths = {arm: 10 * (1 - arm) for arm in ARMS}
    pulls = [a_pull(0, 0, 0.0, 1.0, 12.0), a_pull(1, 0, 0.2, 1.0, 10.0)]
    assert in_time(depths, pulls, 0, None) == set(ARMS)
    assert in_time(depths, pulls[:1], 0, 5) == set(ARMS)
    assert in_time(depths, pulls, 1, 5) == set(ARMS)
    assert in_time(depths, pulls, 0, 9) == {0.4, 0.6}
    assert in_time(depths, pulls, 0, 1) == {0.6}


def a_configurator(room: int, arms: list[str] | None = None, num_layers: int = 12) -> Configurator:
    settings = Settings(configurator="EpsilonGreedy", shape="Uniform", protect="None", arms=arms)
    weights = shape_weights(Shape.UNIFORM, num_layers)
    return Configurator(
        settings, 0, 17, lambda arm: water_fill(weights, (), arm, 0.95), lambda n: n <= room
    )


def test_a_machine_with_little_memory_tries_only_what_fits() -> None:
    tight, wide = a_configurator(room=5), a_configurator(room=12)
    chosen: dict[str, set[Arm]] = {"tight": set(), "wide": set()}
    for number in range(30):
        for name, each in (("tight", tight), ("wide", wide)):
            arm = each.pick(number, name)
            chosen[name].add(arm)
            each.note(number, {0: Trial(arm, 1.0, 1 - arm / 2, name)})
    assert chosen["tight"] <= {0.6, 0.7, 0.8}
    assert 0.0 in chosen["wide"]


def test_a_slow_and_a_tight_machine_come_to_different_rates() -> None:
    """For the tight one only much dropping fits; for the other one dropping costs more than it saves."""
    rates = {}
    for name, room, worth in (("tight", 4, 1.0), ("slow", 12, 3.0)):
        each = a_configurator(room)
        found = Counter[Arm]()
        for number in range(60):
            arm = each.pick(number, name)
            found[arm] += number >= 20
            each.note(number, {0: Trial(arm, (1 - arm) ** worth, 1 - arm / 2, name)})
        rates[name] = found.most_common(1)[0][0]
    assert rates["slow"] == 0.0
    assert rates["tight"] == pytest.approx(0.7)


def test_no_arm_that_fits_is_refused() -> None:
    with pytest.raises(Unsuited, match=r"arms: a step does not fit .* lower training\.microBatch"):
        a_configurator(room=2)
    assert a_configurator(room=2, arms=["0.85"]).pick(0, "a") == 0.85


def test_an_arm_that_the_model_has_no_layers_for_is_refused_if_it_was_asked_for() -> None:
    settings = Settings(configurator="EpsilonGreedy", arms=["0.4", "0.8"])
    weights = shape_weights(Shape.INCREMENTAL, 6)

    def made(chosen: Settings) -> Configurator:
        return Configurator(
            chosen, 0, 17, lambda arm: water_fill(weights, (0, 5), arm, 0.95), lambda _: True
        )

    with pytest.raises(Unsuited, match=r"method\.dropPEFT\.arms: a drop rate of 0\.8 needs"):
        made(settings)
    made(Settings(configurator="EpsilonGreedy"))


def test_what_it_has_learned_can_be_saved() -> None:
    one, other = a_configurator(12), a_configurator(12)
    for number in range(12):
        one.note(number, {0: Trial(one.pick(number, "a"), 1.0, 2.0, "a")})
    other.load(one.state())
    assert [one.pick(n, "a") for n in range(12, 20)] == [other.pick(n, "a") for n in range(12, 20)]
    assert Kind.OFF is Settings().configurator
