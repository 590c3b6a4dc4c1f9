"""Values and indices as bytes. What a sender subtracts is what the receivers decode: ``decode(encode(x))``."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .settings import ValueType

_MAX_BF16: Final = torch.finfo(torch.bfloat16).max


class PayloadError(ValueError):
    """Bytes that are no payload of this run."""


def encode_values(kind: ValueType, values: Tensor, scales: Tensor) -> bytes:
    """``values``: fp32, finite, shape (rows, columns); ``scales``: per column, used where signs are sent."""
    match kind:
        case ValueType.FP32:
            return _raw(values)
        case ValueType.BF16:
            return _raw(_bf16(values).view(torch.int16))
        case ValueType.SIGN:
            negative = np.packbits((values < 0).cpu().numpy(), bitorder="little")
            return negative.tobytes() + _raw(_bf16(scales).view(torch.int16))


def decode_values(
    kind: ValueType, data: memoryview, shape: tuple[int, int], device: torch.device
) -> Tensor:
    """Inverse of ``encode_values`` but for rounding: fp32. Raises ``PayloadError`` if one is not finite."""
    rows, columns = shape
    match kind:
        case ValueType.FP32:
            values = _tensor(data, torch.float32, device).view(shape)
        case ValueType.BF16:
            values = _tensor(data, torch.bfloat16, device).view(shape).float()
        case ValueType.SIGN:
            num_signs = -(-rows * columns // 8)
            bits = np.unpackbits(
                np.frombuffer(data[:num_signs], np.uint8), count=rows * columns, bitorder="little"
            )
            negative = torch.from_numpy(bits.reshape(shape)).to(device)
            scales = _tensor(data[num_signs:], torch.bfloat16, device).float()
            values = scales * (1 - 2 * negative.float())
    if not torch.isfinite(values).all():
        raise PayloadError("a value is not finite")
    return values


def rounded(kind: ValueType, values: Tensor, scales: Tensor) -> Tensor:
    """What receivers will make of ``values``, without the way over bytes."""
    match kind:
        case ValueType.FP32:
            return values
        case ValueType.BF16:
            return _bf16(values).float()
        case ValueType.SIGN:
            return torch.where(values < 0, -_bf16(scales).float(), _bf16(scales).float())


def _bf16(values: Tensor) -> Tensor:
    """Without the infinity that rounding up would make of the largest numbers."""
    return values.clamp(-_MAX_BF16, _MAX_BF16).to(torch.bfloat16)


def _raw(numbers: Tensor) -> bytes:
    return numbers.cpu().numpy().tobytes()


def _tensor(data: memoryview, dtype: torch.dtype, device: torch.device) -> Tensor:
    # A copy: torch wants memory that may be written.
    numbers = np.frombuffer(data, "<f4" if dtype is torch.float32 else "<i2").copy()
    return torch.from_numpy(numbers).view(dtype).to(device)


def encode_indices(indices: NDArray[np.uint8], bits: int) -> bytes:
    """Flat; bit plane by bit plane, eight numbers to a byte."""
    if bits == 8:  # noqa: PLR2004  # a whole byte
        return indices.tobytes() + bytes(-len(indices) % 8)
    planes = [np.packbits((indices >> bit) & 1, bitorder="little") for bit in range(bits)]
    return b"".join(plane.tobytes() for plane in planes)


def decode_indices(data: memoryview, bits: int, count: int) -> NDArray[np.uint8]:
    """Inverse of ``encode_indices``; any bytes are valid."""
    octets = np.frombuffer(data, np.uint8)
    if bits == 8:  # noqa: PLR2004  # a whole byte
        return octets[:count].copy()
    indices = np.zeros(count, np.uint8)
    for bit, plane in enumerate(octets.reshape(bits, -1)):
        indices |= np.unpackbits(plane, count=count, bitorder="little") << np.uint8(bit)
    return indices
