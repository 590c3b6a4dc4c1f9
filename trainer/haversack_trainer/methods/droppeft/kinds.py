"""Kinds of layer dropping: which layers more than others, drawn how, and which never."""

from __future__ import annotations

from enum import StrEnum


class Shape(StrEnum):
    UNIFORM = "Uniform"
    INCREMENTAL = "Incremental"
    DECAY = "Decay"
    BELL = "Bell"
    EXPONENTIAL = "Exponential"
    IMPORTANCE = "Importance"


class Sampler(StrEnum):
    SYSTEMATIC = "Systematic"
    BERNOULLI = "Bernoulli"


class Protect(StrEnum):
    NONE = "None"
    FIRST = "First"
    LAST = "Last"
    FIRST_AND_LAST = "FirstAndLast"
