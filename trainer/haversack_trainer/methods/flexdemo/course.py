"""How the rounds go on: as the settings say, or as ``scheme: Auto`` has chosen from what was measured."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from .auto import choose, together
from .options import Options
from .probe import Part, Probe, heard
from .settings import Scheme, Settings, Update
from .values import PayloadError

SIGN_TO_ADAMW: Final = 3.0
"""A sign step moves every weight; DiLoCo's inner AdamW takes as much as that at a higher rate."""
_LENGTH_BYTES: Final = 2


@dataclass(frozen=True, slots=True)
class Course:
    """Equal on all peers that are in sync, but for what a probe has measured."""

    options: Options
    delay: int
    every: int = 1
    """Rounds between two exchanges. Auto's DiLoCo keeps to one step a round, so that the run is no longer."""
    probe: Probe | None = None
    changes: Mapping[str, Any] | None = None
    """What Auto has chosen."""

    @staticmethod
    def of(settings: Settings, seed: int, first_round: int = 0) -> Course:
        """The course at the run's start, or where it starts anew."""
        is_auto = settings.scheme is Scheme.AUTO
        probe = Probe(first_round) if is_auto else None
        return Course(Options.of(settings, seed), settings.delay, probe=probe)

    @property
    def num_steps(self) -> int:
        """Optimizer steps of a round."""
        return self.options.num_steps if self.every == 1 else 1

    def part(self, round: int) -> Part | None:
        """What the round is for, where it belongs to a probe."""
        return self.probe.part(round) if self.probe else None

    def is_silent(self, round: int) -> bool:
        """Whether nobody sends anything in it."""
        return (round + 1) % self.every != 0 or self.part(round) is Part.SMALL

    def decided(
        self, round: int, told: Iterable[bytes], payload_bytes: Callable[[Options], int]
    ) -> tuple[Course, str]:
        """The course after a probe's last round, given what peers told in it, and a sentence on it."""
        measured = [heard(one, payload_bytes(self.options)) for one in told]
        if not any(measured):
            return replace(self, probe=Probe(round + 1)), ""
        choice = choose(
            together([one for one in measured if one]),
            lambda changes: payload_bytes(replace(self.options, **changes)),
            with_full=self.options.update is Update.ADAMW,
        )
        return self._changed({**choice.changes, "delay": choice.delay}), choice.reason

    def _changed(self, changes: Mapping[str, Any]) -> Course:
        options = replace(
            self.options, **{name: value for name, value in changes.items() if name != "delay"}
        )
        is_quiet = options.scheme is Scheme.DILOCO
        if is_quiet and options.update is Update.SIGN:
            options = replace(options, learning_rate=SIGN_TO_ADAMW * options.learning_rate)
        every = options.sync_every if is_quiet else 1
        return Course(options, changes["delay"], every, changes=dict(changes))

    def state_dict(self) -> dict[str, Any]:
        """What a peer needs to go on with it."""
        return {
            "probe": self.probe.state_dict() if self.probe else None,
            "changes": dict(self.changes) if self.changes else None,
        }

    def restored(self, state: Mapping[str, Any]) -> Course:
        """This one, the course at the start, as ``state`` has it. Raises ``PayloadError``."""
        try:
            if state["changes"]:
                scheme = Scheme(state["changes"]["scheme"])
                return self._changed({**state["changes"], "scheme": scheme})
            probe = Probe(**state["probe"]) if state["probe"] else None
            return replace(self, probe=probe)
        except (KeyError, TypeError, ValueError) as error:
            raise PayloadError(f"this is no course of a run: {error}") from error

    def pack(self, state: bytes) -> bytes:
        """The course and a state, for peers that have neither."""
        own = self.state_dict()
        if own["probe"]:
            own["probe"] = {"first": own["probe"]["first"]}
        header = json.dumps(own).encode()
        return len(header).to_bytes(_LENGTH_BYTES, "little") + header + state


def unpack(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Inverse of ``pack``: what ``restored`` takes, and the state. Raises ``PayloadError``."""
    end = _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES], "little")
    try:
        course = json.loads(data[_LENGTH_BYTES:end])
    except ValueError as error:
        raise PayloadError(f"this is no state of a run: {error}") from error
    if not isinstance(course, dict):
        raise PayloadError("this is no state of a run")
    return course, data[end:]
