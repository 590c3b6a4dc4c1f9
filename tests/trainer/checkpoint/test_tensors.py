"""States survive the way to bytes and back, bit by bit; nothing else is accepted."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from haversack_trainer.checkpoint.manifest import CheckpointError
from haversack_trainer.checkpoint.tensors import (
    decode_state,
    decode_tensors,
    encode_state,
    encode_tensors,
)

DTYPES = [
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int8,
    torch.uint8,
    torch.bool,
]


@st.composite
def tensors(draw: st.DrawFn) -> torch.Tensor:
    shape = draw(st.lists(st.integers(0, 4), max_size=3))
    dtype = draw(st.sampled_from(DTYPES))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    tensor = (torch.randn(shape, generator=generator) * 50).abs().to(dtype)
    return tensor.transpose(0, -1) if len(shape) > 1 and draw(st.booleans()) else tensor


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
states = st.dictionaries(
    st.text() | st.integers(),
    st.recursive(
        scalars | tensors(),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.lists(inner, max_size=4).map(tuple)
            | st.dictionaries(st.text() | st.integers(), inner, max_size=4)
        ),
        max_leaves=12,
    ),
    max_size=4,
)


def same(left: Any, right: Any) -> bool:
    if type(left) is not type(right):
        return False
    match left:
        case torch.Tensor():
            return (
                left.dtype == right.dtype and left.shape == right.shape and raw(left) == raw(right)
            )
        case dict():
            return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
        case list() | tuple():
            return len(left) == len(right) and all(map(same, left, right))
        case float():
            return left == right or (math.isnan(left) and math.isnan(right))
    return bool(left == right)


def raw(tensor: torch.Tensor) -> bytes:
    return bytes(tensor.contiguous().flatten().view(torch.uint8).numpy()) if tensor.numel() else b""


@given(states)
@settings(deadline=None)
def test_a_state_comes_back_as_it_was(state: dict[str, Any]) -> None:
    assert same(decode_state(encode_state(state)), state)


@given(
    st.dictionaries(
        st.text(min_size=1).filter(lambda name: name != "__metadata__"), tensors(), max_size=5
    )
)
@settings(deadline=None)
def test_tensors_come_back_as_they_were(named: dict[str, torch.Tensor]) -> None:
    back = decode_tensors(encode_tensors(named))
    assert back.keys() == named.keys()
    assert all(same(back[name], named[name]) for name in named)


def test_equal_states_are_equal_bytes() -> None:
    state = {"step": 3, "momentum": {0: torch.ones(5), 1: torch.zeros(2, 2)}}
    assert encode_state(state) == encode_state(state)


def test_views_of_one_storage_are_saved_each() -> None:
    whole = torch.arange(6.0)
    back = decode_tensors(encode_tensors({"whole": whole, "part": whole[2:4]}))
    assert back["part"].tolist() == [2.0, 3.0]


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        (
            {"a": {"b": object()}},
            r"state\['a'\]\['b'\] is a object, which a checkpoint cannot hold",
        ),
        ({"a": [1, {2}]}, r"state\['a'\]\[1\] is a set"),
        ({"a": {1.5: 1}}, r"state\['a'\] has the key 1.5; keys are strings or whole numbers"),
        ({"a": {True: 1}}, r"has the key True"),
    ],
)
def test_what_cannot_be_kept_is_named(state: dict[str, Any], sentence: str) -> None:
    with pytest.raises(CheckpointError, match=sentence):
        encode_state(state)


@given(st.binary(max_size=200))
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(CheckpointError):
        decode_state(data)


def test_tensors_are_no_state() -> None:
    with pytest.raises(CheckpointError, match="no state of a method"):
        decode_state(encode_tensors({"a": torch.ones(1)}))


@given(st.data())
def test_a_cut_state_is_refused(data: st.DataObject) -> None:
    whole = encode_state({"a": torch.ones(4), "b": 1})
    with pytest.raises(CheckpointError):
        decode_state(whole[: data.draw(st.integers(0, len(whole) - 1))])
