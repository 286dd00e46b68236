"""The switch in the head of the page: the project that clips are made for, and that the lists keep to."""

from __future__ import annotations

import gradio as gr

from wan_pipeline.projects.project import DEFAULT
from wan_pipeline.studio import Studio

EVERYTHING = "No project"
"""The default project's name in the switch. Its clips have none, and while it is chosen the lists show all clips."""


def project_switch() -> gr.Dropdown:
    """Takes a new name too: that makes a project."""
    return gr.Dropdown(
        [(EVERYTHING, DEFAULT)],
        value=DEFAULT,
        label="Project",
        show_label=False,
        container=False,
        allow_custom_value=True,
        elem_id="project",
        min_width=0,
    )


def project_choices(studio: Studio) -> list[tuple[str, str]]:
    """(title, id) of all projects that are offered, with those that only clips name."""
    projects = [project for project in studio.projects.all() if not project.archived and project.id != DEFAULT]
    known = {project.label for project in studio.projects.all()}
    named = [(label, label) for label in studio.gallery.facets().projects if label not in known]
    return [(EVERYTHING, DEFAULT), *((project.title, project.id) for project in projects), *named]


def chosen_project(studio: Studio, value: object) -> str:
    """What rows and receipts hold of the chosen project; empty for the default one."""
    return studio.projects.label(str(value or DEFAULT))
