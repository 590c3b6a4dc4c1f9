"""The preset: a job with the paper's settings is the paper's algorithm."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from declora_peers import Peer
from toys import ToyNetwork

from haversack_trainer.methods.declora.kinds import Graph, Weights
from haversack_trainer.methods.declora.network import network
from haversack_trainer.methods.declora.settings import Settings
from haversack_trainer.methods.declora.word import Word

EXAMPLE = Path(__file__).parents[3] / "examples/declora-paper.yaml"


@pytest.fixture
def paper() -> Settings:
    spec = yaml.safe_load(EXAMPLE.read_text())["spec"]
    assert spec["adapter"]["lora"]["rank"] == 16
    assert sum(pool["peers"]["replicas"] for pool in spec["pools"]) == 10
    return Settings.model_validate(spec["method"]["decLoRA"])


def test_ten_clients_on_a_ring_weigh_a_third_each(paper: Settings) -> None:
    found = network(paper.shape, 0, dict.fromkeys(range(10), Word()), 0)
    third = pytest.approx(1 / 3)
    assert found.row(0) == {0: third, 1: third, 9: third}
    assert not paper.is_chained


def test_on_erdos_renyi_graphs_its_weights_are_those_of_the_laplacian(paper: Settings) -> None:
    chosen = paper.model_copy(update={"graph": Graph.ERDOS_RENYI, "weights": Weights.LAPLACIAN})
    found = network(chosen.shape, 17, dict.fromkeys(range(10), Word()), 0)
    laplacian = np.diag(found.adjacency.sum(axis=1)) - found.adjacency
    largest = np.linalg.eigvalsh(laplacian).max()
    np.testing.assert_allclose(
        found.weights, np.eye(10) - 2 * laplacian / (3 * largest), atol=1e-12
    )


def test_a_and_b_become_the_thirds_of_what_three_have_sent(paper: Settings) -> None:
    network_, peers = ToyNetwork(), {}
    for n in range(5):
        peers[n] = Peer(n, weights=paper.weights, mixer=paper.mixer, codec=paper.codec)
        peers[n].method.local_step(0)
    sent = {n: peer.vector() for n, peer in peers.items()}
    closed = network_.close(0, {n: peer.method.outgoing() for n, peer in peers.items()})
    for n, peer in peers.items():
        peer.method.incoming(network_.swap(closed, n))
        expected = (sent[(n - 1) % 5] + sent[n] + sent[(n + 1) % 5]) / 3
        assert peer.vector().numpy() == pytest.approx(expected.numpy(), abs=1e-6)
