"""What the review asks for: the picked takes in the order of the shots, and verdicts on them.

GET  /v1/review               the picked takes that the caller may watch
POST /v1/videos/{id}/verdict  {"verdict": "approved"} or {"verdict": "changes"}
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from wan_pipeline.access.guard import caller_of
from wan_pipeline.api.body import read_json
from wan_pipeline.api.responses import PREFIX, route, video_id_of
from wan_pipeline.api.threads import Threads
from wan_pipeline.caller_studio import CallerStudio
from wan_pipeline.errors import RequestError
from wan_pipeline.projects.reviews import ReviewedShot
from wan_pipeline.studio import Studio


class ReviewRoutes:
    """The handlers. `routes` are to be mounted behind the guard."""

    def __init__(self, studio: Studio, threads: Threads) -> None:
        self._studio, self._threads = studio, threads

    @property
    def routes(self) -> list[Route]:
        return [
            route("/v1/review", self.reel, "GET"),
            route("/v1/videos/{video_id}/verdict", self.decide, "POST"),
        ]

    async def reel(self, request: Request) -> Response:
        studio = self._for(request)
        reel = await self._threads.run(studio.caller, studio.reel)
        return JSONResponse({"object": "list", "data": [_shot(each) for each in reel]})

    async def decide(self, request: Request) -> Response:
        studio, video_id = self._for(request), video_id_of(request)
        values = await read_json(request, self._threads.of(studio.caller))
        verdict = values.get("verdict")
        if not isinstance(verdict, str):
            raise RequestError("verdict", 'A verdict is a text; send {"verdict": "approved"} or "changes".')
        await self._threads.run(studio.caller, lambda: studio.decide(video_id, verdict))
        return Response(status_code=204)

    def _for(self, request: Request) -> CallerStudio:
        return CallerStudio(self._studio, caller_of(request.scope))


def _shot(each: ReviewedShot) -> dict[str, Any]:
    request = each.clip.request
    return {
        "id": f"{PREFIX}{each.take.id}",
        "project": each.shot.project,
        "scene": each.shot.scene,
        "shot": each.shot.shot,
        "address": each.shot.address,
        "description": each.shot.description,
        "take": each.take.number,
        "status": each.shot.status,
        "verdict": each.take.verdict,
        "frames": request.num_frames,
        "fps": request.fps,
        "earlier": [f"{PREFIX}{take.id}" for take in each.earlier],
    }
