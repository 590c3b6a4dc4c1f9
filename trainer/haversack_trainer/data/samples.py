"""Samples as values: inputs, classes and what tells two samples apart."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]
Pixels = NDArray[np.float32]


class Exchange(NamedTuple):
    """What a model is asked, and what it should say."""

    prompt: str
    completion: str


class DataError(Exception):
    """The data cannot be used; one sentence that names the file or field and says what to change."""


@dataclass(frozen=True, eq=False)
class Samples:
    """What a model is trained or judged on."""

    inputs: tuple[Any, ...]
    """Texts (``str``), prompts with their completions (``Exchange``), or images as arrays of floats
    (``Pixels``)."""
    classes: tuple[str, ...] = ()
    """Names of the classes, sorted as strings; empty where there are no labels."""
    labels: Indices | None = None
    """``[n]``, index into ``classes``."""
    groups: tuple[str, ...] | None = None
    """``[n]``, the value of the column that a ByColumn partition keeps together."""

    def __len__(self) -> int:
        return len(self.inputs)

    def take(self, indices: Sequence[int] | Indices) -> Samples:
        """The samples at ``indices``, in that order."""
        return replace(
            self,
            inputs=tuple(self.inputs[i] for i in indices),
            labels=None if self.labels is None else self.labels[np.asarray(indices, np.int64)],
            groups=None if self.groups is None else tuple(self.groups[i] for i in indices),
        )

    @cached_property
    def input_keys(self) -> tuple[bytes, ...]:
        """For each sample a sha256 of its input, without the answer: equal where the input is, also
        across files."""
        return tuple(hashlib.sha256(_bytes(value)).digest() for value in self.inputs)

    @cached_property
    def digest(self) -> str:
        """sha256 over all samples in order, the classes and the groups; hex."""
        whole = hashlib.sha256()
        for part in (*self.classes, "", *(self.groups or ())):
            whole.update(hashlib.sha256(part.encode()).digest())
        for i, key in enumerate(self.input_keys):
            whole.update(hashlib.sha256(key + self._answer(i)).digest())
        return whole.hexdigest()

    def _answer(self, index: int) -> bytes:
        asked = self.inputs[index]
        if isinstance(asked, Exchange):
            return asked.completion.encode("utf-8", "surrogatepass")
        return b"" if self.labels is None else self.classes[self.labels[index]].encode()


def _bytes(value: str | Exchange | Pixels) -> bytes:
    if isinstance(value, Exchange):
        value = value.prompt
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    return repr(value.shape).encode() + np.ascontiguousarray(value, "<f4").tobytes()
