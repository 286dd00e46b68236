"""The head of the page, above the rooms: the header, notices about the workspace, and the button that opens a clip."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import gradio as gr

from wan_pipeline.errors import NoReceiptError, UserError
from wan_pipeline.models.registry import DEFAULT_MODEL
from wan_pipeline.projects.project import DEFAULT
from wan_pipeline.studio import Studio
from wan_pipeline.ui.common.clock import page_clock
from wan_pipeline.ui.common.events import QUIET, Updates
from wan_pipeline.ui.common.layout import Layout
from wan_pipeline.ui.common.names import WAITING_CLIPS, badge_text
from wan_pipeline.ui.common.projects import project_choices, project_switch
from wan_pipeline.ui.common.room import PageLinks, RoomId
from wan_pipeline.ui.common.templates import Templates
from wan_pipeline.ui.common.viewer import BANNER

LOOK_SECONDS, IDLE_LOOK_SECONDS = 2.0, 10.0
"""How often a viewer app checks whether it has taken over, and how often any app looks at its notices."""
BADGE_SECONDS, IDLE_BADGE_SECONDS = 1.0, 10.0
LOOKS_ON = "#banner [data-looks-on]"
SHOWS_QUEUE = "#stage, #queue-rows"
"""The rooms that follow the queue, and with it the mark beside Queue."""
CLIPS = [".mp4", ".mov", ".mkv", ".webm"]
"""What `show` opens; `assets/files.js` names them too."""
FOREIGN = "What another program noted in it, its prompt or seed, is in the form."
ALLOW_AGAIN = "html => wanStudio.allowAgain(html)"
PROJECT_IN_BROWSER = "() => [wanStudio.project()]"
KEEP_PROJECT = "project => wanStudio.keepProject(project)"
SHOW_BADGE = "text => wanStudio.badge(text)"


class PageHead(Layout):
    """Drawn first, wired with the rooms."""

    def __init__(self, studio: Studio, templates: Templates) -> None:
        self._studio, self._templates = studio, templates
        gr.HTML(templates.render("common/header.html"), elem_id="header")
        self.upload = gr.UploadButton(
            "Open a clip", file_types=CLIPS, elem_id="clip-upload", elem_classes="quiet", size="sm"
        )
        self.project = project_switch()
        self.banner = gr.HTML("", elem_id="banner")
        self.badge = gr.Textbox(visible="hidden", container=False)
        self.notices_clock = page_clock(LOOK_SECONDS, LOOKS_ON, IDLE_LOOK_SECONDS)
        self.badge_clock = page_clock(BADGE_SECONDS, WAITING_CLIPS, IDLE_BADGE_SECONDS, but_in=SHOWS_QUEUE)

    def wire(self, links: PageLinks) -> None:
        looks = [links.page.load, self.notices_clock.tick]
        gr.on(looks, self.show_notices, None, [self.banner], trigger_mode="always_last", **QUIET)
        self.badge_clock.tick(self.show_badge, None, [self.badge], trigger_mode="always_last", **QUIET)
        opened = links.page.load(self.open_project, self.project, [self.project], js=PROJECT_IN_BROWSER, **QUIET)
        opened.then(None, self.project, None, js=KEEP_PROJECT)
        self.project.input(self.choose_project, self.project, [self.project], **QUIET)
        self.project.focus(self.offer_projects, None, [self.project], **QUIET)
        self.banner.change(None, self.banner, None, js=ALLOW_AGAIN)
        self.badge.change(None, self.badge, None, js=SHOW_BADGE)
        self.upload.upload(partial(self.open_clip, links), self.upload, links.outputs, **QUIET)

    def open_project(self, wanted: str | None) -> Updates:
        """The project that this browser had open last, if it is there."""
        choices, project = project_choices(self._studio), self._known(wanted)
        is_there = project in {value for _, value in choices}
        return {self.project: gr.Dropdown(choices=choices, value=project if is_there else DEFAULT)}

    def choose_project(self, typed: str | None) -> Updates:
        """The project that was typed as its title or in another case. A new name stays: it makes a project."""
        project = self._known(typed)
        return {self.project: gr.skip() if project == typed else project}

    def _known(self, name: str | None) -> str | None:
        """The id of the project of that name, if there is one; else the name."""
        with suppress(UserError):  # its file cannot be read: Generate says so
            found = self._studio.projects.find(name or DEFAULT)
            return found.id if found else name
        return name

    def offer_projects(self) -> Updates:
        """The projects that are there now."""
        return {self.project: gr.Dropdown(choices=project_choices(self._studio))}

    def show_notices(self) -> Updates:
        """What was repaired in the workspace, and whether another app has it open."""
        looks_on = self._studio.is_viewer
        sentences = [*self._studio.notices, *([BANNER] if looks_on else [])]
        html = self._templates.render("common/banner.html", sentences=sentences, looks_on=looks_on)
        return {self.banner: html}

    def show_badge(self) -> Updates:
        """How many clips run or wait, in the rooms that show nothing else of the queue."""
        return {self.badge: badge_text(self._studio.jobs.counts(), self._studio.jobs.queue_state())}

    def open_clip(self, links: PageLinks, path: str | None) -> Updates:
        """The settings of a clip from anywhere, in the form; what of them is missing here is said."""
        if not path:
            return {links.rooms: gr.skip()}
        try:
            found = self._studio.drafts.of_clip(Path(path))
        except NoReceiptError as error:
            return self._open_foreign(links, Path(path), str(error))
        except UserError as error:
            return {**links.filler.notices(str(error)), **links.open(RoomId.CREATE)}
        return links.filler.fill(found.draft, " ".join(found.missing), mode=found.request.mode)

    def _open_foreign(self, links: PageLinks, path: Path, problem: str) -> Updates:
        """What can be read of a clip of another program, in the form."""
        found = self._studio.drafts.of_foreign_clip(path)
        if found is None:
            return {**links.filler.notices(problem), **links.open(RoomId.CREATE)}
        return links.filler.fill(replace(found, model=DEFAULT_MODEL), f"{problem} {FOREIGN}")
