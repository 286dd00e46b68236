"""Serves the studio behind its guard. Importing this module does not import Gradio yet."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from wan_pipeline.access.callers import LOOPBACK_NAMES, host_name
from wan_pipeline.access.guard import Guard, Limits, Rules, invitation
from wan_pipeline.access.roles import Role
from wan_pipeline.settings import Settings
from wan_pipeline.ui.address import check_address

if TYPE_CHECKING:
    from wan_pipeline.studio import Studio

WIDENING = ("GRADIO_VIBE_MODE", "GRADIO_ALLOWED_PATHS", "GRADIO_SHARE", "GRADIO_MCP_SERVER", "GRADIO_ROOT_PATH")
"""Gradio's own switches that would serve more than this program does."""

logger = logging.getLogger(__name__)


def serve(
    settings: Settings, host: str, port: int | None, *, share: bool = False, host_names: Iterable[str] = ()
) -> None:
    """Serve the page until it is stopped.

    Without a port it takes the first free one from 7860. `share` also gives the page a public address, through
    Gradio's servers. `host_names` are other names that the page answers to. Whoever is not at this computer needs the
    owner's key, which is printed as a link. Raises UserError or OSError if the page cannot be served.
    """
    check_address(host, port)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s: %(message)s")
    _narrow_environment()
    from wan_pipeline.studio import Studio
    from wan_pipeline.ui.page import build_ui

    names = frozenset(host_name(name) for name in host_names)
    with Studio(replace(settings, workspace=settings.workspace.absolute())) as studio:
        studio.start()
        page = build_ui(studio)
        options = serve_options(studio, Rules(host_names=names))
        page.launch(server_name=host, server_port=port, share=share, prevent_thread_lock=True, **options)
        public = [page.share_url] if page.share_url else []
        if host not in LOOPBACK_NAMES:
            public += [f"http://{name}:{page.server_port}" for name in sorted(names)]
        with _owner_invited(studio, public):
            page.block_thread()


def serve_options(studio: Studio, rules: Rules) -> dict[str, Any]:
    """Arguments for `Blocks.launch`: the looks of the page, and what stands before every route of the server."""
    from starlette.middleware import Middleware

    from wan_pipeline.api.app import shared_app
    from wan_pipeline.api.doors import Doors
    from wan_pipeline.ui.common.templates import Templates
    from wan_pipeline.ui.theme import launch_options

    templates = Templates()

    def refused_page(status: int, sentence: str) -> str:
        return templates.render("common/refused.html", status=status, sentence=sentence)

    guard: Any = Middleware(Guard, studio.keys, rules, Limits(), refused_page)
    doors: Any = Middleware(Doors, shared_app(studio, templates))
    return {**launch_options(studio), "app_kwargs": {"middleware": [guard, doors]}}


@contextmanager
def _owner_invited(studio: Studio, addresses: Iterable[str]) -> Iterator[None]:
    """Print a link with a key of the owner's for each public address. The key ends with the block."""
    keys, addresses = studio.keys, list(addresses)
    if not addresses:
        yield
        return
    secret, key = keys.create(Role.OWNER)
    for address in addresses:
        print(f"Your own link, which may do everything: {invitation(address, secret)}", file=sys.stderr, flush=True)  # noqa: T201
    try:
        yield
    finally:
        keys.revoke(key.id)


def _narrow_environment() -> None:
    """Before Gradio is imported: no analytics, and none of its switches that serve more."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    for name in WIDENING:
        if os.environ.pop(name, None) is not None:
            logger.warning("%s is set and ignored: it would open the studio wider than its own options do.", name)
