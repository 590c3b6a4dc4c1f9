"""A run to report on, small enough to check by hand."""

from __future__ import annotations

import math

from haversack_trainer.contract.jobfile import JobFile, MethodChoice
from haversack_trainer.contract.report import (
    Evaluation,
    PeerReport,
    PeerState,
    Publication,
    RunProgress,
    Verdict,
)
from haversack_trainer.contract.spec import DatasetSpec, ModelSpec, StorageSpec, Task
from haversack_trainer.report.events import (
    Evaluated,
    Event,
    PeerJoined,
    PeerLeft,
    RoundClosed,
    RunStarted,
    VerdictGiven,
)

ROUNDS = 40
NODES = ("gpu-a", "gpu-b", "pi-rack-3", "orin-1")


def a_job(name: str = "triage") -> JobFile:
    return JobFile(
        run=f"team.{name}.0a1b2c3d",
        job=name,
        model=ModelSpec(
            uri="hf://sentence-transformers/all-MiniLM-L6-v2", task=Task.SEQUENCE_CLASSIFICATION
        ),
        dataset=DatasetSpec(uri="pvc://data/docstrings.jsonl"),
        method=MethodChoice(type="DecLoRA", settings={"localSteps": 5, "graph": {"type": "Ring"}}),
        storage=StorageSpec(uri="s3://models/finetuned"),
        num_peers=4,
        min_peers=3,
    )


def an_evaluation(round: int, loss: float, accuracy: float | None) -> Evaluation:
    return Evaluation(round=round, loss=loss, accuracy=accuracy, num_samples=600)


def a_verdict(*, passed: bool = True) -> Verdict:
    return Verdict(
        passed=passed,
        reason="The new adapter's loss is 0.212 to 0.287 lower than the linear probe's on 600 held-out samples.",
        round=ROUNDS,
        before=an_evaluation(0, 1.792, 0.143),
        probe=an_evaluation(0, 0.871, 0.702),
        previous=an_evaluation(ROUNDS, 0.744, 0.771),
        after=an_evaluation(ROUNDS, 0.622, 0.818),
        interval=(-0.287, -0.212) if passed else (-0.01, 0.09),
        adapter_digest="ab" * 32,
    )


def members(round: int) -> tuple[int, ...]:
    """Peer 2 is killed in round 14; its replacement comes back in round 22."""
    return (0, 1, 3) if 14 <= round < 22 else (0, 1, 2, 3)


def some_events() -> list[Event]:
    events: list[Event] = [
        RunStarted(time=1000.0, run="team.triage.0a1b2c3d", round=0, peers=(0, 1, 2, 3))
    ]
    for round_ in range(ROUNDS):
        now = 1000.0 + 4.5 * (round_ + 1)
        if round_ == 14:
            events.append(PeerLeft(time=now, peer=2, round=14, reason="lease expired"))
        if round_ == 22:
            events.append(PeerJoined(time=now, peer=2, round=22, node="pi-rack-4"))
        losses = {
            peer: 0.35
            + 0.09 * peer
            + 1.4 * math.exp(-round_ / 11)
            + 0.05 * math.sin(round_ * (peer + 2))
            for peer in members(round_)
        }
        events.append(
            RoundClosed(time=now, round=round_, members=members(round_), losses=losses,
                        payload_bytes=74_240 * len(members(round_)), seconds=4.5)
        )  # fmt: skip
        if round_ % 5 == 4:
            loss = 0.6 + 1.15 * math.exp(-(round_ + 1) / 12)
            events.append(
                Evaluated(time=now, evaluation=an_evaluation(round_ + 1, loss, 1 - loss / 2))
            )
    return [*events, VerdictGiven(time=1190.0, verdict=a_verdict())]


def a_progress(*, verdict: Verdict | None = None, published: bool = True) -> RunProgress:
    verdict = verdict or a_verdict()
    peers = tuple(
        PeerReport(peer=peer, attempt=int(peer == 2), node=node, state=PeerState.DONE, round=ROUNDS,
                   loss=0.4, samples=6400, micro_batch_size=(32, 32, 8, 16)[peer], bytes_sent=2_969_600,
                   bytes_received=5_939_200, seconds_per_round=(1.2, 1.3, 4.4, 2.1)[peer], time=1190.0)
        for peer, node in enumerate(NODES)
    )  # fmt: skip
    publication = Publication(
        uri="s3://models/finetuned/triage/adapters/0000000040-abababab", digest="cd" * 32, size_bytes=600_000,
        round=ROUNDS,
    )  # fmt: skip
    return RunProgress(
        run="team.triage.0a1b2c3d", view=(0, 1, 2, 3), round=ROUNDS, rounds=ROUNDS, num_records=188,
        head="5f" * 32, peers=peers, verdict=verdict, published=publication if published else None,
    )  # fmt: skip
