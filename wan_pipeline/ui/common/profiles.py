"""Draft or final: the profiles of a project, as the forms that make clips offer them."""

from __future__ import annotations

import gradio as gr

from wan_pipeline.projects.project import Profile, Project
from wan_pipeline.requests.post_processing import INTERPOLATE_FACTORS, UPSCALE_FACTORS
from wan_pipeline.studio import Studio

PROFILES = {"": "Project's setup", "draft": "Draft", "final": "Final"}
"""What a clip of a project may be made by, with its title."""
LARGER = [("As the clip", 1), *((f"{factor} times as large", factor) for factor in UPSCALE_FACTORS)]
MORE = [("As the clip", 1), *((f"{factor} times as many", factor) for factor in INTERPOLATE_FACTORS)]
"""What may be done to the frames of finals: titles and factors."""


def profile_radio() -> gr.Radio:
    """Which profile of the open project makes a clip; hidden where it has none."""
    return gr.Radio([(PROFILES[""], "")], value="", label="Made by", visible=False, elem_classes="pills")


def profile_choice(studio: Studio, project: str | None, chosen: str = "") -> gr.Radio:
    """The profiles that the project has; nothing to choose where it has none."""
    found = studio.projects.find(project or "")
    names = [name for name in PROFILES if not name or (found and not profile_of(found, name).is_empty)]
    value = chosen if chosen in names else ""
    return gr.Radio([(PROFILES[name], name) for name in names], value=value, visible=len(names) > 1)


def profile_of(project: Project, name: str) -> Profile:
    """Its "draft" or "final" profile."""
    return project.draft if name == "draft" else project.final
