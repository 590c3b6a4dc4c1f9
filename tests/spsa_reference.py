"""SPSA's directions, codes and update once more, in plain Python and from the text alone: slow, and plain to see.

``python tests/spsa_reference.py`` writes ``tests/spsa_vectors.json``, for whoever implements them elsewhere.
Numbers of 64 bits are decimal strings, fp32 numbers the hexadecimal digits of their big-endian bytes.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any, Final

VECTORS: Final = Path(__file__).with_name("spsa_vectors.json")
MOD: Final = 2**64
IDENTIFIERS: Final = ((0, 0, 0, 0), (17, 3, 2, 1), (17, 1, 2, 3), (2**63 - 1, 10**6, 1023, 255))
SLICES: Final = ((0, 16), (60, 16), (4_294_967_290, 16))
THETA: Final = ("3f800000", "bf000000", "3dcccccd", "00000000", "c2c80000", "33d6bf95", "3eaaaaab")
TERMS: Final = (
    ((17, 3, 2, 1), "3a83126f"),
    ((17, 1, 2, 3), "be800000"),
    ((0, 0, 0, 0), "38d1b717"),
)
START: Final = 61
"""Where the small vector lies: over the end of a word."""


def mix(x: int) -> int:
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 % MOD
    x = (x ^ x >> 27) * 0x94D049BB133111EB % MOD
    return x ^ x >> 31


def key(seed: int, step: int, peer: int, direction: int) -> int:
    return mix(
        (mix((mix((mix(seed ^ 0x6A09E667F3BCC909) + step) % MOD) + peer) % MOD) + direction) % MOD
    )


def word(z: int, index: int) -> int:
    return mix((z + (index + 1) * 0x9E3779B97F4A7C15) % MOD)


def sign(z: int, element: int) -> int:
    return 1 if word(z, element // 64) >> element % 64 & 1 else -1


def signs(z: int, start: int, count: int) -> str:
    return "".join("+" if sign(z, start + offset) > 0 else "-" for offset in range(count))


def fp32(digits: str) -> float:
    (value,) = struct.unpack(">f", bytes.fromhex(digits))
    return float(value)


def digits(value: float) -> str:
    """Rounded to the nearest fp32 number, which a sum of two in fp64 survives unharmed."""
    return struct.pack(">f", value).hex()


def update() -> list[str]:
    """THETA plus each of the TERMS, one after the other, each sum rounded to fp32."""
    theta = list(THETA)
    for identifier, coefficient in TERMS:
        z = key(*identifier)
        theta = [
            digits(fp32(value) + fp32(coefficient) * sign(z, START + offset))
            for offset, value in enumerate(theta)
        ]
    return theta


def magnitude(code: int, exponent: int) -> float | None:
    """What a byte stands for."""
    if code == 0x80:
        return None
    size = 2.0 ** ((exponent - 127 + code % 128) / 8) if code % 128 else 0.0
    return -size if code >= 128 else size


def vectors() -> dict[str, Any]:
    return {
        "directions": [
            {
                "seed": str(identifier[0]),
                "step": identifier[1],
                "peer": identifier[2],
                "direction": identifier[3],
                "key": str(key(*identifier)),
                "words": [str(word(key(*identifier), index)) for index in range(4)],
                "slices": [
                    {"start": start, "signs": signs(key(*identifier), start, count)}
                    for start, count in SLICES
                ],
            }
            for identifier in IDENTIFIERS
        ],
        "codes": [
            {"exponent": exponent, "code": code, "value": magnitude(code, exponent)}
            for exponent in (-128, 0, 13)
            for code in (0, 1, 64, 126, 127, 128, 129, 255)
        ],
        "update": {
            "start": START,
            "theta": list(THETA),
            "terms": [
                {"key": str(key(*identifier)), "coefficient": coefficient}
                for identifier, coefficient in TERMS
            ],
            "result": update(),
        },
    }


if __name__ == "__main__":
    VECTORS.write_text(json.dumps(vectors(), indent=1) + "\n")
