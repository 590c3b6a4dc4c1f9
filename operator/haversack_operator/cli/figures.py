"""Options that say how fast lines and peers are; what is not given is declared by the job, or measured here."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import replace

from haversack_operator.api.estimate import LATENCY_SECONDS, MEGA, Figures, declared
from haversack_operator.api.job import JobSpec
from haversack_operator.cluster import machine_speed
from haversack_trainer.contract.traffic import Line

from .words import InputError

GIVEN = "given"


def add_figures(parser: argparse.ArgumentParser) -> None:
    """Options of a line and of a step."""
    group = parser.add_argument_group(
        "figures", "what is not given here is what the job declares (spec.method.auto)"
    )
    positive, any_ = _number(above=0), _number(above=-math.inf)
    group.add_argument(
        "--bandwidth", type=positive, metavar="MBIT", help="Mbit/s between a peer and the others"
    )
    group.add_argument(
        "--latency", type=any_, metavar="MS", help="milliseconds, one way; goes with --bandwidth"
    )
    group.add_argument(
        "--step-seconds",
        type=positive,
        metavar="S",
        help="what an optimizer step of a whole batch takes the slowest peer",
    )


def figures_of(chosen: argparse.Namespace, spec: JobSpec, *, measure: bool) -> Figures:
    """Given, else declared, else (``measure``) measured on this machine. Raises ``InputError``."""
    found = declared(spec)
    if chosen.latency is not None and chosen.bandwidth is None:
        raise InputError("--latency: says little without --bandwidth; give that, too")
    if chosen.latency is not None and chosen.latency < 0:
        raise InputError("--latency: nothing arrives before it is sent; write 0 or more")
    if chosen.bandwidth is not None:
        latency = LATENCY_SECONDS if chosen.latency is None else chosen.latency / 1000
        found = replace(found, line=Line(chosen.bandwidth * MEGA, latency), line_source=GIVEN)
    if chosen.step_seconds is not None:
        found = replace(found, step_seconds=chosen.step_seconds, step_source=GIVEN)
    return _measured(found) if measure else found


def _measured(found: Figures) -> Figures:
    if found.line is None:
        source = "this machine's loopback"
        found = replace(found, line=machine_speed.loopback(), line_source=source)
    if found.step_seconds is None:
        source = "estimated by this machine's CPUs"
        return replace(found, flops_per_cpu=machine_speed.flops_per_cpu(), step_source=source)
    return found


def _number(*, above: float) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and value > above):
            wanted = "a number" if above < 0 else "a number above 0"
            raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}")
        return value

    return read
