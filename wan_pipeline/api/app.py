"""What the owner and guests have in common: the HTTP API and the guests' page, as one ASGI app."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from wan_pipeline.access.uploads import Uploads
from wan_pipeline.api.responses import error
from wan_pipeline.api.routes.endpoints import EndpointRoutes
from wan_pipeline.api.routes.guests import GuestRoutes
from wan_pipeline.api.routes.keys import KeyRoutes
from wan_pipeline.api.routes.reviews import ReviewRoutes
from wan_pipeline.api.threads import Threads
from wan_pipeline.api.tools import PATH, McpRoute
from wan_pipeline.api.videos import Videos
from wan_pipeline.studio import Studio
from wan_pipeline.ui.common.templates import Templates


def shared_app(studio: Studio, templates: Templates, *, is_built: bool = False, login: str = "") -> Starlette:
    """`is_built`: the endpoints of `gradio_client` are there at once; else the first guest's program waits for them.

    `login` is the path by which the owner of a Space may log in.
    """
    uploads, threads = Uploads(studio.settings.cache), Threads()
    endpoints = EndpointRoutes(studio, uploads, threads)
    if is_built:
        endpoints.build()
    guests = GuestRoutes(studio, templates, threads, login)
    reviews = ReviewRoutes(studio, threads)
    parts = (Videos(studio, uploads, threads), KeyRoutes(studio), guests, reviews, endpoints)
    agents = Route(PATH, McpRoute(studio, threads), methods=["POST"])
    routes = [*(route for part in parts for route in part.routes), agents]
    return Starlette(routes=routes, exception_handlers={HTTPException: _refused, Exception: _failed})


async def _refused(request: Request, wrong: Exception) -> Response:
    """No such route, or not by this method."""
    assert isinstance(wrong, HTTPException)  # noqa: S101 (it is registered for that)
    return error(wrong.status_code, f"{wrong.detail}.")


async def _failed(request: Request, wrong: Exception) -> Response:
    return error(500, "Something unexpected went wrong; the studio's log says what.")
