"""How many processes a peer's pod has, and what that asks of a job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from haversack_operator.api.job import JobSpec, Pool
from haversack_trainer.contract.cards import METHODS, MethodCard

NOT_SHARDED: Final = "None"
GROUPS: Final = "Groups"
"""Whose first process alone is the method: the others serve it."""


def sharding(spec: JobSpec) -> str | None:
    """How the processes of a pod share the model out; None where there is one process."""
    # Asked by rules, too, before the method's own settings are checked.
    type_ = spec.method.get("type")
    card = METHODS.get(type_) if isinstance(type_, str) else None
    if card is None or not card.shards:
        return None
    settings = spec.method.get(card.member)
    default = card.load_settings().model_fields["sharding"].default
    given = settings if isinstance(settings, Mapping) else {}
    chosen = str(given.get("sharding", default))
    return None if chosen == NOT_SHARDED else chosen


def num_processes(spec: JobSpec, pool: Pool) -> int:
    """Of each peer of the pool: one per device where the job is sharded, otherwise one."""
    return _asked(pool) if sharding(spec) is not None else 1


def has_processes_only_if_sharded(spec: JobSpec) -> bool:
    """The rule's other language: see ``rules``."""
    return sharding(spec) is not None or all(pool.processes == 1 for pool in spec.pools)


def has_equal_processes(spec: JobSpec) -> bool:
    """The rule's other language: see ``rules``."""
    is_partnered = sharding(spec) is not None and METHODS[spec.method["type"]].has_partners
    return not is_partnered or len({_asked(pool) for pool in spec.pools}) == 1


def has_processes_to_serve(spec: JobSpec) -> bool:
    """The rule's other language: see ``rules``."""
    return sharding(spec) != GROUPS or any(_asked(pool) > 1 for pool in spec.pools)


def only_if_sharded_cel() -> str:
    """Some pool with several processes needs a method that shares out, told to do so."""
    return " || ".join(["self.pools.all(p, p.processes == 1)", *map(_is_sharded_cel, _cards())])


def equal_processes_cel() -> str:
    """Every process of a peer has its partner in every other peer; where a peer's bytes all go into the log, they
    are one process's."""
    equal = f"self.pools.all(p, {_asked_cel('p')} == {_asked_cel('self.pools[0]')})"
    partnered = (card for card in _cards() if card.has_partners)
    return " && ".join(f"(!({_is_sharded_cel(card)}) || {equal})" for card in partnered) or "true"


def processes_to_serve_cel() -> str:
    """Groups need others to go to: some pool has them. ZeRO does what it says in one process, too."""
    several = f"self.pools.exists(p, {_asked_cel('p')} > 1)"
    served = (f"self.method.{card.member}" for card in _cards() if card.serves is not None)
    return " && ".join(
        f"(!(has({member}) && {member}.sharding == '{GROUPS}') || {several})" for member in served
    )


def num_shares(spec: JobSpec, pool: Pool) -> int:
    """Of a step's samples, into which a peer's processes cut them."""
    card = METHODS.get(spec.method["type"])
    return num_processes(spec, pool) if card is not None and card.shares_samples else 1


def shares_forwards_out(spec: JobSpec) -> bool:
    """Whether processes share out a model that they only evaluate."""
    return sharding(spec) is not None and not METHODS[spec.method["type"]].needs_backward


def shares_forwards_out_cel() -> str:
    """The same for the API server."""
    return " || ".join(_is_sharded_cel(card) for card in _cards() if not card.needs_backward)


def holds_if_sharded_cel(condition: str) -> str:
    """What must hold of jobs whose pods share a model out."""
    rules = (f"({condition} || !({_is_sharded_cel(card)}))" for card in _cards())
    return " && ".join(rules) or "true"


def _asked(pool: Pool) -> int:
    return pool.accelerator.count if pool.accelerator else pool.processes


def _asked_cel(pool: str) -> str:
    return f"(has({pool}.accelerator) ? {pool}.accelerator.count : {pool}.processes)"


def _cards() -> list[MethodCard]:
    return [card for card in METHODS.values() if card.shards]


def _is_sharded_cel(card: MethodCard) -> str:
    member = f"self.method.{card.member}"
    return f"(has({member}) && {member}.sharding != '{NOT_SHARDED}')"
