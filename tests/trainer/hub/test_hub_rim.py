"""What strangers, forgers and broken clients get from a real hub: a status and a sentence, never more."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_certificates import HUB_NAME, Authority
from hub_harness import HubThread, a_join, json_of

from haversack_trainer.contract.membership import Start
from haversack_trainer.contract.records import OPERATOR, Kind, Record
from haversack_trainer.contract.report import PeerReport, RunProgress
from haversack_trainer.exchange.base import ExchangeError, Refused
from haversack_trainer.exchange.http import HttpExchange
from haversack_trainer.exchange.wire import (
    HEAD_HEADER,
    INCARNATION_HEADER,
    NEXT_HEADER,
    Line,
    LinkDown,
    Reply,
    client_context,
)

ME = {INCARNATION_HEADER: "me"}
JOIN = Record(Kind.JOIN, 0, 0, json_of(a_join("me"))).encode()
START = Record(Kind.START, 0, 0, json_of(Start())).encode()
BLOB = b"a matrix"
DIGEST = hashlib.sha256(BLOB).hexdigest()


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubThread]:
    with HubThread(tmp_path, Authority(tmp_path / "tls")) as hub:
        yield hub


@pytest.fixture
def peer(hub: HubThread) -> Line:
    """A member, speaking raw HTTP."""
    line = hub.line("peer-0")
    assert line.request("POST", log(hub), JOIN).status == 200
    return line


def log(hub: HubThread) -> str:
    return f"/v1/runs/{hub.run}/log"


def sentence(reply: Reply) -> str:
    return str(json.loads(reply.body)["error"])


def payload(peer: int, round: int, body: bytes = b"x") -> bytes:
    return Record(Kind.PAYLOAD, peer, round, body).encode()


@pytest.mark.parametrize(
    ("frames", "status", "words"),
    [
        (payload(1, 0), 403, "from peer 1, but the certificate is of peer 0"),
        (Record(Kind.APPROVAL, 0, 0, b"me").encode(), 403, "may not write APPROVAL"),
        (Record(Kind.APPROVAL, OPERATOR, 0, b"me").encode(), 403, "peer 65534"),
        (payload(0, 0)[:-1], 400, "truncated body"),
        (payload(0, 0)[:9], 400, "truncated header"),
        (payload(0, 0)[:-1] + b"y", 400, "checksum mismatch"),
        (Record(Kind.VERDICT, 0, 0, b"{}").encode(), 400, "VERDICT record cannot be read"),
        (Record(Kind.LEAVE, 0, 0, b"\xff").encode(), 400, "LEAVE record cannot be read"),
        (b"", 400, "at least one record"),
        (b"x" * (2**20 + 1), 413, "Too Large"),
        (payload(0, 0), 409, "before the run was started"),
    ],
)
def test_a_bad_record_is_refused_counted_and_not_stored(
    hub: HubThread, peer: Line, frames: bytes, status: int, words: str
) -> None:
    reply = peer.request("POST", log(hub), frames, ME)
    assert (reply.status, words in sentence(reply)) == (status, True), sentence(reply)
    progress = hub.line("operator").request("GET", f"/v1/runs/{hub.run}/progress")
    assert RunProgress.model_validate_json(progress.body).refused == 1
    assert len(hub.hub.core) == 1


def test_a_replayed_payload_is_the_one_in_the_log_or_refused(hub: HubThread, peer: Line) -> None:
    peer.request("POST", log(hub), START, ME)
    answers = [peer.request("POST", log(hub), payload(0, 0), ME).body for _ in range(2)]
    assert [json.loads(answer)["position"] for answer in answers] == [2, 2]
    peer.request("POST", log(hub), payload(0, 1), ME)
    replayed = peer.request("POST", log(hub), payload(0, 0), ME)
    assert (replayed.status, "round 2 is open" in sentence(replayed)) == (409, True)


def test_only_the_operator_approves(hub: HubThread, peer: Line) -> None:
    operator = hub.line("operator")
    approval = Record(Kind.APPROVAL, OPERATOR, 0, b"somebody").encode()
    assert operator.request("POST", log(hub), approval).status == 200
    progress = operator.request("GET", f"/v1/runs/{hub.run}/progress").body
    assert RunProgress.model_validate_json(progress).approved_by == "somebody"
    assert operator.request("PUT", f"/v1/runs/{hub.run}/blobs/{DIGEST}", BLOB).status == 403
    assert operator.request("POST", log(hub), JOIN).status == 403


@pytest.mark.parametrize(
    ("name", "organization", "words"),
    [
        ("peer-0", "ns.other.87654321", "is of run 'ns.other.87654321'"),
        ("peer-65535", None, "neither peer-<ordinal> nor operator"),
        ("ca-2", None, "neither"),
        ("peer-01", None, "neither"),
    ],
)
def test_a_certificate_of_this_ca_with_another_name_is_turned_away(
    hub: HubThread, name: str, organization: str | None, words: str
) -> None:
    reply = hub.line(name, organization).request("GET", log(hub))
    assert (reply.status, words in sentence(reply)) == (403, True), sentence(reply)


def test_a_certificate_of_another_job_is_not_trusted_by_either_side(
    hub: HubThread, tmp_path: Path
) -> None:
    other = Authority(tmp_path / "other", run=hub.run)
    stranger = HttpExchange(
        hub.url, hub_name=HUB_NAME, tls_dir=other.folder("peer-0"), run=hub.run, me=0
    )
    with pytest.raises(Refused, match="both need certificates of this job's CA"):
        stranger.join(a_join())
    stranger.close()
    # The stranger's key with the right CA: now it is the hub that says no.
    mixed = other.folder("peer-1")
    (mixed / "ca.crt").write_bytes((hub.authority.folder("hub") / "ca.crt").read_bytes())
    line = Line(hub.url, HUB_NAME, lambda: client_context(mixed))
    with pytest.raises((Refused, LinkDown)):
        line.request("GET", log(hub))
    line.close()
    assert len(hub.hub.core) == 0


def test_no_certificate_no_answer(hub: HubThread) -> None:
    context = client_context(hub.authority.folder("peer-0"))
    bare = type(context)(context.protocol)
    bare.load_verify_locations(hub.authority.folder("peer-0") / "ca.crt")
    line = Line(hub.url, HUB_NAME, lambda: bare)
    with pytest.raises((Refused, LinkDown)):
        line.request("GET", log(hub))
    line.close()


def test_the_hub_s_own_certificate_is_none_of_a_client(hub: HubThread) -> None:
    with pytest.raises((Refused, LinkDown)):
        hub.line("hub").request("GET", log(hub))


def test_a_hub_of_another_name_is_not_trusted(hub: HubThread) -> None:
    folder = hub.authority.folder("peer-0")
    line = Line(hub.url, "other-hub.ns.svc", lambda: client_context(folder))
    with pytest.raises(Refused, match="do not trust one another"):
        line.request("GET", log(hub))
    line.close()


def test_another_run_s_path_is_refused(hub: HubThread, peer: Line) -> None:
    reply = peer.request("GET", "/v1/runs/other/log")
    assert (reply.status, hub.run in sentence(reply)) == (403, True)


@pytest.mark.parametrize("path", ["/", "/v1/runs/ns.job.12345678/nothing", "/healthz"])
def test_unknown_paths_are_not_found(hub: HubThread, peer: Line, path: str) -> None:
    assert peer.request("GET", path).status == 404


@pytest.mark.parametrize(
    "query", ["from=-1", "from=x", "from=9999999999999", "wait=inf", "wait=-1"]
)
def test_hostile_queries_are_refused(hub: HubThread, peer: Line, query: str) -> None:
    assert peer.request("GET", f"{log(hub)}?{query}", headers=ME).status == 400


def test_a_read_gives_frames_next_and_head(hub: HubThread, peer: Line) -> None:
    reply = peer.request("GET", f"{log(hub)}?from=0&wait=0", headers=ME)
    assert (reply.body, reply.headers["Haversack-Next"]) == (JOIN, "1")
    assert reply.headers[HEAD_HEADER] == hub.hub.core.book.ledger.head.hex()


def test_an_append_that_also_reads_is_the_same_when_it_comes_again(
    hub: HubThread, peer: Line
) -> None:
    peer.request("POST", log(hub), START, ME)
    replies = [
        peer.request("POST", f"{log(hub)}?from=1&wait=20", payload(0, 0), ME) for _ in range(2)
    ]
    assert [(reply.status, reply.body) for reply in replies] == [(200, START + payload(0, 0))] * 2
    assert {reply.headers[HEAD_HEADER] for reply in replies} == {
        hub.hub.core.book.ledger.head.hex()
    }
    assert len(hub.hub.core) == 3


@pytest.mark.parametrize(
    ("query", "frame", "status"),
    [
        ("from=9&wait=0", payload(0, 0), 409),
        ("from=1&wait=0", payload(0, 0), 409),
        ("from=2&wait=0", payload(0, 7), 409),
        ("from=2&wait=0", payload(1, 0), 403),
        ("from=-2&wait=0", payload(0, 0), 400),
    ],
)
def test_an_append_that_also_reads_is_all_or_nothing(
    hub: HubThread, peer: Line, query: str, frame: bytes, status: int
) -> None:
    peer.request("POST", log(hub), START, ME)
    headers = ME | {HEAD_HEADER: hub.hub.core.book.ledger.head.hex()}
    reply = peer.request("POST", f"{log(hub)}?{query}", frame, headers)
    assert (reply.status, len(hub.hub.core)) == (status, 2)
    assert (NEXT_HEADER in reply.headers) == query.startswith("from=9")


def test_blobs_are_checked_on_their_way_in(hub: HubThread, peer: Line) -> None:
    blobs = f"/v1/runs/{hub.run}/blobs"
    assert peer.request("GET", f"{blobs}/{DIGEST}").status == 404
    assert peer.request("PUT", f"{blobs}/{DIGEST}", BLOB + b"!", ME).status == 400
    assert peer.request("PUT", f"{blobs}/..%2Fstore.json", BLOB, ME).status in {400, 404}
    assert peer.request("PUT", f"{blobs}/{DIGEST}", BLOB).status == 410
    assert peer.request("PUT", f"{blobs}/{DIGEST}", BLOB, ME).status == 201
    assert peer.request("GET", f"{blobs}/{DIGEST}").body == BLOB
    assert [path.name for path in (hub.folder / "blobs").iterdir()] == [DIGEST]


def test_a_peer_reports_for_itself_only(hub: HubThread, peer: Line) -> None:
    report = PeerReport(peer=0, round=3).model_dump_json(by_alias=True).encode()
    other = PeerReport(peer=1).model_dump_json(by_alias=True).encode()
    peers = f"/v1/runs/{hub.run}/peers"
    assert peer.request("PUT", f"{peers}/1/report", other, ME).status == 403
    assert peer.request("PUT", f"{peers}/0/report", other, ME).status == 403
    assert peer.request("PUT", f"{peers}/0/report", b"{", ME).status == 400
    assert peer.request("PUT", f"{peers}/0/report", report, ME).status == 204


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("round", -1),
        ("attempt", 2**63),
        ("samples", -1),
        ("nonfiniteSteps", -1),
        ("bytesSent", 2**63),
        ("bytesReceived", -1),
        ("microBatchSize", 0),
        ("secondsPerRound", -0.5),
        ("secondsPerRound", "Infinity"),
        ("time", -1.0),
        ("time", 1e11),
        ("time", "NaN"),
        ("node", "n" * 254),
    ],
)
def test_a_report_out_of_bounds_is_refused_by_the_field_s_name(
    hub: HubThread, peer: Line, field: str, value: object
) -> None:
    report = PeerReport(peer=0).model_dump(mode="json", by_alias=True) | {field: value}
    path = f"/v1/runs/{hub.run}/peers/0/report"
    reply = peer.request("PUT", path, json.dumps(report).encode(), ME)
    assert (reply.status, f": {field}: " in sentence(reply)) == (400, True), sentence(reply)


def test_a_report_at_its_bounds_is_taken(hub: HubThread, peer: Line) -> None:
    report = PeerReport(
        peer=0, node="n" * 253, loss=float("nan"), samples=2**52, seconds_per_round=0, time=9e10
    )
    path = f"/v1/runs/{hub.run}/peers/0/report"
    assert (
        peer.request("PUT", path, report.model_dump_json(by_alias=True).encode(), ME).status == 204
    )


def test_a_refill_is_taken_only_by_a_hub_that_lost_its_log(hub: HubThread, peer: Line) -> None:
    reply = peer.request("POST", f"/v1/runs/{hub.run}/refill", JOIN, ME)
    assert (reply.status, "takes no refill" in sentence(reply)) == (409, True)


def test_a_refill_that_is_not_wanted_is_refused_before_it_is_sent(
    hub: HubThread, peer: Line
) -> None:
    peer.close()
    connection = peer._connect()
    connection.putrequest("POST", f"/v1/runs/{hub.run}/refill")
    connection.putheader("Content-Length", str(2**30))
    connection.endheaders()
    with connection.getresponse() as reply:
        assert reply.status == 409


def test_missing_certificates_are_named(hub: HubThread, tmp_path: Path) -> None:
    with pytest.raises(ExchangeError, match=r"must hold a readable ca\.crt, tls\.crt and tls\.key"):
        client_context(tmp_path / "nothing")
