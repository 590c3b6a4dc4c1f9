"""What the hub says is what the status reads, over the operator's own client and a real TLS server."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web
from binaries import free_port
from operator_builders import a_progress, a_publication, a_verdict

from haversack_operator.cluster import certificates
from haversack_operator.cluster.base import ClusterError
from haversack_operator.cluster.hubclient import MAX_PROGRESS_BYTES, HubClient
from haversack_trainer.contract.records import OPERATOR, Kind, decode
from haversack_trainer.contract.report import PeerReport

RUN, NAME = "team.one.01234567", "one-hub.team.svc"
PIECE_BYTES = 20_000
SECRET = certificates.complete(
    {}, {"hub", "operator", "peer-0"}, run=RUN, hub_name=NAME, now=datetime.now(UTC)
)


@dataclass
class Hub:
    """The hub's two pages that the operator uses, with the certificates of a real one."""

    progress: str = a_progress().model_dump_json(by_alias=True)
    code: int = 200
    log: bytes = b""
    callers: list[str] = field(default_factory=list)
    port: int = field(default_factory=free_port)

    async def show(self, request: web.Request) -> web.StreamResponse:
        peer = request.get_extra_info("peercert")
        self.callers.append(dict(part[0] for part in peer["subject"])["commonName"])
        response = web.StreamResponse(status=self.code)
        await response.prepare(request)
        text = self.progress.encode()
        for start in range(0, len(text), PIECE_BYTES):
            await response.write(text[start : start + PIECE_BYTES])
            await asyncio.sleep(0)
        return response

    async def append(self, request: web.Request) -> web.Response:
        self.log += await request.read()
        return web.json_response({"error": "not now"}, status=self.code)


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    made = Hub()
    app = web.Application()
    app.router.add_get(f"/v1/runs/{RUN}/progress", made.show)
    app.router.add_post(f"/v1/runs/{RUN}/log", made.append)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", made.port, ssl_context=serving(tmp_path)).start()
    yield made
    await runner.cleanup()


def serving(folder: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=SECRET["ca.crt"].decode())
    context.verify_mode = ssl.CERT_REQUIRED
    (folder / "crt").write_bytes(SECRET["hub.crt"])
    (folder / "key").write_bytes(SECRET["hub.key"])
    context.load_cert_chain(folder / "crt", folder / "key")
    return context


@pytest.fixture
async def client(hub: Hub) -> AsyncIterator[HubClient]:
    made = HubClient(hub.port)
    yield made
    await made.close()


async def asked(
    client: HubClient, secret: Mapping[str, bytes] = SECRET, name: str = NAME
) -> object:
    return await client.progress(RUN, "127.0.0.1", name, secret)


async def test_progress_arrives_whole_and_as_the_operator(hub: Hub, client: HubClient) -> None:
    told = a_progress(verdict=a_verdict(), published=a_publication(), approved_by="alice")
    hub.progress = told.model_dump_json(by_alias=True)
    assert await asked(client) == told
    assert hub.callers == ["operator"]


async def test_the_progress_of_many_peers_arrives_in_pieces(hub: Hub, client: HubClient) -> None:
    peers = tuple(PeerReport(peer=peer, node="n" * 200) for peer in range(1024))
    told = a_progress().model_copy(update={"peers": peers})
    hub.progress = told.model_dump_json(by_alias=True)
    assert await asked(client) == told


async def test_progress_without_end_is_not_read_to_its_end(hub: Hub, client: HubClient) -> None:
    hub.progress = a_progress().model_dump_json(by_alias=True) + " " * MAX_PROGRESS_BYTES
    assert await asked(client) is None


async def test_a_hub_that_does_not_answer_as_it_should_is_no_error(
    hub: Hub, client: HubClient
) -> None:
    hub.progress = "{"
    assert await asked(client) is None
    hub.code = 500
    assert await asked(client) is None
    assert await asked(client, name="two-hub.team.svc") is None
    other = HubClient(free_port())
    assert await asked(other) is None
    await other.close()


async def test_another_jobs_certificates_do_not_get_in(hub: Hub, client: HubClient) -> None:
    other = certificates.complete({}, {"operator"}, run=RUN, hub_name=NAME, now=datetime.now(UTC))
    assert await asked(client, other) is None
    assert hub.callers == []


async def test_an_approval_is_one_record_of_the_operator(hub: Hub, client: HubClient) -> None:
    await client.approve(RUN, "127.0.0.1", NAME, SECRET, "alice")
    (record,) = decode(hub.log)
    assert (record.kind, record.peer, record.body) == (Kind.APPROVAL, OPERATOR, b"alice")


async def test_an_approval_that_is_refused_is_tried_again_by_the_next_pass(
    hub: Hub, client: HubClient
) -> None:
    hub.code = 409
    with pytest.raises(ClusterError, match="not now"):
        await client.approve(RUN, "127.0.0.1", NAME, SECRET, "alice")
