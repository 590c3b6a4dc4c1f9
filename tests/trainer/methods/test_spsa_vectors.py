"""The published test vectors: equal to the reference, and to what every device makes."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
import spsa_reference as reference
import torch
from devices import DEVICES
from numpy.typing import NDArray

from haversack_trainer.methods.spsa.codec import decode
from haversack_trainer.methods.spsa.directions import Signs, Term, add_signs, add_signs_on_device
from haversack_trainer.methods.spsa.words import key, words, words_on

PUBLISHED = json.loads(reference.VECTORS.read_text())


def from_hex(digits: list[str]) -> NDArray[np.float32]:
    return np.frombuffer(bytes.fromhex("".join(digits)), ">f4").astype(np.float32)


def to_hex(values: NDArray[np.float32]) -> list[str]:
    return [struct.pack(">f", value).hex() for value in values]


def test_the_published_vectors_are_the_references() -> None:
    assert reference.vectors() == PUBLISHED


@pytest.mark.parametrize("case", PUBLISHED["directions"], ids=lambda case: case["key"])
@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_directions_are_the_published_ones(case: dict[str, object], device: torch.device) -> None:
    z = key(int(str(case["seed"])), *(int(str(case[f])) for f in ("step", "peer", "direction")))
    assert str(z) == case["key"]
    assert [str(w) for w in words(z, 0, 4)] == case["words"]
    assert [str(w % 2**64) for w in words_on(device, z, 0, 4).tolist()] == case["words"]
    slices = case["slices"]
    assert isinstance(slices, list)
    for piece in slices:
        part = torch.zeros(len(piece["signs"]), device=device)
        Signs(part.numel()).add(part, piece["start"], [Term(z, 1.0)])
        assert "".join("+" if value > 0 else "-" for value in part.tolist()) == piece["signs"]


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_a_small_update_is_the_published_one(device: torch.device) -> None:
    case = PUBLISHED["update"]
    terms = [
        Term(int(term["key"]), float(from_hex([term["coefficient"]])[0])) for term in case["terms"]
    ]
    on_cpu = from_hex(case["theta"])
    add_signs(on_cpu, case["start"], terms)
    assert to_hex(on_cpu) == case["result"]
    part = torch.from_numpy(from_hex(case["theta"])).to(device)
    add_signs_on_device(part, case["start"], terms)
    assert to_hex(part.cpu().numpy()) == case["result"]


@pytest.mark.parametrize("case", PUBLISHED["codes"], ids=str)
def test_codes_have_the_published_values(case: dict[str, float]) -> None:
    (value,) = decode(int(case["exponent"]), bytes([int(case["code"])]))
    assert value == (None if case["value"] is None else pytest.approx(case["value"], rel=1e-15))
