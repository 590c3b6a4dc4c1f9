"""What private methods that send states count alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import declora_peers
import droppeft_peers
import pytest
from toys import ToyNetwork

from haversack_trainer.contract.cards import MethodSettings
from haversack_trainer.contract.privacy import DeltaPrivacy
from haversack_trainer.methods.declora.kinds import MixerKind
from haversack_trainer.methods.declora.settings import Settings as LoraSettings
from haversack_trainer.methods.droppeft.settings import Settings as DropSettings
from haversack_trainer.privacy.account import Budget

BUDGET: Final = DeltaPrivacy(noise_multiplier="4", max_epsilon="9")
APeer = Callable[[], declora_peers.Peer | droppeft_peers.Peer]
PEERS: Final[dict[str, APeer]] = {
    "DecLoRA": lambda: declora_peers.Peer(0, mixer=MixerKind.FFA, privacy=BUDGET),
    "DropPEFT": lambda: droppeft_peers.Peer(0, privacy=BUDGET),
}
SETTINGS: Final[dict[str, Callable[[DeltaPrivacy], MethodSettings]]] = {
    "DecLoRA": lambda privacy: LoraSettings(mixer=MixerKind.FFA, privacy=privacy),
    "DropPEFT": lambda privacy: DropSettings(privacy=privacy),
}


@pytest.mark.parametrize("name", PEERS)
def test_a_new_process_goes_on_counting(name: str) -> None:
    network, first, second = ToyNetwork(), PEERS[name](), PEERS[name]()
    network.run({0: first.method}, 0)
    second.method.load_state_dict(first.method.state_dict())
    network.run({0: first.method}, 1)
    second.method.catch_up(network.history[1:], network.fetch)
    told = second.method.local_step(2).metrics["epsilon"]
    assert told == pytest.approx(Budget(BUDGET).epsilon(3))


@pytest.mark.parametrize("name", PEERS)
def test_a_step_tells_what_is_to_be_kept_before_it_is_published(name: str) -> None:
    peer = PEERS[name]()
    step = peer.method.local_step(0)
    assert step.spent == peer.method.state_dict()["spent"] == [1, 1, 0, 1]


@pytest.mark.parametrize("name", SETTINGS)
def test_a_single_round_must_be_within_the_budget(name: str) -> None:
    assert SETTINGS[name](BUDGET).fault(3) is None
    small = DeltaPrivacy(max_epsilon="1")
    assert "first round" in (SETTINGS[name](small).fault(3) or "")
