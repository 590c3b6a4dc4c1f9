"""Every method over every transport, undisturbed and disturbed. A new method needs no line here."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import run_harness
import torch
from run_harness import (
    TRANSPORTS,
    Crew,
    Killed,
    Memory,
    Transport,
    has_come_to,
    wait_until,
)
from safetensors.torch import load_file
from torch import Tensor

from haversack_trainer.contract.cards import METHODS
from haversack_trainer.exchange.base import Stopped

ROUNDS = 6


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_harness.a_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_harness.a_data_file(tmp_path_factory.mktemp("data") / "train.jsonl")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Peers share the cores, and sums must not depend on how many threads make them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=sorted(METHODS))
def method(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=sorted(TRANSPORTS))
def connect(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Transport]]:
    """Each call begins a new log."""
    with ExitStack() as stack:

        def connect() -> Transport:
            folder = tmp_path / f"hub-{len(list(tmp_path.glob('hub-*')))}"
            folder.mkdir()
            transport: Transport = stack.enter_context(TRANSPORTS[request.param](folder))
            return transport

        yield connect


Crewed = Callable[..., Crew]


@pytest.fixture
def crew(method: str, model: Path, data: Path, tmp_path: Path) -> Crewed:
    """Makes crews of three; those with the same ``store`` go on where the one before stopped."""

    def make(transport: Transport, store: str = "store", **changes: Any) -> Crew:
        job = run_harness.a_job(model, data, tmp_path / store, method, **changes)
        made = Crew(transport, job, tmp_path)
        for peer in range(3):
            made.add(peer)
        return made

    return make


def digest(state: dict[str, Tensor]) -> str:
    raw = b"".join(name.encode() + state[name].numpy().tobytes() for name in sorted(state))
    return hashlib.sha256(raw).hexdigest()


def members(crew: Crew) -> list[tuple[int, ...]]:
    """Of each closed round; all who saw the end agree on the rounds to the byte."""
    logs = [peer.exchange.state.closed for peer in crew.survivors]
    assert all(log == logs[0] for log in logs)
    return [closed.members for closed in logs[0]]


def adapter(crew: Crew) -> str:
    """Digest of the published adapter: finite, and what every survivor makes out of the log."""
    publication = crew.survivors[0].exchange.state.publication
    assert publication is not None
    folder = Path(publication.uri.removeprefix("file://"))
    published = load_file(folder / "adapter_model.safetensors")
    assert all(torch.isfinite(tensor).all() for tensor in published.values())
    assert {digest(peer.consensus()) for peer in crew.survivors} == {digest(published)}
    return digest(published)


def check_replicas(crew: Crew, method: str) -> None:
    """Where everybody gets everybody's bytes, all end in the same state, bit by bit."""
    states = {peer.material.model.trainables_digest() for peer in crew.survivors}
    assert METHODS[method].ring_edges or len(states) == 1


def test_an_undisturbed_run(crew: Crewed, connect: Callable[[], Transport], method: str) -> None:
    three = crew(connect())
    three.run()
    assert len(three.survivors) == 3
    assert members(three) == [(0, 1, 2)] * ROUNDS
    assert adapter(three)
    check_replicas(three, method)


def test_a_peer_is_killed_in_a_round(
    crew: Crewed, connect: Callable[[], Transport], method: str
) -> None:
    three = crew(connect())
    victim = three.peers[1]

    def power_cut() -> bool:
        if victim.round >= 2:
            raise Killed
        return False

    victim.stop = power_cut
    three.run()
    assert members(three) == [(0, 1, 2)] * 2 + [(0, 2)] * (ROUNDS - 2)
    assert adapter(three)
    check_replicas(three, method)


def test_a_peer_joins_late(crew: Crewed, connect: Callable[[], Transport], method: str) -> None:
    three = crew(connect(), gangTimeoutSeconds=1)
    early, late = three.peers[0], three.peers[2]

    def when_the_other_has_come() -> bool:
        if early.round == 3:
            wait_until(lambda: early.exchange.wait_for(lambda s: s.is_member(2), never, 0))
        return False

    early.stop = when_the_other_has_come
    late.begin = lambda: wait_until(lambda: early.round >= 3)
    three.run()
    assert members(three) == [(0, 1)] * 4 + [(0, 1, 2)] * (ROUNDS - 4)
    assert adapter(three)
    check_replicas(three, method)


def test_a_peer_misses_rounds_and_stays_a_member(
    crew: Crewed, connect: Callable[[], Transport], method: str
) -> None:
    transport, missed = connect(), (2, 3)
    three = crew(transport)
    slow = three.peers[1]

    def until_the_others_went_on() -> bool:
        if slow.round == missed[0] and transport.round in missed:
            for number in missed:
                wait_until(lambda: transport.published == {0, 2})
                transport.close_round()
                wait_until(partial(has_closed, transport, number))
            # However short its steps are, it knows what it has missed before it goes on.
            wait_until(lambda: slow.exchange.wait_for(lambda s: s.round > missed[-1], never, 0))
        return False

    slow.stop = until_the_others_went_on
    three.run()
    assert len(three.survivors) == 3
    expected = [(0, 2) if number in missed else (0, 1, 2) for number in range(ROUNDS)]
    assert members(three) == expected
    log = slow.exchange.state
    assert {change.peer for change in log.history if not change.joined} == set()
    assert [closed.missed for closed in log.closed] == [
        (1,) if number in missed else () for number in range(ROUNDS)
    ]
    late = [each.round for closed in log.closed for each in closed.late]
    assert late == [2]
    assert adapter(three)
    check_replicas(three, method)


def never() -> bool:
    return False


def has_closed(transport: Transport, number: int) -> bool:
    return transport.round > number


def test_a_stopped_run_resumes_as_if_nothing_had_happened(
    crew: Crewed, connect: Callable[[], Transport], method: str
) -> None:
    undisturbed, stopped = crew(Memory(), store="other"), crew(connect())
    undisturbed.run()
    for peer in stopped.peers.values():
        peer.stop = partial(has_come_to, peer, 3)
    stopped.run()
    assert [type(peer.error) for peer in stopped.peers.values()] == [Stopped] * 3
    resumed = crew(connect())
    resumed.run()
    start = resumed.survivors[0].exchange.state.start
    assert start is not None
    assert start.round == 3
    assert members(resumed) == [(0, 1, 2)] * (ROUNDS - 3)
    assert adapter(resumed) == adapter(undisturbed)
    check_replicas(resumed, method)
