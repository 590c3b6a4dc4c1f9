"""Frames survive the wire bit for bit, and damage never goes unnoticed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haversack_trainer.contract.records import (
    HEADER_BYTES,
    MAX_BODY_BYTES,
    CorruptRecord,
    Kind,
    Record,
    chain,
    decode,
    genesis,
)

records = st.builds(
    Record,
    kind=st.sampled_from(list(Kind)),
    peer=st.integers(0, 0xFFFF),
    round=st.integers(0, 2**32 - 1),
    body=st.binary(max_size=64),
    aux=st.integers(-128, 127),
)


@given(st.lists(records, max_size=8))
def test_what_is_encoded_is_decoded(run: list[Record]) -> None:
    frames = b"".join(record.encode() for record in run)
    assert list(decode(frames)) == run
    assert len(frames) == sum(record.num_bytes for record in run)


@given(record=records, data=st.data())
def test_any_flipped_bit_is_noticed(record: Record, data: st.DataObject) -> None:
    frame = bytearray(record.encode())
    at = data.draw(st.integers(0, 8 * len(frame) - 1))
    frame[at // 8] ^= 1 << at % 8
    with pytest.raises(CorruptRecord):
        list(decode(bytes(frame)))


@given(record=records, data=st.data())
def test_any_truncation_is_noticed(record: Record, data: st.DataObject) -> None:
    frame = record.encode()
    with pytest.raises(CorruptRecord, match="truncated"):
        list(decode(frame[: data.draw(st.integers(1, len(frame) - 1))]))


@given(st.binary(min_size=1, max_size=200))
def test_random_bytes_are_corrupt_and_nothing_worse(data: bytes) -> None:
    with pytest.raises(CorruptRecord):
        list(decode(data))


def test_records_before_a_damaged_one_are_still_read() -> None:
    good = Record(Kind.PAYLOAD, 1, 2, b"x")
    stream = decode(good.encode() + b"\x00" * HEADER_BYTES)
    assert next(stream) == good
    with pytest.raises(CorruptRecord, match=f"at byte {good.num_bytes}"):
        next(stream)


def test_a_body_of_64_kib_is_too_much() -> None:
    assert Record(Kind.PAYLOAD, 0, 0, bytes(MAX_BODY_BYTES)).encode()
    with pytest.raises(CorruptRecord, match="65536 bytes, at most 65535"):
        Record(Kind.PAYLOAD, 0, 0, bytes(MAX_BODY_BYTES + 1)).encode()


def test_the_bytes_of_a_frame_are_frozen() -> None:
    """Peers of different versions and machines read one log: this must never change."""
    frame = Record(Kind.PAYLOAD, peer=3, round=258, body=b"hi", aux=-2).encode()
    assert frame.hex() == "04fe020003000000020100008b3681c66869"
    assert chain(genesis("run"), frame).hex() == (
        "aaa1bbfef3cadfe5f9ce1a89d8d27b717c291d16b305630bcfacef97c8fb67e5"
    )
