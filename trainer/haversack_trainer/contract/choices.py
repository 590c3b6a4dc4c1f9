"""The table of ``method.type: Auto``, from the first to the last resort. docs/methods/choosing.md is written from it."""

from __future__ import annotations

from typing import Final

from .choosing import SHORT_ROUND_STEPS, Links, Memory, Peers, Row

_IN_STEP: Final = {"scheme": "Auto", "update": "AdamW", "learningRate": "0.001"}
"""With AdamW, where all may be sent all is sent: plain synchronous training, at the rate at which it learned best
of those tried (``bench/results/flexdemo_wan_small_lm.json``)."""

TABLE: Final[tuple[Row, ...]] = (
    Row(
        name="thin lines",
        method="SPSA",
        why="nothing but scalars gets through in time, and it sends a byte per direction",
        links=frozenset({Links.SCALARS}),
    ),
    Row(
        name="several accelerators",
        method="FlexDeMo",
        settings={**_IN_STEP, "sharding": "ZeRO1"},
        why="it uses all accelerators of a peer",
        peers=frozenset({Peers.SEVERAL_DEVICES}),
    ),
    Row(
        name="several accelerators, a large model",
        method="FlexDeMo",
        settings={**_IN_STEP, "sharding": "ZeRO3"},
        why="it spreads a model over all accelerators of a peer",
        peers=frozenset({Peers.SEVERAL_DEVICES}),
    ),
    Row(
        name="no room for a backward pass",
        method="SPSA",
        why="it needs forward passes only",
        memory=frozenset({Memory.FORWARD}),
    ),
    Row(
        name="little room",
        method="DropPEFT",
        settings={"configurator": "EpsilonGreedy"},
        why="layers that it leaves out keep no activations",
        memory=frozenset({Memory.PARTS}),
    ),
    Row(
        name="unlike peers",
        method="DropPEFT",
        settings={"configurator": "EpsilonGreedy"},
        why="slow peers may leave out more layers, so that fast ones wait less",
        peers=frozenset({Peers.MIXED}),
    ),
    Row(
        name="fast lines",
        method="DecLoRA",
        settings={"localSteps": SHORT_ROUND_STEPS},
        why="where an exchange is soon done, short rounds keep the peers close",
        links=frozenset({Links.SHORT_ROUNDS}),
    ),
    Row(
        name="slow lines",
        method="DecLoRA",
        settings={"localSteps": 40, "codec": "Int8"},
        why="long rounds in eight bits a weight spare the line",
        links=frozenset({Links.LONG_ROUNDS}),
    ),
    Row(
        name="otherwise",
        method="DecLoRA",
        why="peers train on their own for ten steps and then exchange with two neighbours",
    ),
)
