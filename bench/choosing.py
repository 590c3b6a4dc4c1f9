"""All methods side by side: the same model, data and peers, and about the same compute.

Four peers teach MiniLM to tell from a docstring which family of Python's standard library it comes from; classes are
spread unevenly (Dirichlet 0.5). Each peer may compute as much as ``--steps`` plain steps of 16 samples do; with layers left
out it takes more steps, with forward passes only a step counts half. Peers take turns over a log in memory. Every arm first tries its learning
rates for a third of the steps, with a seed that is not reported; taken is the rate after which the mean model's loss on training texts is lowest.

``--timing`` measures instead what a round takes and a process's peak memory, a few rounds of one arm after the other, into a file of its own.
``--steps 2`` shows that both work.
"""

from __future__ import annotations

import argparse
import gc
import os
import resource
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any, Final

from bench import figures
from bench.abreast import abreast, processes, unfolding
from bench.arms import ARMS, PEERS, Who, best_rate, num_rounds, rate_of, settings_of
from bench.pages import figures_if_any
from bench.together import Scale, Stage

ALPHA: Final = "0.5"
BATCH_SIZE: Final = 16
STEPS: Final = 28
TIMED_STEPS: Final = 40
TRIAL_SEED: Final = 7
TRIAL_PART: Final = 3
"""Trials take one step in so many."""
TRIAL_SAMPLES: Final = 600
"""Training texts that a learning rate is judged by."""
KIB: Final = 1024
MIB: Final = 1024 * 1024

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Case:
    """One arm with one seed and one rate."""

    arm: str
    rate: str
    seed: int
    steps: int
    is_trial: bool = False

    def learn(self) -> Row:
        found = self._trained(self._judge)
        rounds = self.rounds
        return {
            "seed": self.seed,
            "loss": found["loss"][rounds],
            "accuracy": found["accuracy"][rounds],
            "bytes": sum(found["bytes_a_round"]),
            "cpu_seconds": found["cpu_seconds"],
        }

    def cost(self) -> Row:
        """Of this process, in which all peers take turns; the first round, which is slower, is left out."""
        _forget_peak()
        found = self._trained(_few)
        seconds = found["seconds_a_round"]
        return {
            "ms_a_round": round(1000 * fmean(seconds[1:] or seconds) / self.num_peers, 1),
            "timed_rounds": len(seconds[1:] or seconds),
            "peak_mib": _peak_mib(),
        }

    @property
    def rounds(self) -> int:
        return num_rounds(ARMS[self.arm], self.steps)

    @property
    def settings(self) -> dict[str, Any]:
        return settings_of(ARMS[self.arm], self.rate, self.steps)

    @property
    def num_peers(self) -> int:
        return PEERS if ARMS[self.arm].who is Who.ALL else 1

    def _trained(self, judged: Callable[[Stage], Stage]) -> dict[str, Any]:
        arm = ARMS[self.arm]
        scale = Scale(PEERS, self.rounds, local_steps=0, batch_size=BATCH_SIZE, period=self.rounds)
        stage = judged(Stage.of(scale, self.seed, ALPHA))
        is_pooled = arm.who is Who.POOLED
        if not is_pooled:
            # The data stay dealt over all peers.
            stage = replace(stage, scale=replace(scale, peers=self.num_peers))
        return dict(stage.run_as_set(arm.method, self.settings, is_pooled=is_pooled))

    def _judge(self, stage: Stage) -> Stage:
        if not self.is_trial:
            return stage
        training = stage.parts.training
        some = training[:: max(1, len(training) // TRIAL_SAMPLES)]
        return replace(stage, parts=replace(stage.parts, held_out=stage.samples.take(some)))


def _few(stage: Stage) -> Stage:
    """Judged by so few samples that it takes no more memory than training."""
    few = stage.parts.held_out.take(range(BATCH_SIZE))
    return replace(stage, parts=replace(stage.parts, held_out=few))


def _forget_peak() -> None:
    import torch

    if torch.cuda.is_available():
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _peak_mib() -> int:
    """Of the device where there is one, otherwise of the process, which then does nothing else."""
    import torch

    if torch.cuda.is_available():
        return round(torch.cuda.max_memory_reserved() / MIB)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB / MIB)


def trials(arm: str, steps: int) -> list[Case]:
    part = max(1, steps // TRIAL_PART)
    return [Case(arm, rate, TRIAL_SEED, part, is_trial=True) for rate in ARMS[arm].rates]


def reported(known: Mapping[Case, Row], case: Case, steps: int, seeds: Sequence[int]) -> list[Case]:
    """What is due once ``case`` is known: after an arm's last trial, each seed at its best rate."""
    losses = {c.rate: row["loss"] for c, row in known.items() if c.is_trial and c.arm == case.arm}
    if not case.is_trial or len(losses) < len(ARMS[case.arm].rates):
        return []
    return [Case(case.arm, best_rate(losses), seed, steps) for seed in seeds]


def row_of(arm: str, known: Mapping[Case, Row]) -> Row:
    """An arm's figures, of the seeds that are known, at least one."""
    runs = {case: run for case, run in known.items() if case.arm == arm and not case.is_trial}
    case = next(iter(runs))
    return {
        "settings": case.settings,
        "steps": case.steps,
        "rounds": case.rounds,
        "loss": round(fmean(run["loss"] for run in runs.values()), 5),
        "accuracy": round(fmean(run["accuracy"] for run in runs.values()), 4),
        "sent_bytes_per_peer": round(fmean(run["bytes"] for run in runs.values()) / PEERS)
        if case.num_peers > 1
        else 0,
        "cpu_seconds": round(fmean(run["cpu_seconds"] for run in runs.values()), 1),
        "runs": sorted(runs.values(), key=lambda run: int(run["seed"])),
        "training_loss_by_rate": {
            trial.rate: known[trial]["loss"]
            for trial in sorted(known, key=lambda one: float(one.rate))
            if trial.arm == arm and trial.is_trial
        },
        "commit": figures.commit(),
    }


def learning(
    arms: Sequence[str], steps: int, seeds: Sequence[int], num_processes: int
) -> Iterator[tuple[str, Row]]:
    """An arm's row after each of its seeds."""
    known: dict[Case, Row] = {}

    def onward(case: Case, row: Row) -> list[Case]:
        known[case] = row
        return reported(known, case, steps, seeds)

    cases = [case for arm in arms for case in trials(arm, steps)]
    with processes(num_processes) as pool:
        for case, row in unfolding(pool, Case.learn, cases, onward):
            print(case, row["loss"], row["accuracy"], flush=True)
            if not case.is_trial:
                yield case.arm, row_of(case.arm, known)


def costs(arms: Sequence[str], steps: int, *, fresh: bool) -> Iterator[tuple[str, Row]]:
    """Each arm's, alone on the machine. ``fresh``: in a process of its own."""
    cases = [Case(arm, ARMS[arm].rates[0], TRIAL_SEED, steps) for arm in arms]
    for case, row in abreast(Case.cost, cases, 1, fresh=fresh):
        yield case.arm, row


def merged(before: Mapping[str, Any], arm: str, row: Row) -> dict[str, Row]:
    """The rows of a file with a new one; those that were measured otherwise than they would be now are dropped."""

    def is_current(name: str) -> bool:
        settings = before.get(name, {}).get("settings")
        if settings is None or before[name]["steps"] != row["steps"]:
            return False
        return bool(settings == settings_of(ARMS[name], rate_of(settings), row["steps"]))

    rows = {name: before[name] for name in ARMS if is_current(name)} | {arm: row}
    return {name: rows[name] for name in ARMS if name in rows}


def keep(name: str, variant: str, device: str, rows: Mapping[str, Row]) -> None:
    shared = {"device": device, "peers": PEERS, "batch_size": BATCH_SIZE}
    figures.write(name, {**shared, **rows}, variant)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--steps", type=int, help=f"default {STEPS}, with --timing {TIMED_STEPS}")
    parser.add_argument("--seeds", type=int, nargs="*", default=[17])
    parser.add_argument("--processes", type=int, default=1, help="without --timing")
    parser.add_argument(
        "--arms",
        nargs="*",
        choices=ARMS,
        default=list(ARMS),
        help="only these; the others' figures stay as they are in the result file",
    )
    parser.add_argument("--timing", action="store_true", help="what a round costs, nothing else")
    chosen = parser.parse_args()
    if chosen.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    import torch

    has_cuda = torch.cuda.is_available()
    if chosen.device == "cuda" and not has_cuda:
        parser.error("--device: there is no CUDA device here; write cpu")
    device = figures.device_name()
    variant = "_cuda" if has_cuda else ""
    # Written row by row, so that a run that is cut off keeps what it has.
    if chosen.timing:
        rows: dict[str, Row] = {}
        for arm, row in costs(chosen.arms, chosen.steps or TIMED_STEPS, fresh=not has_cuda):
            rows[arm] = row
            keep("choosing_costs", variant, device, rows)
        return
    for arm, row in learning(chosen.arms, chosen.steps or STEPS, chosen.seeds, chosen.processes):
        keep("choosing", variant, device, merged(figures_if_any(f"choosing{variant}"), arm, row))


if __name__ == "__main__":
    main()
