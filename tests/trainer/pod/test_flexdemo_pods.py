"""FlexDeMo on pods of several processes: what only the first process knows, and what all must do alike."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import pytest
import torch
from toy_pods import ToyPod
from toys import ToyNetwork

from haversack_trainer.methods.flexdemo.probe import PARTS
from haversack_trainer.methods.flexdemo.settings import Scheme, Settings, Update

AUTO = Settings(scheme=Scheme.AUTO, learning_rate="0.01", update=Update.ADAMW)
STEP_SECONDS = 1.0
NONSENSE = 50.0
"""Seconds of a step on a process that tells nobody."""


class Run:
    """Pods that come to their ends with the test."""

    def __init__(self) -> None:
        self.pods: dict[int, ToyPod] = {}
        self.others: list[ToyPod] = []
        self.network = ToyNetwork()
        self.remarks: list[str] = []

    def train(self, rounds: Iterable[int], line: float = 0.0, missed: Iterable[int] = ()) -> None:
        """``line``: seconds of an exchange. ``missed``: pods whose payloads came too late."""
        for number in rounds:
            steps = {me: pod.led.local_step(number) for me, pod in self.pods.items()}
            self.remarks += [step.remark for step in steps.values() if step.remark]
            sent = {me: pod.led.outgoing() for me, pod in self.pods.items()}
            closed = self.network.close(
                number, {me: out for me, out in sent.items() if me not in missed}
            )
            for me, pod in self.pods.items():
                pod.led.ahead(number + 1)
                pod.settle()
                pod.methods[0]._step_seconds = STEP_SECONDS
                pod.methods[1]._step_seconds = NONSENSE
                swap = self.network.swap(closed, me)
                pod.led.incoming(replace(swap, exchange_seconds=lambda: line))
                pod.settle()

    def digests(self) -> set[str]:
        return {model.digest() for pod in self.pods.values() for model in pod.models}


@pytest.fixture
def run() -> Iterator[Run]:
    run = Run()
    yield run
    for pod in (*run.pods.values(), *run.others):
        pod.end()


@pytest.mark.parametrize(
    ("line", "scheme", "delay"),
    [(2.0, Scheme.DILOCO, 0), (0.5, Scheme.FULL, 1), (0.0, Scheme.FULL, 0)],
)
def test_what_the_first_process_measured_decides_for_all(
    run: Run, line: float, scheme: Scheme, delay: int
) -> None:
    run.pods = {peer: ToyPod(peer, AUTO) for peer in range(2)}
    run.train(range(len(PARTS)), line)
    courses = [method._course for pod in run.pods.values() for method in pod.methods]
    assert {(course.options.scheme, course.delay) for course in courses} == {(scheme, delay)}
    assert len({course.options for course in courses}) == 1
    # DiLoCo syncs every 40 rounds: an exchange as long as two steps is to be a twentieth of them.
    run.train(range(len(PARTS), 40), line)
    assert len(run.remarks) == 2
    assert all(f"takes {line:.2g} s, a step 1 s" in remark for remark in run.remarks)
    assert len(run.digests()) == 1


def test_a_pod_that_joins_takes_the_course_to_all_of_its_processes(run: Run) -> None:
    run.pods = {peer: ToyPod(peer, AUTO) for peer in range(2)}
    run.train(range(len(PARTS) + 2), 0.5)
    run.pods[2] = ToyPod(2, AUTO)
    run.train(range(len(PARTS) + 2, len(PARTS) + 6), 0.5)
    courses = [method._course for pod in run.pods.values() for method in pod.methods]
    assert len({(course.options, course.delay) for course in courses}) == 1
    assert len(run.digests()) == 1


@pytest.mark.parametrize("scheme", [Scheme.DEMO, Scheme.RANDOM])
def test_what_came_too_late_stays_with_the_process_that_made_it(run: Run, scheme: Scheme) -> None:
    settings = Settings(scheme=scheme, learning_rate="0.01", beta="0.9")
    run.pods = {peer: ToyPod(peer, settings) for peer in range(2)}
    run.train(range(2))
    holding = run.pods[1].twin(1, settings)
    run.others.append(holding)
    for method in holding.methods:
        method._giver = 1  # whoever gives its state sends no payload: it keeps what it has
    run.train(range(2, 3), missed=[1])
    holding.led.local_step(2)
    holding.settle()
    for late, held in zip(run.pods[1].momenta(), holding.momenta(), strict=True):
        assert held.abs().max() > 0
        assert torch.allclose(late, held, rtol=1e-6, atol=0)
    assert len(run.digests()) == 1
    run.train(range(3, 6))
    assert len(run.digests()) == 1
