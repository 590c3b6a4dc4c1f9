"""What members of a group tell one another before bytes move."""

from __future__ import annotations

import pytest

from haversack_trainer.exchange.carrier import GroupError
from haversack_trainer.exchange.group import read_note
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
