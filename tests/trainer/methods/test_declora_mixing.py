from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from haversack_trainer.exchange.topology import Graph, topology
from haversack_trainer.methods.declora.mixing import among, combine, disagreement, mean

State = dict[str, NDArray[np.float32]]
RNG = np.random.default_rng(5)


def a_state(scale: float = 1.0) -> State:
    shapes = {"l.lora_A": (2, 5), "l.lora_B": (5, 2), "head": (3, 5)}
    return {name: (RNG.standard_normal(s) * scale).astype("f4") for name, s in shapes.items()}


def mix_all(states: Mapping[int, State], weights: NDArray[np.float64]) -> dict[int, State]:
    peers = sorted(states)
    return {
        me: combine(dict(zip(peers, weights[i], strict=True)), states) for i, me in enumerate(peers)
    }


@pytest.mark.parametrize("graph", list(Graph))
@pytest.mark.parametrize("num_peers", [1, 2, 5, 8])
def test_mixing_preserves_the_mean_and_contracts_by_rho(graph: Graph, num_peers: int) -> None:
    network = topology(graph, tuple(range(num_peers)), seed=3)
    states = {peer: a_state() for peer in range(num_peers)}
    mixed = mix_all(states, network.weights)
    for name, values in mean(states).items():
        assert mean(mixed)[name] == pytest.approx(values, abs=1e-6)
    before, after = (disagreement(s)["consensus_distance"] for s in (states, mixed))
    assert after <= network.rho * before + 1e-6


@pytest.mark.parametrize("graph", list(Graph))
@pytest.mark.parametrize("invalid", [(0,), (2, 3), (0, 1, 2, 3, 4, 5)])
def test_invalid_members_stay_out_and_the_others_keep_their_mean(
    graph: Graph, invalid: tuple[int, ...]
) -> None:
    peers = range(6)
    valid = np.array([peer not in invalid for peer in peers])
    weights = among(topology(graph, tuple(peers), seed=3).weights, valid)
    assert np.array_equal(weights, weights.T)
    assert (weights >= 0).all()
    assert weights.sum(axis=0) == pytest.approx(np.ones(6))
    assert (weights[~valid][:, valid] == 0).all()
    states = {peer: a_state() for peer in peers}
    mixed = mix_all(states, weights)
    survivors = [peer for peer in peers if valid[peer]]
    for name in states[0]:
        then, now = (sum((s[p][name] for p in survivors), np.zeros(1)) for s in (states, mixed))
        assert now == pytest.approx(then, abs=1e-5)
    assert all(np.array_equal(mixed[p]["head"], states[p]["head"]) for p in invalid)


def product(state: State) -> NDArray[np.float64]:
    return state["l.lora_B"].astype(np.float64) @ state["l.lora_A"]


def test_the_bound_on_the_product_bias_holds() -> None:
    states = {peer: a_state() for peer in range(4)}
    bias = np.mean([product(s) for s in states.values()], axis=0) - product(mean(states))
    assert 0 < np.linalg.norm(bias) <= disagreement(states)["product_bias_bound"]


def test_equal_states_do_not_disagree() -> None:
    state = a_state()
    assert disagreement({1: state, 4: state}) == {"consensus_distance": 0, "product_bias_bound": 0}


def test_sums_run_in_fp64_and_are_rounded_once() -> None:
    states: dict[int, State] = {
        peer: {"head": np.array([value], "f4")} for peer, value in enumerate((2**24, 1, -(2**24)))
    }
    assert combine(dict.fromkeys(states, 1.0), states)["head"].tolist() == [1.0]
