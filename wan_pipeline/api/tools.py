"""Tools for agents, by the Model Context Protocol over streamable HTTP at `/mcp`.

Each request gets a server of its own with the tools that its caller may use, so nothing is remembered between requests
and a revoked key ends at once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from wan_pipeline.access.guard import caller_of
from wan_pipeline.access.roles import Action
from wan_pipeline.api.drafts import draft_of
from wan_pipeline.api.lists import delete_video, one_video, page_of
from wan_pipeline.api.responses import address_of, id_of, model_facts, preset_facts, sentence_of, video_of_job
from wan_pipeline.api.threads import Run, Threads
from wan_pipeline.caller_studio import CallerStudio
from wan_pipeline.errors import StudioError
from wan_pipeline.studio import Studio

if TYPE_CHECKING:
    from mcp.server import MCPServer

PATH = "/mcp"
INSTRUCTIONS = (
    "Makes short videos with Wan models on the owner's own computer. `generate` queues a clip and answers at once; ask "
    "`status` until it is completed, then fetch the MP4 from the url that `clip` gives, with the same authorization."
)
MAX_LISTED = 50


class AgentTools:
    """The tools, as functions whose names, types and docstrings an agent reads."""

    def __init__(self, studio: CallerStudio, address: str) -> None:
        self._studio = studio
        self._address = address

    def allowed(self) -> list[tuple[str, Callable[..., Any]]]:
        """The tools that the caller's role allows, by name."""
        table: tuple[tuple[str, Action, Callable[..., Any]], ...] = (
            ("models", Action.CHOICES, self.models),
            ("presets", Action.CHOICES, self.presets),
            ("forecast", Action.FORECAST, self.forecast),
            ("generate", Action.GENERATE, self.generate),
            ("status", Action.WATCH, self.status),
            ("clip", Action.WATCH, self.clip),
            ("list", Action.WATCH, self.list),
            ("cancel", Action.CANCEL, self.cancel),
        )
        return [(name, tool) for name, action, tool in table if self._studio.allows(action)]

    def models(self) -> dict[str, Any]:
        """List the video models on this computer, with their sizes in pixels, frames per second and longest clip."""
        return {"models": [model_facts(spec) for spec in self._studio.models()]}

    def presets(self) -> dict[str, Any]:
        """List the styles that a clip can be made in."""
        return {"presets": [preset_facts(preset) for preset in self._studio.presets()]}

    def forecast(
        self, model: str = "", size: str = "", seconds: float | None = None, steps: int | None = None, preset: str = ""
    ) -> dict[str, Any]:
        """Estimate how many seconds a clip would take, and how long the queue before it is. Makes nothing."""
        values = {"model": model, "size": size, "seconds": seconds, "steps": steps, "preset": preset, "prompt": "any"}
        wait = self._studio.forecast(draft_of(values, {}, self._studio.frames_of))
        return {"clip_seconds": round(wait.clip_seconds, 1), "queue_seconds": round(wait.queue_seconds, 1)}

    def generate(  # noqa: PLR0913 (the arguments that an agent may give)
        self,
        prompt: str,
        model: str = "",
        preset: str = "",
        size: str = "",
        seconds: float | None = None,
        seed: int | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        negative_prompt: str = "",
        num_frames: int | None = None,
    ) -> dict[str, Any]:
        """Queue one clip and answer at once with its id. What is left out comes from the preset, then from the model.

        size: such as "832x480", one of the model's. seconds: length of the clip; or num_frames, of the form 4k + 1.
        seed: the same seed and settings give the same clip.
        """
        values = {"prompt": prompt, "model": model, "preset": preset, "size": size, "seconds": seconds, "seed": seed}
        values |= {"steps": steps, "guidance": guidance, "negative_prompt": negative_prompt, "num_frames": num_frames}
        return video_of_job(self._studio.generate(draft_of(values, {}, self._studio.frames_of)))

    def status(self, id: str) -> dict[str, Any]:
        """Get a clip's status (queued, in_progress, completed, failed), its progress in percent, and its error."""
        return one_video(self._studio, id_of(id))

    def clip(self, id: str) -> dict[str, Any]:
        """Get the addresses of a finished clip's MP4 and thumbnail, with this connection's authorization."""
        clip = self._studio.clip(id_of(id))
        url = f"{self._address}/v1/videos/video_{clip.id}/content"
        return {"id": f"video_{clip.id}", "url": url, "thumbnail_url": f"{url}?variant=thumbnail", "type": "video/mp4"}

    def list(self) -> dict[str, Any]:
        """List the newest clips that may be seen, finished or not."""
        return {"videos": page_of(self._studio, MAX_LISTED).videos}

    def cancel(self, id: str) -> dict[str, Any]:
        """Cancel a clip that waits or is being made; a finished one goes to the bin, and the owner can get it back."""
        delete_video(self._studio, id_of(id))
        return {"id": id, "deleted": True}


class McpRoute:
    """The ASGI app of `/mcp`."""

    def __init__(self, studio: Studio, threads: Threads) -> None:
        self._studio = studio
        self._threads = threads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        caller = caller_of(scope)
        tools = AgentTools(CallerStudio(self._studio, caller), address_of(Request(scope)))
        run = self._threads.of(caller)
        server = await run(lambda: _server(tools, run))  # in a thread: the first import of the package takes a second
        app = _http_app(server)
        async with server.session_manager.run():
            await app(scope, receive, send)


def _server(tools: AgentTools, run: Run) -> MCPServer[Any]:
    from mcp.server import MCPServer  # here: few use it

    server: MCPServer[Any] = MCPServer("Wan Studio", instructions=INSTRUCTIONS, log_level="WARNING")
    for name, tool in tools.allowed():
        server.tool(name=name)(_reporting_errors(tool, run))
    return server


def _http_app(server: MCPServer[Any]) -> ASGIApp:
    from mcp.server.transport_security import TransportSecuritySettings

    # The guard has looked at host and origin.
    guarded = TransportSecuritySettings(enable_dns_rebinding_protection=False)
    return server.streamable_http_app(stateless_http=True, json_response=True, transport_security=guarded)


def _reporting_errors(tool: Callable[..., Any], run: Run) -> Callable[..., Any]:
    """The tool, run in a thread, with its errors as sentences for the agent."""
    from mcp.server.mcpserver.exceptions import ToolError

    @wraps(tool)
    async def telling(*args: Any, **values: Any) -> Any:
        try:
            return await run(partial(tool, *args, **values))
        except StudioError as error:
            raise ToolError(sentence_of(error)) from error

    return telling
