"""Serves the page. Importing this module does not import Gradio yet."""

from __future__ import annotations

import logging
import os
from dataclasses import replace

from wan_pipeline.settings import Settings
from wan_pipeline.ui.address import check_address
from wan_pipeline.ui.proxies import bypass_proxies, without_unknown_proxies


def serve(settings: Settings, host: str, port: int | None, *, share: bool = False) -> None:
    """Serve the page until it is stopped.

    Without a port it takes the first free one from 7860. `share` also gives the page a public address, through
    Gradio's servers. Raises UserError or OSError if the page cannot be served.
    """
    check_address(host, port)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s: %(message)s")
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read when Gradio is imported
    bypass_proxies(host)
    with without_unknown_proxies():
        from wan_pipeline.studio import Studio
        from wan_pipeline.ui.page import build_ui
        from wan_pipeline.ui.theme import launch_options

    with Studio(replace(settings, workspace=settings.workspace.absolute())) as studio:
        studio.start()
        with without_unknown_proxies():
            page = build_ui(studio)
            page.launch(
                server_name=host, server_port=port, share=share, prevent_thread_lock=True, **launch_options(studio)
            )
        page.block_thread()
