"""Styles that a person saves, and their pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from wan_pipeline.jobs.background.style_pictures import StylePictures
from wan_pipeline.projects.store import Projects
from wan_pipeline.projects.styles import style_from, write_style
from wan_pipeline.requests.presets import Preset
from wan_pipeline.requests.request import Draft
from wan_pipeline.requests.resolver import RequestResolver
from wan_pipeline.settings import Settings
from wan_pipeline.storage.main_app import CheckMainApp, main_app_only


class Styles:
    """The saved styles of one workspace."""

    def __init__(
        self,
        settings: Settings,
        requests: RequestResolver,
        projects: Projects,
        draws: Callable[[], bool],
        check_main_app: CheckMainApp,
    ) -> None:
        """`draws` says whether this is an app that draws the pictures of styles."""
        self._folder, self._requests, self._projects = settings.own_presets, requests, projects
        self._pictures, self._draws = StylePictures(settings), draws
        self._check_main_app = check_main_app
        self.problems: list[str] = []
        """Why pictures are not drawn: one sentence each."""

    @main_app_only
    def save(self, title: str, draft: Draft, project: str = "") -> Preset:
        """Save what a draft of a project has beside its prompt as a style of that project. Raises UserError.

        In an app its picture follows, as soon as the queue is idle.
        """
        style = style_from(title, draft, self._requests.within(self._projects.layers(project)))
        preset = replace(style, project=self._projects.label(project))
        write_style(preset, self._folder)
        self.draw_missing()
        return preset

    def draw_missing(self) -> None:
        """Draw the missing pictures of saved styles, if this app does that."""
        if self._draws():
            try:
                self._pictures.start()
            except OSError as error:
                self.problems.append(f"The pictures of saved styles are not drawn: {error}.")
