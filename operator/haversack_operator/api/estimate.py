"""What is known of a job's lines and of its peers' speed before anything runs: declared, measured or estimated. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from haversack_operator.api.job import Architecture, JobSpec, Pool
from haversack_operator.api.quantity import format_seconds, to_millis
from haversack_trainer.contract.choosing import AUTO, MEMBER, AutoSettings
from haversack_trainer.contract.traffic import FORWARDS_OF_A_STEP, Line, Work

MEGA: Final = 10**6
SITE: Final = Line(bits_per_second=1000 * MEGA, latency_seconds=0.001)
"""Of peers whose pods reach each other, where nothing is declared."""
LATENCY_SECONDS: Final = 0.02
"""Of a line of which only the bandwidth is known."""
ACCELERATOR_FLOPS: Final = {Architecture.AMD64: 20e12, Architecture.ARM64: 2e12}
"""What training makes of a usual server's accelerator, and of a Jetson, to an order of magnitude."""
CPU_FLOPS: Final = 20e9
"""The same of one CPU."""
UNKNOWN_STEP_SECONDS: Final = 1.0
"""Where the model's size is not known either."""
_MILLI: Final = 1000


@dataclass(frozen=True, slots=True)
class Figures:
    """With where they come from, in a word or two."""

    line: Line | None = None
    line_source: str = "unknown"
    step_seconds: float | None = None
    """Of the slowest peer; None: estimated."""
    step_source: str = "estimated"
    flops_per_cpu: float = CPU_FLOPS

    def step_of(self, spec: JobSpec, pool: Pool) -> float:
        """Seconds of a peer's optimizer step of a whole batch."""
        speeds = [speed(each, self.flops_per_cpu) for each in filled(spec)]
        own = speed(pool, self.flops_per_cpu)
        if self.step_seconds is not None:
            return self.step_seconds * min(speeds) / own
        footprint = spec.model.footprint
        if footprint is None:
            return UNKNOWN_STEP_SECONDS * min(speeds) / own
        tokens = spec.training.batch_size * spec.dataset.max_length
        forwards = FORWARDS_OF_A_STEP[spec.adapter.type]
        return 2 * footprint.parameters * tokens * forwards / own

    def slowest_step(self, spec: JobSpec) -> float:
        """Of all pools."""
        return max(self.step_of(spec, pool) for pool in filled(spec))

    def unevenness(self, spec: JobSpec) -> float:
        """How many times as fast as the slowest peer the fastest is."""
        steps = [self.step_of(spec, pool) for pool in filled(spec)]
        return max(steps) / min(steps)

    def words(self, spec: JobSpec) -> str:
        """The figures that a choice rests on."""
        line = "line unknown"
        if self.line is not None:
            bandwidth = float(f"{self.line.bits_per_second / MEGA:.3g}")
            latency = format_seconds(self.line.latency_seconds)
            line = f"{bandwidth:g} Mbit/s, {latency} ({self.line_source})"
        source = self.step_source
        if self.step_seconds is None and spec.model.footprint is None:
            source = "assumed"
        return f"{line}; a step {format_seconds(self.slowest_step(spec))} ({source})"


def declared(spec: JobSpec) -> Figures:
    """By the job itself."""
    given = spec.method.get(MEMBER) if spec.method.get("type") == AUTO else None
    auto = AutoSettings.model_validate(given or {})
    line, source = (SITE, "one site") if spec.network.is_direct else (None, "unknown")
    if auto.bandwidth_mbps is not None:
        usual = SITE.latency_seconds if spec.network.is_direct else LATENCY_SECONDS
        milliseconds = auto.latency_milliseconds
        latency = usual if milliseconds is None else float(milliseconds) / _MILLI
        line, source = Line(float(auto.bandwidth_mbps) * MEGA, latency), "declared"
    step = None if auto.step_seconds is None else float(auto.step_seconds)
    return Figures(line, source, step, "estimated" if step is None else "declared")


def filled(spec: JobSpec) -> list[Pool]:
    """Pools with peers; all, if none has any."""
    return [pool for pool in spec.pools if pool.peers.replicas] or list(spec.pools)


def speed(pool: Pool, flops_per_cpu: float = CPU_FLOPS) -> float:
    """Floating-point operations a second of one of the pool's peers, nominally."""
    if pool.accelerator is not None:
        kind = pool.architecture or Architecture.AMD64
        return pool.accelerator.count * ACCELERATOR_FLOPS[kind]
    return to_millis(pool.resources.cpu) / _MILLI * flops_per_cpu


def work_of(spec: JobSpec) -> Work | None:
    """None where the model's size is not known."""
    peers = sum(pool.peers.replicas for pool in spec.pools)
    footprint = spec.model.footprint
    return None if footprint is None else Work.of(footprint, spec.adapter, max(1, peers))
