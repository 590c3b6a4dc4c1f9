"""A hub that relays all blobs takes no payload that names one it does not have: its readers would wait for it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from hub_certificates import Authority
from hub_harness import HubThread, a_join, json_of

from haversack_trainer.contract.membership import Start
from haversack_trainer.contract.records import Kind, Record
from haversack_trainer.exchange.base import Outgoing
from haversack_trainer.exchange.wire import INCARNATION_HEADER

ME = {INCARNATION_HEADER: "me"}
JOIN = Record(Kind.JOIN, 0, 0, json_of(a_join("me"))).encode()
START = Record(Kind.START, 0, 0, json_of(Start())).encode()
BLOB = b"a matrix"
DIGEST = hashlib.sha256(BLOB).hexdigest()


def test_a_payload_that_names_a_blob_nobody_has_brought_is_refused(tmp_path: Path) -> None:
    with HubThread(tmp_path, Authority(tmp_path / "tls"), has_all_blobs=True) as hub:
        peer, where = hub.line("peer-0"), f"/v1/runs/{hub.run}/log"
        for frame in (JOIN, START):
            assert peer.request("POST", where, frame, ME).status == 200
        whole = Record(Kind.PAYLOAD, 0, 0, b"word" + bytes.fromhex(DIGEST)).encode()
        refusal = peer.request("POST", where, whole, ME)
        assert (refusal.status, DIGEST in str(json.loads(refusal.body)["error"])) == (424, True)
        assert (hub.hub.core.num_refused, len(hub.hub.core)) == (1, 2)
        assert peer.request("PUT", f"/v1/runs/{hub.run}/blobs/{DIGEST}", BLOB, ME).status == 201
        positions = [json.loads(peer.request("POST", where, whole, ME).body) for _ in range(2)]
        assert [it["position"] for it in positions] == [2, 2]
        assert peer.request("POST", where, Record(Kind.PAYLOAD, 0, 1).encode(), ME).status == 200


def test_who_brings_its_blobs_first_notices_nothing(tmp_path: Path) -> None:
    with HubThread(tmp_path, Authority(tmp_path / "tls"), has_all_blobs=True) as hub:
        first, second = hub.joined(0, 1)
        for exchange in (first, second):
            exchange.publish(0, Outgoing(blob=bytes([exchange.me]) * 99), lambda: False)
        assert first.collect(0, lambda: False).fetch(1) == b"\1" * 99
        assert hub.hub.core.num_refused == 0
