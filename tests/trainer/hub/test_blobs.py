"""Blobs of recent rounds stay, old ones go, half ones never were."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from haversack_trainer.contract.records import CorruptRecord
from haversack_trainer.hub.blobs import GRACE_SECONDS, Blobs


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def put(blobs: Blobs, data: bytes) -> str:
    digest = hashlib.sha256(data).hexdigest()
    incoming = blobs.receive(digest)
    incoming.write(data)
    incoming.commit()
    incoming.discard()
    return digest


def test_only_old_and_unneeded_blobs_are_removed(tmp_path: Path) -> None:
    clock = Clock()
    blobs = Blobs(tmp_path, clock)
    old, needed = put(blobs, b"old"), put(blobs, b"needed")
    clock.now += GRACE_SECONDS + 1
    new = put(blobs, b"new")
    blobs.sweep({needed}, ())
    assert [blobs.has(digest) for digest in (old, needed, new)] == [False, True, True]


def test_a_past_round_s_blobs_go_at_once(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path, Clock())
    past, same, early = (put(blobs, data) for data in (b"past", b"same", b"early"))
    blobs.sweep({same}, [past, same, "0" * 64])
    assert [blobs.has(digest) for digest in (past, same, early)] == [False, True, True]


def test_a_broken_upload_leaves_nothing(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path, Clock())
    incoming = blobs.receive("0" * 64)
    incoming.write(b"half")
    with pytest.raises(CorruptRecord, match="do not have the sha256"):
        incoming.commit()
    incoming.discard()
    assert list(tmp_path.iterdir()) == []


def test_a_restart_removes_what_was_under_way(tmp_path: Path) -> None:
    kept = put(Blobs(tmp_path, Clock()), b"kept")
    (tmp_path / "deadbeef.part").write_bytes(b"half")
    assert Blobs(tmp_path, Clock()).has(kept)
    assert [path.name for path in tmp_path.iterdir()] == [kept]


@pytest.mark.parametrize("digest", ["", "../../etc/passwd", "0" * 63, "A" * 64, "0" * 64 + "\n"])
def test_addresses_are_digests(tmp_path: Path, digest: str) -> None:
    with pytest.raises(CorruptRecord, match="sha256 in lower-case hex"):
        Blobs(tmp_path, Clock()).path(digest)
