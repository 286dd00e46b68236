"""`/v1/keys`: the owner makes, lists and revokes the keys of guests. For the owner alone."""

from __future__ import annotations

from typing import Any

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from wan_pipeline.access.guard import caller_of
from wan_pipeline.access.http import invitation
from wan_pipeline.access.keys import DEFAULT_EXPIRY, Key, parse_expiry, parse_max_clips
from wan_pipeline.access.public_address import PublicAddress
from wan_pipeline.access.roles import Action, Role, check
from wan_pipeline.api.body import read_json
from wan_pipeline.api.responses import route
from wan_pipeline.errors import RequestError
from wan_pipeline.studio import Studio


class KeyRoutes:
    """The handlers. `routes` are to be mounted behind the guard."""

    def __init__(self, studio: Studio) -> None:
        self._keys, self._create_key = studio.keys, studio.create_key
        self._gallery = studio.gallery
        self._address = PublicAddress(studio.settings.workspace)

    @property
    def routes(self) -> list[Route]:
        return [
            route("/v1/keys", self.list, "GET"),
            route("/v1/keys", self.create, "POST"),
            route("/v1/keys/{key_id}", self.revoke, "DELETE"),
        ]

    async def list(self, request: Request) -> Response:
        """The guests' keys, the newest first, and the projects that a key may be for."""
        check(caller_of(request.scope).role, Action.OWN)
        keys = await to_thread.run_sync(self._keys.list)
        projects = (await to_thread.run_sync(self._gallery.facets)).projects
        shown = [_shown(key) for key in keys if key.role is not Role.OWNER]
        shared_at = await to_thread.run_sync(self._address.read)
        return JSONResponse({"object": "list", "data": shown, "projects": projects, "shared_at": shared_at})

    async def create(self, request: Request) -> Response:
        check(caller_of(request.scope).role, Action.OWN)
        values = await read_json(request, to_thread.run_sync)
        if unknown := sorted(values.keys() - {"role", "project", "expires", "max_clips"}):
            raise RequestError(unknown[0][:80], "A key has role, project, expires and max_clips; leave out the rest.")
        role, project, expires = (str(values.get(name) or "") for name in ("role", "project", "expires"))
        max_clips = parse_max_clips(values.get("max_clips"))
        if role not in (Role.VIEW, Role.MAKE):
            raise RequestError("role", f"'{role[:40]}' is no role of a guest; use view or make.")
        lifetime = parse_expiry(expires) if expires else DEFAULT_EXPIRY
        secret, key = await to_thread.run_sync(self._create_key, Role(role), project, lifetime, max_clips)
        address = await to_thread.run_sync(self._address.read)
        url = invitation(address, secret) if address else None
        return JSONResponse({**_shown(key), "key": secret, "url": url})

    async def revoke(self, request: Request) -> Response:
        check(caller_of(request.scope).role, Action.OWN)
        await to_thread.run_sync(self._keys.revoke, request.path_params["key_id"])
        return Response(status_code=204)


def _shown(key: Key) -> dict[str, Any]:
    return {
        "id": key.id,
        "role": key.role.value,
        "project": key.project,
        "max_clips": key.max_clips,
        "expires": key.expires_at.isoformat() if key.expires_at else None,
        "last_used": key.last_used_at.isoformat() if key.last_used_at else None,
    }
