"""The names that D2FT's settings have for its choices. No imports, so that the pure parts know them, too."""

from __future__ import annotations

from enum import StrEnum


class Solver(StrEnum):
    EXACT = "Exact"
    TWO_STAGE = "TwoStage"
    SLOTS = "Slots"


class Ties(StrEnum):
    ROTATE = "Rotate"
    INDEX = "Index"


class ForwardScore(StrEnum):
    GATE = "Gate"
    FISHER = "Fisher"


class BackwardScore(StrEnum):
    MAGNITUDE = "Magnitude"
    GATE = "Gate"


class Protect(StrEnum):
    NONE = "None"
    FIRST = "First"
    LAST = "Last"
    FIRST_AND_LAST = "FirstAndLast"


class Sharding(StrEnum):
    NONE = "None"
    GROUPS = "Groups"


class Rescale(StrEnum):
    NONE = "None"
    TRAIN_INVERSE = "TrainInverse"


class Mode(StrEnum):
    """Named as in ``blocks``, which imports torch."""

    EMULATE = "Emulate"
    SLICED = "Sliced"
