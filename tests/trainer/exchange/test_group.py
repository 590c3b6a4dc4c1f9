"""What members of a group tell one another before bytes move."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from haversack_trainer.exchange.carrier import GroupError
from haversack_trainer.exchange.group import Group, Host, meeting_of, read_note
from haversack_trainer.exchange.wire import MAX_BLOB_BYTES

SHA256 = "ab" * 32


@pytest.mark.parametrize("size", [0, 17, MAX_BLOB_BYTES])
def test_a_note_says_how_many_bytes_and_which(size: int) -> None:
    assert read_note(3, f"{size} {SHA256}".encode()) == (size, SHA256)


@pytest.mark.parametrize(
    "note", [f"{MAX_BLOB_BYTES + 1} {SHA256}", f"-1 {SHA256}", f"many {SHA256}", "17", "", "\udcff"]
)
def test_nothing_is_allocated_for_what_no_member_may_bring(note: str) -> None:
    with pytest.raises(GroupError, match="peer 3 does not say how many bytes it brings"):
        read_note(3, note.encode(errors="surrogateescape"))


def test_a_group_meets_where_it_is_told_though_the_pod_talks_over_loopback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As in the first process of a pod that shares its model out: gloo's variable is for the pod's own group."""
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "no-such-interface")
    hosts = [Host("127.0.0.2", 10.0) for _ in range(2)]
    meeting = meeting_of(1, (0, 1), {peer: host.address for peer, host in enumerate(hosts)})
    assert meeting is not None
    got: dict[int, bytes] = {}

    def member(me: int) -> Group:
        group = Group(meeting, me, hosts[me])
        group.gather(0, b"from %d" % me, lambda: None, got.__setitem__)
        return group

    with ThreadPoolExecutor(2) as pool:
        groups = list(pool.map(member, (0, 1)))
    assert got == {0: b"from 0", 1: b"from 1"}
    assert " 0200007F:" in Path("/proc/self/net/tcp").read_text()
    for group in groups:
        group.close()
