"""What an API server's answers become, against a server that answers as told."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from binaries import free_port

from haversack_operator.cluster.base import ClusterError
from haversack_operator.cluster.kube_client import KubeClient, Refusal


@dataclass
class Server:
    """Answers every request with the next of ``answers``, and the last one for ever."""

    answers: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    logins: int = 0
    port: int = field(default_factory=free_port)

    @property
    def server(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def as_http_headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer token-{self.logins}"}

    def as_ssl_context(self) -> ssl.SSLContext:
        return ssl.create_default_context()

    def login(self) -> Server:
        self.logins += 1
        return self

    async def answer(self, request: web.Request) -> web.Response:
        token = request.headers["Authorization"]
        self.asked.append((request.method, request.path_qs, token))
        status, body = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return web.json_response(body, status=status)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", made.port).start()
    yield made
    await runner.cleanup()


@pytest.fixture
async def client(server: Server) -> AsyncIterator[KubeClient]:
    made = KubeClient(server.login)
    yield made
    await made.close()


POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "team"}}


async def test_a_token_that_ran_out_is_fetched_anew_once(
    server: Server, client: KubeClient
) -> None:
    server.answers = [(401, {}), (200, {"kind": "Pod"})]
    assert await client.get("Pod", "team", "p") == {"kind": "Pod"}
    assert [token for _, _, token in server.asked] == ["Bearer token-1", "Bearer token-2"]
    server.answers = [(401, {"message": "who are you"})]
    with pytest.raises(ClusterError, match="who are you"):
        await client.get("Pod", "team", "p")


async def test_a_long_list_comes_in_pages(server: Server, client: KubeClient) -> None:
    first = {"metadata": {"continue": "more"}, "items": [{"n": 1}]}
    server.answers = [(200, first), (200, {"metadata": {}, "items": [{"n": 2}]})]
    assert await client.list("Pod", None, "a=b") == [{"n": 1}, {"n": 2}]
    assert [path for _, path, _ in server.asked] == [
        "/api/v1/pods?limit=500&labelSelector=a%3Db",
        "/api/v1/pods?limit=500&labelSelector=a%3Db&continue=more",
    ]


@pytest.mark.parametrize("status", [400, 403, 422])
async def test_what_waiting_does_not_help_is_a_refusal_in_the_servers_own_words(
    server: Server, client: KubeClient, status: int
) -> None:
    server.answers = [(status, {"message": "exceeded quota: tight"})]
    with pytest.raises(Refusal, match=r"^exceeded quota: tight$"):
        await client.apply(POD)


@pytest.mark.parametrize("status", [404, 409, 429, 500, 503])
async def test_what_may_work_later_is_tried_again(
    server: Server, client: KubeClient, status: int
) -> None:
    server.answers = [(status, {"message": "not now"})]
    with pytest.raises(ClusterError, match="not now") as caught:
        await client.apply(POD)
    assert not isinstance(caught.value, Refusal)


async def test_what_is_not_there_is_an_answer(server: Server, client: KubeClient) -> None:
    server.answers = [(404, {"message": "not found"})]
    assert await client.get("Secret", "team", "x") is None
    await client.delete("Pod", "team", "x")
    assert not await client.serves("FineTuneJob")


async def test_a_server_that_is_away_is_no_surprise() -> None:
    away = Server()
    client = KubeClient(away.login)
    with pytest.raises(ClusterError, match="GET /api/v1/nodes"):
        await client.list("Node", None)
    await client.close()
