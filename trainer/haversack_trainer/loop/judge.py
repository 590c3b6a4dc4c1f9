"""The held-out set, and what it says of the adapter that the model has at the moment."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

from haversack_trainer.checkpoint.adapters import latest_adapter
from haversack_trainer.contract.membership import Identity
from haversack_trainer.contract.report import Evaluation, PeerScores, Verdict
from haversack_trainer.contract.spec import GateSpec
from haversack_trainer.data import Samples
from haversack_trainer.evaluate import Scores, check_reload, evaluate, judge, probe
from haversack_trainer.model import FineTuned, ModelError
from haversack_trainer.objects.base import Store

_logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Judge:
    """Evaluates; gives the verdict; sees that what is written is what was judged."""

    model: FineTuned
    held_out: Samples
    personal: Samples | None
    """This peer's own, if the job asks how good each peer's own model is."""
    training: Samples
    """All peers' samples, for the linear probe."""
    batch_size: int
    gate: GateSpec
    seed: int
    store: Store
    identity: Identity
    work_dir: Path
    _scores: dict[tuple[int, str], Scores] = field(default_factory=dict, init=False)
    """The newest only, by round and digest: verdict and publication need it once more."""

    def evaluation(self, round: int) -> Evaluation:
        """Held-out figures after ``round`` rounds."""
        return self._judged(round).evaluation

    def own_scores(self, personal: Samples, round: int) -> PeerScores:
        """The peer's own model, which must be in place, on its own samples and on the common ones."""
        found = evaluate(self.model, personal, self.batch_size, round)
        return PeerScores(personal=found.evaluation, common=self._judged(round).evaluation)

    def verdict(self, round: int) -> Verdict:
        """The gate's word, against the base model and the adapter published before."""
        after = self._judged(round)
        with self.model.without_adapter():
            before = evaluate(self.model, self.held_out, self.batch_size, 0)
        return judge(
            tolerance=float(self.gate.tolerance),
            before=before,
            after=after,
            previous=self._previous(),
            probe=probe(self.model, self.training, self.held_out, self.seed),
            update_ratios=self.model.update_ratios(),
            digest=self.model.trainables_digest(),
            seed=self.seed,
        )

    def write(self, round: int) -> Path:
        """The adapter as files, read back and judged again. Raises ``EvaluateError``."""
        folder = self.work_dir / f"adapter-{round}"
        self.model.save_adapter(folder)
        check_reload(self.model, folder, self.held_out, self.batch_size, self._judged(round))
        return folder

    def _judged(self, round: int) -> Scores:
        key = (round, self.model.trainables_digest())
        if key not in self._scores:
            self._scores = {key: evaluate(self.model, self.held_out, self.batch_size, round)}
        return self._scores[key]

    def _previous(self) -> Scores | None:
        found = latest_adapter(self.store, self.work_dir / "previous")
        if found is None:
            return None
        folder, manifest = found
        if manifest.meta.identity.base_model != self.identity.base_model:
            _logger.warning(
                "the adapter published before is of another base model: it is no reference"
            )
            return None
        try:
            with self.model.with_adapter(folder):
                return evaluate(self.model, self.held_out, self.batch_size, manifest.round)
        except ModelError as error:
            _logger.warning("the adapter published before is no reference: %s", error)
            return None
