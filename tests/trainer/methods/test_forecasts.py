"""What jobs are planned with is what the methods do: lengths by their own codecs, choices by their own rules."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from haversack_trainer.contract.cards import METHODS
from haversack_trainer.contract.records import Kind, Record
from haversack_trainer.contract.traffic import RECORD_TRIPS, Line, Round, Work
from haversack_trainer.exchange.codec import Layout
from haversack_trainer.exchange.quantised import QuantisedLayout
from haversack_trainer.methods.declora.kinds import Graph
from haversack_trainer.methods.flexdemo.auto import Measured, choose
from haversack_trainer.methods.flexdemo.choosing import scheme_of
from haversack_trainer.methods.flexdemo.forecast import payload_bytes
from haversack_trainer.methods.flexdemo.options import Options
from haversack_trainer.methods.flexdemo.schemes import Bucket
from haversack_trainer.methods.flexdemo.settings import Scheme, Settings, Update, ValueType
from haversack_trainer.methods.flexdemo.sizes import part_bytes
from haversack_trainer.methods.spsa.codec import encode

WORK = Work(trainable=147_456, num_layers=6, num_peers=5)
STATE = {
    f"layer.{n}.{side}": np.zeros((384, 8), np.float32)
    for n in range(24)
    for side in ("lora_A", "lora_B")
}


def a_round(type_: str, work: Work = WORK, **settings: Any) -> Round:
    card = METHODS[type_]
    chosen = card.load_settings().model_validate(settings)
    return card.load_forecast().a_round(chosen, work)


def on_line(line: Line, step_seconds: float, **settings: Any) -> tuple[Any, str]:
    card = METHODS["FlexDeMo"]
    chosen = card.load_settings().model_validate(settings)
    return card.load_forecast().on_line(chosen, WORK, line, step_seconds)


@given(
    st.sampled_from([scheme for scheme in Scheme if scheme is not Scheme.AUTO]),
    st.sampled_from(ValueType),
    st.integers(1, 5000),
    st.integers(0, 40),
)
def test_flexdemos_parts_are_as_long_as_its_schemes_say(
    scheme: Scheme, kind: ValueType, count: int, step: int
) -> None:
    options = Options(scheme=scheme, value_type=kind)
    real = scheme_of(options).num_bytes(Bucket("0.0", step, count, torch.device("cpu")))
    planned = part_bytes(options, count)
    assert planned == real if scheme is not Scheme.STRIDING else 0 <= planned - real <= 10


@pytest.mark.parametrize(("codec", "bits"), [("Float32", None), ("Int8", 8), ("Int4", 4)])
def test_dec_loras_payload_is_as_long_as_its_codec_says(codec: str, bits: int | None) -> None:
    layout = Layout.of(STATE)
    real = QuantisedLayout(layout, bits).num_bytes if bits else layout.num_bytes
    assert a_round("DecLoRA", codec=codec).sent_bytes == real


def test_ffa_sends_half_and_dropped_layers_are_neither_computed_nor_sent() -> None:
    whole = a_round("DecLoRA").sent_bytes
    assert a_round("DecLoRA", mixer="FFA").sent_bytes == pytest.approx(whole / 2, rel=1e-3)
    assert a_round("DropPEFT").sent_bytes == whole
    low = a_round("DropPEFT", share="Low", sharedLayers=2, dropRate="0.25", localSteps=8)
    assert low.sent_bytes == pytest.approx(whole / 3, rel=1e-3)
    assert low.steps == 6


def test_d2ft_computes_by_its_budget_and_sends_as_dec_lora() -> None:
    gossip: dict[str, Any] = {"graph": "Complete", "localSteps": 10, "codec": "Int8"}
    plain = a_round("DecLoRA", **gossip)
    found = a_round("D2FT", gossip=gossip, budget="0.5", refreshSteps=0)
    assert found == replace(plain, steps=5.0)
    slots: dict[str, Any] = {"solver": "Slots", "slots": {"full": 3, "forwardOnly": 1}}
    scored = {**slots, "refreshSteps": 10}
    assert a_round("D2FT", gossip=gossip, **scored).steps == pytest.approx(8)
    full = replace(WORK, forwards_of_a_step=3.0)
    steps = a_round("D2FT", full, gossip=gossip, **scored).steps
    assert steps == pytest.approx(10 * (2 / 3 + 0.1))


@pytest.mark.parametrize(
    ("graph", "num_peers", "degree"),
    [
        ({"graph": "Ring"}, 5, 2),
        ({"graph": "Ring"}, 2, 1),
        ({"graph": "Complete"}, 5, 4),
        ({"graph": "Exponential"}, 9, 6),
        ({"graph": "Regular", "degree": 3}, 8, 3),
        ({"graph": "ErdosRenyi", "edgePercent": 50}, 9, 4),
        ({"graph": "Edges", "edges": ["0-1", "1-2", "1-3"]}, 4, 3),
        ({"graph": "Star"}, 5, 4),
        ({"graph": "Matchings"}, 5, 1),
        ({"graph": "Ring"}, 1, 0),
    ],
)
def test_dec_lora_fetches_its_neighbours(
    graph: dict[str, Any], num_peers: int, degree: int
) -> None:
    assert a_round("DecLoRA", replace(WORK, num_peers=num_peers), **graph).num_fetched == degree


@pytest.mark.parametrize("graph", Graph)
def test_no_graph_is_forgotten(graph: Graph) -> None:
    edges: dict[str, Any] = {"edges": ["0-1"]} if graph is Graph.EDGES else {}
    assert 0 < a_round("DecLoRA", graph=graph.value, **edges).num_fetched < WORK.num_peers


@pytest.mark.parametrize("directions", [1, 8, 256])
def test_spsas_record_is_as_long_as_its_codec_says(directions: int) -> None:
    _, body = encode([0.5] * directions)
    real = len(Record(Kind.PAYLOAD, peer=0, round=0, body=body).encode())
    found = a_round("SPSA", directions=directions)
    assert found.sent_bytes == real
    assert a_round("SPSA", replace(WORK, trainable=10**9), directions=directions) == found


def test_spsa_computes_forwards_only() -> None:
    assert a_round("SPSA", directions=8).steps == 8
    assert a_round("SPSA", directions=8, differences="OneSided", sharedBatch=True).steps == 4.5
    assert a_round("SPSA", estimator="Projection", localSteps=3).steps == 3


SETTINGS = [{"update": "AdamW"}, {}, {"valueType": "Sign"}]


@pytest.mark.parametrize("settings", SETTINGS)
@given(st.floats(4, 10), st.floats(-4, 1), st.floats(-3, 2))
def test_what_auto_would_choose_is_what_the_peers_would(
    settings: dict[str, Any], bits: float, latency: float, step: float
) -> None:
    line, step_seconds = Line(10**bits, 10**latency), 10**step
    chosen, reason = on_line(line, step_seconds, scheme="Auto", **settings)
    options = Options.of(Settings.model_validate(settings), 0)
    bulk = payload_bytes(options, WORK.trainable)
    measured = Measured(step_seconds, line.seconds(0, 4, RECORD_TRIPS), line.seconds(bulk, 4), bulk)

    def length(changes: Any) -> int:
        return payload_bytes(replace(options, **changes), WORK.trainable)

    choice = choose(measured, length, with_full=options.update is Update.ADAMW)
    assert reason == choice.reason
    assert (chosen.scheme, chosen.delay) == (choice.changes["scheme"], choice.delay)
    assert type(chosen).model_validate(chosen.model_dump()) == chosen, (
        "it can be written into a job"
    )
    assert all(check.holds(chosen) for check in type(chosen).checks)


def test_only_auto_leaves_a_choice() -> None:
    fast, slow = Line(1e10, 1e-4), Line(1e4, 0.5)
    assert on_line(fast, 1.0, scheme="DeMo")[1] == ""
    assert on_line(fast, 1.0, scheme="Auto")[0].scheme is Scheme.DEMO
    assert on_line(slow, 0.1, scheme="Auto")[0].scheme is Scheme.DILOCO


def test_an_exchange_takes_its_round_trips_and_its_longer_way() -> None:
    line = Line(bits_per_second=8e6, latency_seconds=0.01)
    assert line.exchange_seconds(Round(1, sent_bytes=1e6, num_fetched=2)) == pytest.approx(2.06)
    assert line.exchange_seconds(Round(1, sent_bytes=1e6, num_fetched=0)) == pytest.approx(1.06)
    assert line.exchange_seconds(a_round("SPSA")) == pytest.approx(0.02, rel=1e-2)


def test_jobs_are_planned_without_torch_and_numpy() -> None:
    """Whoever only looks at a job must not wait for them."""
    code = (
        "import sys\nfrom haversack_trainer.contract.cards import METHODS\n"
        "for card in METHODS.values(): card.load_forecast(); card.load_settings()\n"
        "assert not {'torch', 'numpy'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
