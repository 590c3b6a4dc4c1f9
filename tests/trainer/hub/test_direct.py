"""Blobs from member to member, a real hub beside: what is carried, and what happens when it is not.

Members are threads with process groups of their own; a member dies as a process does, by its connections. One is a process.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from faulty_group import Fault, Faulty, FaultyDirect, blob_of
from hub_certificates import Authority
from hub_harness import HubThread, a_join, json_of
from run_harness import wait_until
from swapping import swap

from haversack_trainer.contract.membership import Start
from haversack_trainer.contract.records import Kind
from haversack_trainer.exchange.base import Outgoing, Swap
from haversack_trainer.exchange.carrier import GroupError
from haversack_trainer.exchange.direct import Direct
from haversack_trainer.exchange.http import HttpExchange

HERE = Path(__file__).parents[2]
LEASE_SECONDS = 2.0


class PowerCut(Exception):
    """Ends a member's sending thread where it stands."""


def never() -> bool:
    return False


@dataclass
class Site:
    """Three members over one hub."""

    hub: HubThread
    faults: dict[int, dict[str, Fault]] = field(default_factory=lambda: {0: {}, 1: {}, 2: {}})
    members: list[HttpExchange] = field(default_factory=list)

    def carrier(self, peer: int) -> Direct:
        return FaultyDirect(peer, self.faults[peer])

    def gathered(self, *peers: int) -> Site:
        self.members = self.hub.joined(*peers, carriers=self.carrier)
        return self

    def round(self, number: int, *peers: int) -> dict[int, Swap]:
        """All of ``peers`` at once."""
        members = [member for member in self.members if member.me in peers]
        with ThreadPoolExecutor(len(members)) as pool:
            swaps = pool.map(
                lambda member: swap(member, number, blob_of(number, member.me)), members
            )
            return dict(zip((member.me for member in members), swaps, strict=True))

    @property
    def blobs_on_hub(self) -> int:
        return len(list((self.hub.folder / "blobs").iterdir()))


def check(swaps: dict[int, Swap], number: int, *members: int) -> None:
    """All saw the same round, and can take exactly its members' blobs."""
    assert len({swapped.closed for swapped in swaps.values()}) == 1
    for swapped in swaps.values():
        assert swapped.closed.members == members
        for peer in members:
            assert swapped.fetch(peer) == blob_of(number, peer).blob


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with ExitStack() as stack:
        authority = Authority(tmp_path / "tls")
        hub = stack.enter_context(HubThread(tmp_path, authority, lease_seconds=LEASE_SECONDS))
        yield Site(hub)


def test_blobs_do_not_touch_the_hub(site: Site) -> None:
    site.gathered(0, 1, 2)
    for number in range(3):
        check(site.round(number, 0, 1, 2), number, 0, 1, 2)
    assert site.blobs_on_hub == 0
    assert all(member.bytes_sent > 3 * 2 * 170 for member in site.members)
    assert site.members[0].state.grouping.num_failures == 0


def test_who_has_nothing_to_send_takes_part_all_the_same(site: Site) -> None:
    first, second = site.gathered(0, 1).members
    second.publish(0, Outgoing(), never)
    first.publish(0, Outgoing(blob=b"x"), never)
    assert second.collect(0, never).fetch(0) == b"x"
    assert first.collect(0, never).closed.payloads[1].body == b""
    assert site.blobs_on_hub == 0


def dies(site: Site) -> Fault:
    """The connections of the member break; its lease expires."""

    def cut(group: Faulty, _round: int) -> None:
        group.close()
        # Its store goes with it, if the others meet there.
        del group._store, group._host.store
        victim = next(member for member in site.members if member.me == group.me)
        victim._feed.close()
        raise PowerCut

    return cut


POINTS = (
    "before",
    "says brings",
    "said brings",
    "all say brings",
    "says holds",
    "said holds",
    "after",
)


DEATHS = [(1, point) for point in POINTS] + [(0, "said brings"), (0, "says holds")]
"""Peer 0's process has the store that all meet at."""


@pytest.mark.parametrize(("victim", "point"), DEATHS)
def test_a_member_dies_in_a_gather_and_the_others_take_the_same(
    site: Site, victim: int, point: str, caplog: pytest.LogCaptureFixture
) -> None:
    others = [peer for peer in (0, 1, 2) if peer != victim]
    site.gathered(0, 1, 2)
    check(site.round(0, 0, 1, 2), 0, 0, 1, 2)
    site.faults[victim][point] = dies(site)
    dead = site.members[victim]
    dead.publish(1, blob_of(1, victim), never)
    check(site.round(1, *others), 1, *others)
    left = site.members[others[0]].state.history[-1]
    assert (left.peer, left.joined) == (victim, False)
    if (victim, point) in {(1, "before"), (1, "says brings")}:
        assert f"peer {victim} is gone; nothing was heard of peer {victim}" in caplog.text
    before = site.blobs_on_hub
    check(site.round(2, *others), 2, *others)
    # The next group is another one, and works.
    assert site.blobs_on_hub == before


def test_a_process_is_killed_in_a_gather_and_the_others_take_the_same(site: Site) -> None:
    """As above, but the kernel ends it."""
    command = [sys.executable, str(HERE / "direct_member.py"), str(site.hub.port)]
    tls = site.hub.authority.folder("peer-2")
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([*command, str(tls), site.hub.run], env=environ)
    try:
        site.members = [site.hub.exchange(peer, carrier=site.carrier(peer)) for peer in (0, 1)]
        for member in site.members:
            member.join(a_join(f"first-{member.me}"))
        assert site.members[0].wait_for(lambda state: len(state.view) == 3, never, 60)
        site.members[0].append(Kind.START, 0, json_of(Start()))
        assert site.members[1].wait_for(lambda state: state.start is not None, never, 10)
        check(site.round(0, 0, 1), 0, 0, 1, 2)
        check(site.round(1, 0, 1), 1, 0, 1)
        assert process.wait(10) == -signal.SIGKILL
    finally:
        process.kill()
        process.wait()
    before = site.blobs_on_hub
    check(site.round(2, 0, 1), 2, 0, 1)
    assert site.blobs_on_hub == before


def breaks(group: Faulty, round: int) -> None:
    """The member's connections break, but it lives."""
    if round == 1:
        group.close()
        raise GroupError("connection reset")


@pytest.mark.parametrize("point", POINTS[:-1])
def test_a_broken_group_costs_a_round_over_the_hub_and_is_followed_by_another(
    site: Site, point: str
) -> None:
    site.faults[1][point] = breaks
    site.gathered(0, 1, 2)
    for number, blobs in enumerate((range(1), range(1, 4))):
        check(site.round(number, 0, 1, 2), number, 0, 1, 2)
        # Who broke brings its blob; whoever heard of all that they hold everything brings none.
        assert site.blobs_on_hub in blobs
    before = site.blobs_on_hub
    check(site.round(2, 0, 1, 2), 2, 0, 1, 2)
    assert site.blobs_on_hub == before
    assert site.members[0].state.grouping.num_failures == 0


def test_damaged_bytes_are_replaced_over_the_hub(site: Site) -> None:
    def damage(group: Faulty, round: int) -> None:
        group._mesh = Damaging(group._connected()) if round == 0 else group._mesh  # type: ignore[assignment]

    site.faults[2]["all say brings"] = damage
    site.gathered(0, 1, 2)
    check(site.round(0, 0, 1, 2), 0, 0, 1, 2)
    assert site.blobs_on_hub == 3


class Damaging:
    """A mesh that flips a bit of what it receives."""

    def __init__(self, mesh: object) -> None:
        self._mesh = mesh

    def _allgather_base(self, everything: object, mine: object) -> Damaging:
        self._everything = everything
        self._work = self._mesh._allgather_base(everything, mine)  # type: ignore[attr-defined]
        return self

    def wait(self) -> None:
        self._work.wait()
        self._everything[0] ^= 1  # type: ignore[index]


def test_a_newcomer_finds_what_the_members_held_back(site: Site) -> None:
    site.gathered(0, 1)
    check(site.round(0, 0, 1), 0, 0, 1)
    assert site.blobs_on_hub == 0
    late = site.hub.exchange(2, carrier=site.carrier(2))
    late.join(a_join("late"))
    assert site.members[0].wait_for(lambda state: state.is_member(2), never, 10)
    check(site.round(1, 0, 1), 1, 0, 1)
    assert late.wait_for(lambda state: 2 in state.view, never, 10)
    closed = late.state.closed[-1]
    assert [late.fetch(closed, peer) for peer in (0, 1)] == [blob_of(1, p).blob for p in (0, 1)]
    wait_until(lambda: site.blobs_on_hub == 2)
    site.members.append(late)
    check(site.round(2, 0, 1, 2), 2, 0, 1, 2)
    assert site.blobs_on_hub == 2


def test_a_newcomer_finds_what_the_newest_blobs_build_on(site: Site) -> None:
    (only,) = site.gathered(0).members
    for number, num_before in enumerate((0, 1, 0, 1, 2)):
        if number == 4:
            late = site.hub.exchange(1, carrier=site.carrier(1))
            late.join(a_join("late"))
            assert only.wait_for(lambda state: state.is_member(1), never, 10)
        swap(only, number, Outgoing(aux=num_before, blob=b"%d" % number))
    assert late.wait_for(lambda state: 1 in state.view, never, 10)
    assert [late.fetch(closed, 0) for closed in late.state.closed[2:]] == [b"2", b"3", b"4"]
    assert site.blobs_on_hub == 3


def test_a_member_without_an_address_sends_all_over_the_hub(site: Site) -> None:
    first = site.hub.exchange(0, carrier=site.carrier(0))
    second = site.hub.exchange(1)
    first.join(a_join("a"))
    second.join(a_join("b"))
    site.members = [first, second]
    assert first.wait_for(lambda state: len(state.view) == 2, never, 10)
    first.append(Kind.START, 0, json_of(Start()))
    assert second.wait_for(lambda state: state.start is not None, never, 10)
    check(site.round(0, 0, 1), 0, 0, 1)
    assert site.blobs_on_hub == 2


def test_an_address_that_nobody_can_listen_at_is_said_at_once() -> None:
    with pytest.raises(GroupError, match="no store at 203"):
        Direct("203.0.113.7", 0, 1.0)
