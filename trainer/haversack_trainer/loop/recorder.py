"""What a peer tells the world while it runs: reports to the hub, events on disk, a line of progress."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from haversack_trainer.contract.report import (
    MAX_REMARK,
    REFUSED,
    PeerReport,
    PeerState,
    RunProgress,
)
from haversack_trainer.exchange.base import Exchange
from haversack_trainer.exchange.log import RunState
from haversack_trainer.method import StepResult
from haversack_trainer.report.events import (
    CheckpointFailed,
    Decided,
    Event,
    EventLog,
    ReportError,
    StoodIn,
    words_of,
)
from haversack_trainer.report.progress import Progress, Standing

from .chronicle import Chronicle, Seen

Clock = Callable[[], float]
_logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Recorder:
    """Best effort towards the hub; every round, every change of state, and once a period."""

    exchange: Exchange
    events: EventLog
    open_progress: Callable[[int], Progress]
    """Given the round to begin at."""
    chronicle: Chronicle
    word: PeerReport
    """This peer's newest report."""
    period_seconds: float
    clock: Clock = time.monotonic
    _due: float = field(default=0.0, init=False)
    _began: float = field(default=0.0, init=False)
    _reports: Mapping[int, PeerReport] = field(default_factory=dict, init=False)
    _progress: Progress | None = field(default=None, init=False)
    _stand_in: str = field(default="", init=False)
    """Instead of the method's remark, for as long as there is no mean of all."""

    def state(self, state: PeerState) -> None:
        """Say at once that this peer is doing something else now."""
        self.word = self.word.model_copy(update={"state": state})
        self._send()

    def beat(self) -> None:
        """Called between micro-steps: say something if the last word is old."""
        if self.clock() >= self._due:
            self._send()

    def begin(self, round: int) -> None:
        """A round begins."""
        self._began = self.clock()
        self.word = self.word.model_copy(update={"round": round})
        if round == 0 and self.word.remark:
            # Before any step, it is why the job has this method.
            self._write(Decided(round=round, remark=self.word.remark))

    def stepped(self, step: StepResult) -> None:
        """The round's local work is done."""
        self.word = self.word.model_copy(
            update={
                "loss": step.loss if math.isfinite(step.loss) else None,
                "epsilon": step.metrics.get("epsilon", self.word.epsilon),
                "remark": step.remark[:MAX_REMARK] or self.word.remark,
                "steps": self.word.steps + step.num_steps,
                "samples": self.word.samples + step.num_samples,
                "nonfinite_steps": self.word.nonfinite_steps + step.num_nonfinite_steps,
            }
        )
        if step.remark:
            self._write(Decided(round=self.word.round, remark=step.remark))

    def closed(self, blob_bytes: int, metrics: Mapping[str, float]) -> None:
        """The round is closed and taken in."""
        seconds = self.clock() - self._began
        refused = dict(self.word.refused)
        for name, count in metrics.items():
            if name.startswith(REFUSED):
                peer = int(name.removeprefix(REFUSED))
                refused[peer] = refused.get(peer, 0) + int(count)
        self.word = self.word.model_copy(update={"seconds_per_round": seconds, "refused": refused})
        self.beat()
        timing = self.exchange.timing
        self._tell(
            Seen(
                blob_bytes,
                seconds,
                timing.exchange_seconds,
                timing.waited_seconds,
                metrics,
                self._known_reports(),
            )
        )
        state = self.exchange.state
        if self._progress is None:
            self._progress = self.open_progress(state.round - 1)
        self._progress.show(
            Standing(state.round, len(state.view), self.word.loss, self.exchange.bytes_sent)
        )

    def catch_up(self) -> None:
        """Write down what the log says beyond rounds of this peer's own."""
        self._tell(Seen(reports=self._known_reports()))

    def stood_in(self, round: int, reason: str) -> None:
        """No mean of all could be made of ``round``, and this peer's own adapter was taken for it; said once."""
        happening = StoodIn(round=round, peer=self.word.peer, reason=reason)
        remark = f"after round {round}, {words_of(happening)}"[:MAX_REMARK]
        if remark != self._stand_in:
            self._stand_in = remark
            _logger.warning("%s", remark)
            self._write(happening)

    def averaged(self) -> None:
        """There is a mean of all again."""
        self._stand_in = ""

    def checkpoint_failed(self, round: int, reason: str) -> None:
        """The store would not take a checkpoint."""
        self._write(CheckpointFailed(round=round, reason=reason))

    def overview(self, run: str, rounds: int) -> RunProgress:
        """The run as the report shows it."""
        state = self.exchange.state
        reports = self._known_reports()
        progress = progress_of(state, run, rounds, tuple(reports[peer] for peer in sorted(reports)))
        return progress.model_copy(update={"head": self.exchange.head.hex()})

    def close(self) -> None:
        """Nothing is shown or written any more."""
        if self._progress is not None:
            self._progress.close()
        self.events.close()

    def _tell(self, seen: Seen) -> None:
        for event in self.chronicle.tell(self.exchange.state, seen):
            self._write(event)

    def _write(self, event: Event) -> None:
        try:
            self.events.append(event)
        except ReportError as error:
            _logger.warning("%s", error)

    def _known_reports(self) -> Mapping[int, PeerReport]:
        return {**self._reports, self.word.peer: self._said}

    @property
    def _said(self) -> PeerReport:
        if not self._stand_in:
            return self.word
        return self.word.model_copy(update={"remark": self._stand_in})

    def _send(self) -> None:
        self._due = self.clock() + self.period_seconds
        self.word = self.word.model_copy(
            update={
                "bytes_sent": self.exchange.bytes_sent,
                "bytes_received": self.exchange.bytes_received,
                "time": time.time(),
            }
        )
        self.exchange.report(self._said)
        if self.exchange.state.leader == self.word.peer:
            self._reports = self.exchange.peer_reports()


def progress_of(
    state: RunState, run: str, rounds: int, reports: tuple[PeerReport, ...]
) -> RunProgress:
    """What the log and the peers' reports come to."""
    return RunProgress(
        run=run,
        view=state.view,
        round=state.round,
        rounds=state.rounds(rounds),
        num_records=state.num_records,
        peers=reports,
        evaluation=state.evaluation,
        checkpoint_round=state.checkpoint.round if state.checkpoint else None,
        verdict=state.verdict,
        scores=state.scores,
        approved_by=state.approved_by,
        published=state.publication,
    )
