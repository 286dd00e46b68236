"""The server behind its guard, in this process on a real port, over a studio whose workers start in milliseconds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from starlette.responses import PlainTextResponse

from tests.support.processes.warm import Warm
from tests.support.servers.asgi import serving
from tests.support.studios import opened_warm
from wan_pipeline.access.guard import Guard, Limits
from wan_pipeline.access.http import Rules
from wan_pipeline.access.roles import Role
from wan_pipeline.api.app import shared_app
from wan_pipeline.api.routing import Dispatcher
from wan_pipeline.settings import Settings
from wan_pipeline.studio import Studio
from wan_pipeline.ui.common.templates import Templates

OWNERS_PAGE = "the owner's page"


@dataclass(frozen=True)
class Served:
    """A running server. In place of the owner's page, which takes seconds to build, there is one sentence."""

    address: str
    studio: Studio

    def key(self, role: Role, project: str = "", max_clips: int | None = None) -> str:
        return self.studio.keys.create(role, project, max_clips=max_clips)[0]


def refused_page(status: int, sentence: str, asks_password: bool) -> str:
    return f"{status} {sentence}"


@pytest.fixture
def served(settings: Settings, warm: Warm) -> Iterator[Served]:
    with opened_warm(settings, warm) as studio:
        studio.start()
        templates = Templates()
        owners_page = PlainTextResponse(OWNERS_PAGE)
        dispatcher = Dispatcher(owners_page, shared_app(studio, templates))
        guard = Guard(dispatcher, studio.keys, Rules(), Limits(), refused_page)
        with serving(guard) as address:
            yield Served(address, studio)
