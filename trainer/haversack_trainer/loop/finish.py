"""After the last round: verdict, approval, publication. The lowest member acts, the others stand by.

Every step is in the log once it is done, and the adapter in the store is named by its content: if the
leader dies, the next one goes on where it left off.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from haversack_trainer.checkpoint.adapters import publish_adapter
from haversack_trainer.checkpoint.manifest import Meta
from haversack_trainer.contract.jobfile import JobFile
from haversack_trainer.contract.records import Kind
from haversack_trainer.contract.report import PeerState, Publication, RunProgress, Verdict
from haversack_trainer.exchange.base import Exchange, Stop
from haversack_trainer.exchange.log import RunState
from haversack_trainer.objects.base import Away, Store
from haversack_trainer.report.events import Published
from haversack_trainer.report.html import render

from .archiving import Archiving
from .entry import is_over
from .judge import Judge
from .recorder import Recorder
from .stories import Stories

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Finish:
    """What is left to do when all rounds are done."""

    job: JobFile
    exchange: Exchange
    judge: Judge
    store: Store
    meta: Meta
    recorder: Recorder
    stories: Stories
    archiving: Archiving | None
    stop: Stop
    again_seconds: float = 15.0
    """Between two tries of a store that is away or full."""

    def run(self, load_consensus: Callable[[], None]) -> None:
        """Returns when the run is over. ``load_consensus`` puts the run's adapter into the model."""
        loaded = False
        while not is_over(self.exchange.state, self._rounds):
            self.exchange.wait_for(self._is_mine_or_over, self.stop)
            if is_over(self.exchange.state, self._rounds):
                return
            try:
                if not loaded:
                    load_consensus()
                    loaded = True
                self._next_step()
            except Away as error:
                # All the training is done: a store without room, or away, is waited for.
                _logger.warning("%s; trying again in %g s", error, self.again_seconds)
                self.exchange.wait_for(
                    lambda state: not self._is_mine_or_over(state), self.stop, self.again_seconds
                )

    @property
    def _rounds(self) -> int:
        return self.exchange.state.rounds(self.job.training.rounds)

    def _is_mine_or_over(self, state: RunState) -> bool:
        return state.leader == self.exchange.me or is_over(state, self._rounds)

    def _next_step(self) -> None:
        verdict = self.exchange.state.verdict
        if verdict is None or verdict.round != self._rounds:
            self._await_scores()
            if self._is_mine_or_over(self.exchange.state):
                self._judge()
        elif not self._is_approved(self.exchange.state):
            _logger.info("the adapter passed its gate and waits for approval: haversack approve")
            self.recorder.state(PeerState.WAITING)
            self.exchange.wait_for(
                lambda state: self._is_approved(state) or state.leader != self.exchange.me,
                self.stop,
            )
        else:
            self._publish(verdict)

    def _await_scores(self) -> None:
        """Every member judges its own model first. As for a round, they are waited for up to its deadline."""
        if self.job.dataset.held_out.personal_percent is None:
            return
        self.recorder.state(PeerState.WAITING)
        deadline = self.job.training.round_deadline_seconds
        self.exchange.wait_for(
            lambda state: state.leader != self.exchange.me or self._are_all_scored(state),
            self.stop,
            timeout_seconds=deadline,
        )

    def _are_all_scored(self, state: RunState) -> bool:
        scored = {peer for peer, said in state.scores.items() if said.common.round == self._rounds}
        return scored >= set(state.view)

    def _judge(self) -> None:
        self.recorder.state(PeerState.EVALUATING)
        verdict = self._unless_halted(self.judge.verdict(self._rounds))
        _logger.info("%s", verdict.reason)
        self._append(Kind.VERDICT, verdict.model_dump_json(by_alias=True))
        self.exchange.wait_for(
            lambda state: state.verdict is not None or state.leader != self.exchange.me, self.stop
        )
        self.recorder.catch_up()
        if not verdict.passed:
            self._store_report(None)

    def _unless_halted(self, verdict: Verdict) -> Verdict:
        ending = self.exchange.state.ending
        if ending is None or ending.publishes:
            return verdict
        reason = f"Halted after {verdict.round} rounds: {ending.reason}."
        return verdict.model_copy(update={"passed": False, "reason": reason})

    def _is_approved(self, state: RunState) -> bool:
        return not self.job.evaluation.gate.needs_approval or state.approved_by is not None

    def _publish(self, verdict: Verdict) -> None:
        folder = self.judge.write(self._rounds)
        archive = self.archiving.keep() if self.archiving is not None else None
        publication = publish_adapter(self.store, folder, verdict, self.meta, archive)
        _logger.info("published %s (%d bytes)", publication.uri, publication.size_bytes)
        self.recorder.catch_up()
        self._store_report(publication)
        self._append(Kind.PUBLISHED, publication.model_dump_json(by_alias=True))
        self.exchange.wait_for(
            lambda state: is_over(state, self._rounds) or state.leader != self.exchange.me,
            self.stop,
        )

    def _append(self, kind: Kind, body: str) -> None:
        self.exchange.append(kind, self._rounds, body.encode())

    def _store_report(self, publication: Publication | None) -> None:
        """Before PUBLISHED is in the log: whoever sees that record finds the report."""
        progress = _at_the_end(self.recorder.overview(self.job.run, self._rounds))
        events = self.stories.together()
        if publication is not None:
            progress = progress.model_copy(update={"published": publication})
            events.append(Published(publication=publication))
        self.store.put("report.html", render(self.job, progress, events).encode())
        lines = "".join(event.model_dump_json(by_alias=True) + "\n" for event in events)
        self.store.put("events.jsonl", lines.encode())
        self.stories.forget()


def _at_the_end(progress: RunProgress) -> RunProgress:
    """Members have said that they evaluate or wait; once this is read they are done."""
    done = {"state": PeerState.DONE}
    peers = (
        report.model_copy(update=done) if report.peer in progress.view else report
        for report in progress.peers
    )
    return progress.model_copy(update={"peers": tuple(peers)})
