"""What a person sees of a job while it runs: a job's body and the hub's progress to lines. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from haversack_operator.api import names
from haversack_operator.api.quantity import format_bytes
from haversack_operator.cluster.local_state import finished, is_true
from haversack_trainer.contract.report import PeerReport, RunProgress

from .jobfile import ANNOTATION_FILE, ANNOTATION_STATE, origin
from .words import bar, duration, percent, program, state_option

BAR_WIDTH: Final = 24
PEER_ROW: Final = "{:>5}  {:<18.18} {:<11.11} {:>6} {:>8} {:>8} {:>10}"
HEADINGS: Final = ("peer", "node", "state", "round", "loss", "s/round", "sent")
MAX_PEERS: Final = 12


def block(
    job: Mapping[str, Any], progress: RunProgress | None, said: Collection[str] = ()
) -> list[str]:
    """The lines that are drawn anew: where the run is, its figures, and a row per peer."""
    return [
        f"{_name(job)} · {state(job, said)}",
        *_round(job),
        *_figures(job),
        *(ending(job) if _awaits_approval(job) else ()),
        *(_peers(progress) if progress and progress.peers else ()),
    ]


def line(job: Mapping[str, Any], said: Collection[str] = ()) -> str:
    """The same in one line, for logs."""
    status = job.get("status", {})
    parts = [state(job, said), f"peers {status.get('peersSummary', '–')}"]
    if progress := status.get("progress"):
        parts.append(f"round {progress['round']}/{progress['rounds']}")
        parts += [f"loss {progress['loss']}"] if "loss" in progress else []
    if evaluation := status.get("evaluation"):
        parts.append(_evaluation(evaluation))
    if traffic := status.get("traffic"):
        parts.append(f"sent {format_bytes(traffic['bytesSent'])}")
    verdict = _verdict_words(job)
    if _awaits_approval(job) and not any(verdict in each for each in said):
        parts.append(verdict)
    if (left := _seconds_left(job)) is not None:
        parts.append(f"{duration(left)} left")
    return f"{job['metadata']['name']}: {', '.join(parts)}"


def state(job: Mapping[str, Any], said: Collection[str] = ()) -> str:
    """The job in a few words: the first condition that says most, with its message unless that was
    ``said`` before."""
    by_type = _conditions(job)
    if _awaits_approval(job):
        return f"waiting for approval: {program('approve')} {job['metadata']['name']}{where(job)}"
    for kind, words in _STATES:
        entry = by_type.get(kind.lstrip("!"))
        if entry is not None and entry["status"] == ("False" if kind.startswith("!") else "True"):
            brief, _, long = words.partition(": ")
            told = f": {long}" if long and entry["message"] not in said else ""
            return f"{brief}{told}".format(message=_plain(entry["message"]), reason=entry["reason"])
    return "starting"


_STATES: Final = (
    (names.Condition.COMPLETE, "complete"),
    (names.Condition.FAILED, "failed ({reason}): {message}"),
    (f"!{names.Condition.ACCEPTED}", "not accepted: {message}"),
    (names.Condition.SUSPENDED, "suspended"),
    (names.Condition.STALLED, "stalled: {message}"),
    (f"!{names.Condition.PLACED}", "waiting for a place: {message}"),
    (f"!{names.Condition.HUB_READY}", "waiting for the hub: {message}"),
    (f"!{names.Condition.PEERS_READY}", "waiting for peers: {message}"),
    (names.Condition.READY, "training"),
)


def where(job: Mapping[str, Any]) -> str:
    """The options with which another command finds the job."""
    kept = origin(job, ANNOTATION_STATE)
    if kept is not None:
        return state_option(Path(kept))
    namespace = job["metadata"].get("namespace")
    return f" -n {namespace}" if namespace else ""


def at_rest(job: Mapping[str, Any]) -> list[str]:
    """A job of this machine that no process runs any more, and how it goes on."""
    file = origin(job, ANNOTATION_FILE) or "JOB.yaml"
    return [
        f"{_name(job)} · not running",
        *_round(job),
        *_figures(job),
        f"resume    {program('run')} {shlex.quote(file)}{where(job)}",
    ]


def _awaits_approval(job: Mapping[str, Any]) -> bool:
    gate = _conditions(job).get(names.Condition.GATE_PASSED, {})
    return gate.get("reason") == "AwaitingApproval" and not finished(job)


def news(notes: Iterable[str], said: Collection[str]) -> Iterator[str]:
    """The notes that tell something new: conditions often share a sentence."""
    known = set(said)
    for note in notes:
        words = sentence(note)
        if not any(old and old in words for old in known):
            known.add(words)
            yield note


def sentence(note: str) -> str:
    """An event's note without the condition that it starts with."""
    kind, _, rest = note.partition(": ")
    return rest if kind in _TYPES else note


_TYPES: Final = frozenset(value for name, value in vars(names.Condition).items() if name.isupper())


def last_words(job: Mapping[str, Any]) -> frozenset[str]:
    """The sentences that ``ending`` and ``state`` say when the job is over."""
    final = (names.Condition.COMPLETE, names.Condition.FAILED)
    ends = {_conditions(job).get(kind, {}).get("message", "") for kind in final}
    return frozenset({*ends, _verdict_words(job)} - {""})


def said_by_ending(job: Mapping[str, Any]) -> frozenset[str]:
    """The messages of conditions that only repeat the gate's reason."""
    reason = _verdict_words(job)
    messages = (entry["message"] for entry in _conditions(job).values())
    return frozenset(each for each in messages if reason and reason in each)


def _verdict_words(job: Mapping[str, Any]) -> str:
    return str(job.get("status", {}).get("verdict", {}).get("reason", ""))


def unplaced(job: Mapping[str, Any]) -> str | None:
    """Why no plan covers the job, with each pool by its field; None where one does, or may yet."""
    placed = _conditions(job).get(names.Condition.PLACED)
    if placed is None or placed["reason"] != "CannotPlace":
        return None
    message = _plain(placed["message"])
    for number, pool in enumerate(job["spec"]["pools"]):
        message = message.replace(
            f"pool {pool['name']}:", f"spec.pools[{number}] ({pool['name']}):"
        )
    return message


def _conditions(job: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {entry["type"]: entry for entry in job.get("status", {}).get("conditions", ())}


def ending(job: Mapping[str, Any]) -> Iterator[str]:
    """What is to be said when the job is over."""
    status = job.get("status", {})
    if verdict := status.get("verdict"):
        yield f"gate      {'passed' if verdict['passed'] else 'FAILED'}: {verdict['reason']}"
        if "accuracyAfter" in verdict:
            before, after = (
                percent(verdict.get("accuracyBefore")),
                percent(verdict["accuracyAfter"]),
            )
            probe = verdict.get("probeAccuracy")
            between = f"linear probe {percent(probe)}, " if probe else ""
            yield f"held-out  accuracy before {before}, {between}after {after}"
        yield f"held-out  loss before {verdict['lossBefore']}, after {verdict['lossAfter']}"
    if adapter := status.get("adapter"):
        yield f"adapter   {adapter['uri']} ({format_bytes(adapter['sizeBytes'])})"


def _name(job: Mapping[str, Any]) -> str:
    return f"{job['metadata']['name']} ({job['spec']['method']['type']})"


def _plain(message: str) -> str:
    return message.strip().rstrip(".") or "no message"


def _round(job: Mapping[str, Any]) -> Iterator[str]:
    status = job.get("status", {})
    progress = status.get("progress")
    if progress is None:
        return
    share = progress["round"] / max(1, progress["rounds"])
    left = _seconds_left(job)
    parts = [
        f"round {progress['round']}/{progress['rounds']} {bar(share, BAR_WIDTH)}",
        f"peers {status.get('peersSummary', '–')}",
    ]
    if left is not None:
        parts.append(f"{duration(left)} left")
    yield "  ".join(parts)


def _figures(job: Mapping[str, Any]) -> Iterator[str]:
    status = job.get("status", {})
    parts = []
    if "loss" in status.get("progress", {}):
        parts.append(f"training loss {status['progress']['loss']}")
    if evaluation := status.get("evaluation"):
        parts.append(f"{_evaluation(evaluation)} after round {evaluation['round']}")
    if traffic := status.get("traffic"):
        sent, received = traffic["bytesSent"], traffic["bytesReceived"]
        parts.append(f"sent {format_bytes(sent)}, received {format_bytes(received)}")
    if parts:
        yield "  ".join(parts)


def _evaluation(evaluation: Mapping[str, Any]) -> str:
    if "accuracy" in evaluation:
        return f"held-out accuracy {percent(evaluation['accuracy'])}"
    return f"held-out loss {evaluation['loss']}"


def _seconds_left(job: Mapping[str, Any]) -> float | None:
    """None where nothing is known, and where nobody trains."""
    if finished(job) or _awaits_approval(job) or is_true(job, names.Condition.SUSPENDED):
        return None
    progress = job.get("status", {}).get("progress", {})
    seconds: float | None = progress.get("estimatedRemainingSeconds")
    return seconds


def _peers(progress: RunProgress) -> Iterator[str]:
    yield PEER_ROW.format(*HEADINGS)
    for report in progress.peers[:MAX_PEERS]:
        yield _row(report, member=report.peer in progress.view)
    if len(progress.peers) > MAX_PEERS:
        yield f"       and {len(progress.peers) - MAX_PEERS} more"


def _row(report: PeerReport, *, member: bool) -> str:
    loss = "–" if report.loss is None else f"{report.loss:.3f}"
    pace = "–" if report.seconds_per_round is None else f"{report.seconds_per_round:.1f}"
    state_ = report.state.value if member or not report.round else "out of view"
    sent = format_bytes(report.bytes_sent)
    return PEER_ROW.format(report.peer, report.node, state_, report.round, loss, pace, sent)
