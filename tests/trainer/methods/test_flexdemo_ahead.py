"""Which of the others' blobs FlexDeMo asks the exchange for while it computes ahead."""

from __future__ import annotations

from toys import ToyBatches, ToyModel, ToyNetwork

from haversack_trainer.methods.flexdemo.method import FlexDeMo
from haversack_trainer.methods.flexdemo.settings import Settings

SETTINGS = Settings(learning_rate="0.01", delay=1)


def wants(peers: dict[int, FlexDeMo], round: int) -> dict[int, bool]:
    for peer in peers.values():
        peer.local_step(round)
    return {n: peer.outgoing().wants_all for n, peer in peers.items()}


def test_payloads_are_fetched_meanwhile_but_a_state_only_by_who_lacks_it() -> None:
    network = ToyNetwork()
    peers = {n: FlexDeMo(SETTINGS, n, 17, ToyModel(), ToyBatches(n)) for n in range(3)}
    peers[2]._lose()
    assert all(wants(peers, 0).values())
    network.run(peers, 0)
    assert wants(peers, 1) == {0: False, 1: False, 2: True}, "peer 0 gives its state"
    network.run(peers, 1)
    assert all(wants(peers, 2).values())
