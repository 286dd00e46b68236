"""What the owner and guests have in common: the HTTP API and the guests' page, as one ASGI app."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.routing import Route

from wan_pipeline.api.endpoint_routes import EndpointRoutes
from wan_pipeline.api.guest_routes import GuestRoutes
from wan_pipeline.api.key_routes import KeyRoutes
from wan_pipeline.api.tools import PATH, McpRoute
from wan_pipeline.api.videos import Videos
from wan_pipeline.studio import Studio
from wan_pipeline.ui.common.templates import Templates


def shared_app(studio: Studio, templates: Templates, endpoints: EndpointRoutes | None = None) -> Starlette:
    """`endpoints` may be built already; else the first guest's program waits for it."""
    others = endpoints or EndpointRoutes(studio)
    parts = (Videos(studio), KeyRoutes(studio), GuestRoutes(studio, templates), others)
    return Starlette(
        routes=[*(route for part in parts for route in part.routes), Route(PATH, McpRoute(studio), methods=["POST"])]
    )
