from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from adapter_states import A, B, State, a_state, product, states

from haversack_trainer.exchange.topology import Graph, Topology, topology
from haversack_trainer.methods.declora.kinds import Graph as Chosen
from haversack_trainer.methods.declora.kinds import Weights
from haversack_trainer.methods.declora.mixers.base import averaged
from haversack_trainer.methods.declora.mixing import disagreement, open_shares, towards
from haversack_trainer.methods.declora.network import mixing, network
from haversack_trainer.methods.declora.settings import Settings
from haversack_trainer.methods.declora.word import Word


def mean(all_: Mapping[int, State]) -> State:
    return averaged(dict.fromkeys(all_, 1 / len(all_)), all_)


def mix_all(all_: Mapping[int, State], graph: Topology, shut: frozenset[int]) -> dict[int, State]:
    """``shut``: two peers whose edge is shut."""
    return {
        me: averaged(open_shares(graph, me, shut - {me} if me in shut else frozenset()), all_)
        for me in all_
    }


@pytest.mark.parametrize("graph", list(Graph))
@pytest.mark.parametrize("num_peers", [1, 2, 5, 8])
def test_mixing_preserves_the_mean_and_contracts_by_rho(graph: Graph, num_peers: int) -> None:
    found = topology(graph, tuple(range(num_peers)), seed=3)
    all_ = states(7, num_peers)
    mixed = mix_all(all_, found, frozenset())
    for name, values in mean(all_).items():
        assert mean(mixed)[name] == pytest.approx(values, abs=1e-6)
    before, after = (disagreement(s)["consensus_distance"] for s in (all_, mixed))
    assert after <= found.rho * before + 1e-6


@pytest.mark.parametrize("graph", list(Graph))
def test_a_shut_edge_leaves_the_mean_where_it_was(graph: Graph) -> None:
    found, all_ = topology(graph, tuple(range(6)), seed=3), states(8, 6)
    mixed = mix_all(all_, found, frozenset({0, found.neighbours(0)[0]}))
    for name, values in mean(all_).items():
        assert mean(mixed)[name] == pytest.approx(values, abs=1e-6)


@pytest.mark.parametrize("graph", [graph for graph in Chosen if graph is not Chosen.EDGES])
def test_the_graph_is_over_those_who_published(graph: Chosen) -> None:
    chosen = Settings(graph=graph)
    found = network(chosen.shape, 3, dict.fromkeys((0, 2, 5), Word()), 0)
    assert found.peers == (0, 2, 5)
    assert mixing(chosen.shape, found) < 1


def test_listed_edges_are_kept_and_parts_that_lost_their_link_are_joined() -> None:
    chosen = Settings(graph=Chosen.EDGES, edges=["0-1", "1-2", "3-2", "3-4"])
    whole = network(chosen.shape, 0, dict.fromkeys(range(5), Word()), 0)
    assert [whole.neighbours(peer) for peer in range(5)] == [(1,), (0, 2), (1, 3), (2, 4), (3,)]
    left = network(chosen.shape, 0, dict.fromkeys((0, 1, 3, 4), Word()), 0)
    assert left.neighbours(0) == (1, 3)
    assert left.rho < 1


def test_by_samples_peers_count_as_they_have_data() -> None:
    said = {peer: Word(num_samples=count) for peer, count in enumerate((10, 30, 60))}
    found = network(Settings(weights=Weights.SAMPLES).shape, 0, said, 0)
    assert [found.share(peer) for peer in range(3)] == pytest.approx([0.1, 0.3, 0.6])
    star = network(Settings(weights=Weights.SAMPLES, graph=Chosen.STAR).shape, 0, said, 0)
    assert star.row(1) == pytest.approx({0: 0.1, 1: 0.3, 2: 0.6})


def test_the_bound_on_the_product_bias_holds() -> None:
    all_ = states(9, 4)
    seen = disagreement(all_)
    bias = np.mean([product(s) for s in all_.values()], axis=0) - product(mean(all_))
    assert 0 < np.linalg.norm(bias) <= seen["product_bias_bound"]
    percent = 100 * seen["product_bias_bound"] / np.linalg.norm(product(mean(all_)))
    assert seen["product_bias_percent"] == pytest.approx(percent, rel=1e-5)


def test_equal_states_do_not_disagree() -> None:
    state = a_state(2)
    seen = disagreement({1: state, 4: state})
    assert seen == {
        "consensus_distance": 0,
        "product_bias_bound": 0,
        "product_bias_percent": 0,
    }


def test_without_a_product_there_is_nothing_to_measure_its_bias_by() -> None:
    blank = a_state(2) | {B: np.zeros((5, 2), "f4")}
    assert disagreement({0: blank, 1: blank | {A: blank[A] * 2}})["product_bias_percent"] == 0


def test_going_by_what_was_sent_leaves_the_mean_where_it_was() -> None:
    graph, all_ = topology("Ring", tuple(range(5))), states(11, 5)
    sent = {
        p: {n: (v + 0.3 * np.sin(9 * v)).astype("f4") for n, v in s.items()}
        for p, s in all_.items()
    }
    mixed = {
        me: towards(all_[me], sent[me], averaged(graph.row(me), sent), 0.7) for me in graph.peers
    }
    for name, values in mean(all_).items():
        assert mean(mixed)[name] == pytest.approx(values, abs=1e-6)
