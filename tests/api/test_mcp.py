"""The `mcp` package's client, unmodified, makes clips."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from tests.api.conftest import Served
from tests.support.asynchronous import run_async
from tests.support.soak import soaked
from wan_pipeline.access.roles import Role
from wan_pipeline.api.responses import UNAVAILABLE, sentence_of
from wan_pipeline.errors import StorageError

SMALL = {"prompt": "a red ball", "size": "160x160", "num_frames": 5, "steps": 2, "seed": 3}


async def call(client: Client, name: str, **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool(name, arguments)
    assert not result.is_error, result.content
    return result.structured_content or {}


def run(served: Served, key: str, work: Any) -> None:
    async def connected() -> None:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        async with (
            httpx2.AsyncClient(headers=headers, timeout=60, trust_env=False) as http,
            Client(streamable_http_client(f"{served.address}/mcp", http_client=http)) as client,
        ):
            await work(client)

    run_async(connected())


@pytest.mark.parametrize("role", [soaked(None), Role.MAKE])
def test_an_agent_makes_a_clip(served: Served, role: Role | None) -> None:
    key = served.key(role) if role else ""

    async def work(client: Client) -> None:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(tools) == {"models", "presets", "forecast", "generate", "status", "clip", "list", "cancel"}
        assert all(tool.description for tool in tools.values())
        assert tools["generate"].input_schema["required"] == ["prompt"]
        assert [model["id"] for model in (await call(client, "models"))["models"]] == ["demo"]
        assert (await call(client, "forecast", size="160x160"))["clip_seconds"] > 0
        made = await call(client, "generate", **SMALL)
        while (found := await call(client, "status", id=made["id"]))["status"] != "completed":
            assert found["status"] in ("queued", "in_progress"), found
        url = (await call(client, "clip", id=made["id"]))["url"]
        headers = {"authorization": f"Bearer {key}"} if key else {}
        content = await asyncio.to_thread(lambda: httpx.get(url, headers=headers, trust_env=False))
        assert content.headers["content-type"] == "video/mp4"
        assert [video["id"] for video in (await call(client, "list"))["videos"]] == [made["id"]]
        wrong = await client.call_tool("generate", {"prompt": "a ball", "size": "wide"})
        assert wrong.is_error
        assert "write it as 832x480" in str(wrong.content)
        await call(client, "cancel", id=made["id"])
        assert (await call(client, "list"))["videos"] == []

    run(served, key, work)


def test_an_agent_that_may_watch_has_no_tools_to_make(served: Served) -> None:
    async def work(client: Client) -> None:
        assert {tool.name for tool in (await client.list_tools()).tools} == {"status", "clip", "list"}
        assert (await client.call_tool("generate", {"prompt": "a ball"})).is_error

    run(served, served.key(Role.VIEW), work)
    assert served.studio.jobs.recent() == []


def test_without_a_right_key_there_are_no_tools(served: Served) -> None:
    for headers in ({"host": "abc.gradio.live"}, {"host": "abc.gradio.live", "authorization": "Bearer guess"}):
        answer = httpx.post(f"{served.address}/mcp", json={}, headers=headers, trust_env=False)
        assert answer.status_code == 401


def test_no_program_is_told_where_the_disk_failed() -> None:
    assert sentence_of(StorageError("/home/someone/workspace/studio.sqlite3 is locked")) == UNAVAILABLE
