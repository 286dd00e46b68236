"""Serves the studio behind its guard. Importing this module does not import Gradio yet."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wan_pipeline.access.callers import LOOPBACK_NAMES, host_name
from wan_pipeline.access.guard import Guard
from wan_pipeline.access.http import Rules, invitation
from wan_pipeline.access.keys import Keys
from wan_pipeline.access.limits import Limits
from wan_pipeline.access.password import Password
from wan_pipeline.access.roles import Role
from wan_pipeline.api.space.environment import Space, space_of
from wan_pipeline.errors import UserError
from wan_pipeline.settings import Settings
from wan_pipeline.storage.temporary import remove_left_over, temporary_folder
from wan_pipeline.ui.address import check_address
from wan_pipeline.ui.proxies import bypass_proxies, without_unknown_proxies

if TYPE_CHECKING:
    import gradio as gr

    from wan_pipeline.studio import Studio, Supervise

WIDENING = (
    "GRADIO_VIBE_MODE",
    "GRADIO_ALLOWED_PATHS",
    "GRADIO_SHARE",
    "GRADIO_SHARE_SERVER_ADDRESS",
    "GRADIO_MCP_SERVER",
    "GRADIO_ROOT_PATH",
    "GRADIO_NUM_WORKERS",
    "GRADIO_STATIC_WORKER_PORTS",
    "GRADIO_WATCH_DIRS",
    "GRADIO_LOCAL_DEV_MODE",
    "GRADIO_HOT_RELOAD",
    "GRADIO_DEBUG",
    "GRADIO_API_SERVER",
    "GRADIO_RUN_HISTORY",
    "GRADIO_HISTORY_BUCKET",
)
"""Gradio's own switches that would serve more than this program does, or elsewhere."""
NO_SCHEMA = {"openapi_url": None, "docs_url": None, "redoc_url": None}
"""For FastAPI: it describes no routes."""

SHARED_PROJECT = "Shared"
"""Project of the invitation that `--share` prints, so that its holders do not see the studio's other clips."""

logger = logging.getLogger(__name__)


def serve(
    settings: Settings,
    host: str,
    port: int | None,
    tell: Callable[[str], None],
    *,
    share: bool = False,
    host_names: Iterable[str] = (),
    password: str | None = None,
) -> None:
    """Serve the page until it is stopped.

    Without a port it takes the first free one from 7860. `share` also gives the page a public address, through
    Gradio's servers. `host_names` are other names that the page answers to. Whoever is not at this computer needs the
    owner's key, for which `tell` gets a link, or the `password`. On a Space everybody else is a visitor. Raises
    UserError or OSError if it cannot be served.
    """
    space = space_of(os.environ)
    check_address(host, port)
    owners_password = Password(password) if password else None
    _prepare_process(host)
    names = frozenset(host_name(name) for name in host_names)
    rules = space.rules(names) if space else Rules(host_names=names)
    settings = replace(settings, workspace=settings.workspace.absolute())
    with ExitStack() as stack:
        remove_left_over(settings.cache)
        stack.enter_context(_gradio_folder(settings.cache))
        from wan_pipeline.studio import Studio

        studio = stack.enter_context(Studio(settings, supervise_for(space)))
        studio.start()
        with without_unknown_proxies():
            page, options = _page(studio), serve_options(studio, rules, owners_password, space)
            page.launch(server_name=host, server_port=port, share=share, prevent_thread_lock=True, **options)
        addresses = _public_addresses(page, host, names)
        stack.enter_context(_invited(studio, addresses, tell, is_shared=bool(page.share_url)))
        if space is not None:
            stack.enter_context(_serving_visitors(studio, space))
        page.block_thread()


@contextmanager
def _gradio_folder(cache: Path) -> Iterator[None]:
    """Where Gradio keeps its copies, for this app alone. To be set before Gradio is imported.

    It names a copy by its content, and deletes those of an app that ends: where apps share a folder, one deletes what
    another one still shows.
    """
    with temporary_folder(cache, "gradio") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        yield


def _page(studio: Studio) -> gr.Blocks:
    """The owner's page, with the endpoints for `gradio_client`."""
    from wan_pipeline.api.endpoints import Endpoints, owners_upload
    from wan_pipeline.ui.page import build_ui

    return build_ui(studio, Endpoints(studio, owners_upload).add)


def supervise_for(space: Space | None) -> Supervise:
    """What keeps a worker running: a process of its own, or on ZeroGPU a thread of this one."""
    from wan_pipeline.jobs.supervisor import Supervisor

    if space is None or not space.on_zero_gpu:
        return Supervisor
    from wan_pipeline.api.space.zerogpu import ZeroGpu

    return ZeroGpu().supervisor


def serve_options(
    studio: Studio, rules: Rules, password: Password | None = None, space: Space | None = None
) -> dict[str, Any]:
    """Arguments for `Blocks.launch`: the looks of the page, and what stands before every route of the server."""
    from starlette.middleware import Middleware

    from wan_pipeline.api.app import shared_app
    from wan_pipeline.api.routing import Dispatcher
    from wan_pipeline.ui.common.templates import Templates
    from wan_pipeline.ui.theme import launch_options

    templates = Templates()

    def refused_page(status: int, sentence: str, asks_password: bool) -> str:
        return templates.render("common/refused.html", status=status, sentence=sentence, asks_password=asks_password)

    limits, strangers = (space.limits(), space.strangers(studio.keys)) if space else (Limits(), None)
    guard: Any = Middleware(Guard, studio.keys, rules, limits, refused_page, password, strangers)
    login = strangers.login_start if strangers else ""
    dispatcher: Any = Middleware(Dispatcher, shared_app(studio, templates, is_built=True, login=login))
    return {**launch_options(studio), "app_kwargs": {"middleware": [guard, dispatcher], **NO_SCHEMA}}


def _public_addresses(page: gr.Blocks, host: str, names: Iterable[str]) -> list[str]:
    """Addresses by which others reach the page: Gradio's, and the names of this computer in its network."""
    shared = [page.share_url] if page.share_url else []
    own = [] if host in LOOPBACK_NAMES else [f"http://{name}:{page.server_port}" for name in sorted(names)]
    return shared + own


@contextmanager
def _invited(
    studio: Studio, addresses: Sequence[str], tell: Callable[[str], None], *, is_shared: bool
) -> Iterator[None]:
    """Print the public addresses, each with the owner's key, and with an invitation if it is shared with the world.

    Both keys end with the block.
    """
    if not addresses:
        yield
        return
    from wan_pipeline.access.public_address import PublicAddress

    with ExitStack() as made:
        secret = _made(studio.keys, made, Role.OWNER)
        for address in addresses:
            tell(f"Your own link, which may do everything: {invitation(address, secret)}")
        if is_shared:
            tell(_invitation(studio, addresses[0], made))
        made.enter_context(PublicAddress(studio.settings.workspace).published(addresses[0]))
        yield


def _invitation(studio: Studio, address: str, block: ExitStack) -> str:
    """What is printed for guests, whose key ends with the block."""
    from wan_pipeline.studio.keys_of_projects import project_of_key

    try:
        project = project_of_key(studio.projects, SHARED_PROJECT)
    except UserError as error:
        return f"No invitation was made: {error}"
    link = invitation(address, _made(studio.keys, block, Role.MAKE, project))
    return f"An invitation, to make clips in the project {project}: {link}"


def _made(keys: Keys, block: ExitStack, role: Role, project: str = "") -> str:
    """The secret of a key that ends with the block."""
    secret, key = keys.create_for_server(role, project)
    block.callback(keys.end, key.id)
    return secret


@contextmanager
def _serving_visitors(studio: Studio, space: Space) -> Iterator[None]:
    """What visitors leave is cleaned away, and links of the owner's page begin with the Space's address."""
    from wan_pipeline.access.public_address import PublicAddress
    from wan_pipeline.api.space.cleaner import Cleaner

    with ExitStack() as stack:
        stack.enter_context(Cleaner(studio))
        if space.address is not None:
            stack.enter_context(PublicAddress(studio.settings.workspace).published(space.address))
        yield


def _prepare_process(host: str) -> None:
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s: %(message)s")
    _narrow_environment()
    bypass_proxies(host)


def _narrow_environment() -> None:
    """Before Gradio is imported: no analytics, and none of its switches that serve more."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    for name in WIDENING:
        if os.environ.pop(name, None) is not None:
            logger.warning("%s is set and ignored: it would open the studio wider than its own options do.", name)
