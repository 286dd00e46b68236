"""What the owner and guests have in common: the HTTP API and the guests' page, as one ASGI app."""

from __future__ import annotations

from starlette.applications import Starlette

from wan_pipeline.api.guest_routes import GuestRoutes
from wan_pipeline.api.key_routes import KeyRoutes
from wan_pipeline.api.videos import Videos
from wan_pipeline.studio import Studio
from wan_pipeline.ui.common.templates import Templates


def shared_app(studio: Studio, templates: Templates) -> Starlette:
    return Starlette(routes=[*Videos(studio).routes, *KeyRoutes(studio).routes, *GuestRoutes(studio, templates).routes])
