"""A real API server as a ``Cluster``."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from haversack_operator.api import names, owned
from haversack_operator.snapshot import Invalid, Job, Pod, Role, Snapshot
from haversack_trainer.contract.report import RunProgress

from . import certificates
from .api import Api, Nodes
from .base import Actions, ClusterError, Key, Manifest, Ref, pods_of
from .hubclient import HubClient
from .kube_belongings import Belongings, Shelf, is_of, pack
from .kube_client import Refusal
from .kube_events import event_from
from .kube_jobs import job_from
from .kube_objects import pod_from

log = logging.getLogger(__name__)


class KubeCluster:
    """Reads a job's own objects live, nodes from the view, and writes by server-side apply."""

    def __init__(self, api: Api, nodes: Nodes, hub: HubClient) -> None:
        self._api = api
        self._nodes = nodes
        self._hub = hub
        self._shelf = Shelf(api)
        self._jobs: dict[Key, Job | Invalid] = {}
        self._addresses: dict[Key, str | None] = {}
        self._refusals: dict[Key, str] = {}

    async def observe(self, key: Key, now: datetime) -> Snapshot | None:
        """One look. Pods are read before the hub is asked, so that a peer that is seen to be done had
        its last word in the progress that is read after it."""
        body = await self._api.get(names.JOB_KIND, key.namespace, key.name)
        if body is None:
            self._forget(key)
            return None
        job = self._jobs[key] = job_from(body)
        selector = f"{names.LABEL_JOB}={key.name}"
        found = await self._api.list("Pod", key.namespace, selector)
        own = [pod_from(body) for body in found if is_of(body, job)]
        pods = tuple(sorted(own, key=lambda pod: pod.name))
        if isinstance(job, Invalid) or (not pods and (job.finished or job.spec.suspend)):
            # Nothing else is looked at, and there may be thousands of these.
            return Snapshot(job, now, pods=pods)
        belongings = await self._shelf.look(key, job, now)
        self._addresses[key] = _hub_address(pods)
        return Snapshot(
            job,
            now,
            nodes=self._nodes.nodes(key),
            pods=pods,
            plan=belongings.plan,
            progress=await self._progress(key, job, belongings),
            key_pairs=certificates.lasting(belongings.tls, now),
            existing=belongings.existing,
            missing_secrets=belongings.missing_secrets,
            leftovers=(*_foreign(found, job), *belongings.leftovers),
            refusal=self._refusals.get(key, ""),
        )

    def claim(self, key: Key, snapshot: Snapshot, actions: Actions) -> bool:
        """Without a pause between the check and the claim, so that of two passes side by side the
        second sees what the first took."""
        return self._nodes.claim(key, snapshot.nodes, pods_of(actions))

    async def apply(self, key: Key, actions: Actions) -> None:
        """All of it, in order. What is refused does not keep the status from being written."""
        failure: ClusterError | None = None
        created = False
        try:
            await self._change(key, actions)
            created = True
            self._refusals.pop(key, None)
        except ClusterError as error:
            failure = error
            if isinstance(error, Refusal):
                self._refusals[key] = str(error)
        finally:
            if pods_of(actions):
                self._nodes.settle(key, created=created)
        if actions.status is not None:
            await self._api.apply(self._status(key, actions.status), "status")
        await self._tell(key, actions)
        if failure is not None:
            raise failure
        if actions.plan_status is not None:
            await self._api.apply(_rows(key, *actions.plan_status), "status")
        if actions.delete_job:
            await self._api.delete(names.JOB_KIND, key.namespace, key.name)

    async def _tell(self, key: Key, actions: Actions) -> None:
        for event in actions.events:
            try:
                await self._api.create(event_from(event, self._jobs[key], key))
            except ClusterError as error:
                # Nothing depends on an event; the status has the same words.
                log.warning("event %s about %s was not taken: %s", event.reason, key.name, error)

    async def _change(self, key: Key, actions: Actions) -> None:
        if actions.key_pairs:
            await self._issue(key, actions.key_pairs)
        shared = [manifest for manifest in actions.apply if manifest["kind"] != "Pod"]
        if shared:
            self._shelf.forget(key)
        for manifest in shared:
            await self._api.apply(manifest)
        await _all(self._api.apply(manifest) for manifest in pods_of(actions))
        await _all(self._delete(key, ref) for ref in actions.delete)
        if actions.approve is not None:
            await self._approve(key, actions.approve)

    async def _progress(self, key: Key, job: Job, belongings: Belongings) -> RunProgress | None:
        address = self._addresses[key]
        if address is None or not certificates.names_in(belongings.tls) >= {
            certificates.OPERATOR,
            certificates.CA,
        }:
            return None
        name = owned.hub_name(key.name, key.namespace)
        return await self._hub.progress(job.run, address, name, belongings.tls)

    async def _issue(self, key: Key, wanted: frozenset[str]) -> None:
        """Add what is missing or about to expire to the Secret; a concurrent writer makes this fail and be tried again."""
        job = self._jobs[key]
        self._shelf.forget(key)
        name = owned.tls_secret(key.name)
        present = await self._api.get("Secret", key.namespace, name)
        await self._api.apply(pack(job, present, wanted))

    async def _approve(self, key: Key, who: str) -> None:
        job, address = self._jobs[key], self._addresses.get(key)
        if address is None or not isinstance(job, Job):
            raise ClusterError(f"{key.name}: the hub cannot be reached to tell it of the approval")
        secret = self._shelf.tls(key)
        name = owned.hub_name(key.name, key.namespace)
        await self._hub.approve(job.run, address, name, secret, who)

    async def _delete(self, key: Key, ref: Ref) -> None:
        await self._api.delete(ref.kind, key.namespace, ref.name, ref.grace_seconds)

    def _status(self, key: Key, status: Mapping[str, Any]) -> Manifest:
        # With its uid, the status of a job that was deleted never lands on its namesake.
        meta = {"name": key.name, "namespace": key.namespace, "uid": self._jobs[key].uid}
        return {
            "apiVersion": names.API_VERSION,
            "kind": names.JOB_KIND,
            "metadata": meta,
            "status": status,
        }

    def _forget(self, key: Key) -> None:
        job = self._jobs.pop(key, None)
        if isinstance(job, Job):
            self._hub.forget(job.run)
        self._addresses.pop(key, None)
        self._refusals.pop(key, None)
        self._shelf.forget(key)


def _foreign(pods: Iterable[Mapping[str, Any]], job: Job) -> Iterator[str]:
    return (f"Pod {body['metadata']['name']}" for body in pods if not is_of(body, job))


def _rows(key: Key, plan: str, status: Mapping[str, Any]) -> Manifest:
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.PLAN_KIND,
        "metadata": {"name": plan, "namespace": key.namespace},
        "status": status,
    }


def _hub_address(pods: Iterable[Pod]) -> str | None:
    ready = [pod for pod in pods if pod.role is Role.HUB and pod.ready and not pod.deleting]
    return max(ready, key=lambda pod: pod.attempt).ip if ready else None


async def _all(steps: Any) -> None:
    """Every step, side by side; then the first error, if there was one."""
    results = await asyncio.gather(*steps, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
