"""The projects that guests' keys cover, by the names that clips have for them."""

from __future__ import annotations

from wan_pipeline.access.keys import Keys
from wan_pipeline.errors import ProjectError
from wan_pipeline.projects.store import Projects
from wan_pipeline.requests.texts import check_project


def project_of_key(projects: Projects, name: str) -> str:
    """What a key for the project of that name holds, which is made where there is none. Empty only without a name.

    Raises UserError for a name that no project can have, and for the default project: clips of it hold no name, and a
    key without one opens the whole studio.
    """
    if not name:
        return ""
    check_project(name)
    project, _ = projects.ensure(name)
    if not project.label:
        raise ProjectError(
            f"The project '{name[:80]}' is the default one, of all clips without a project, and no key can be for it; "
            "choose another project, or none for a key to the whole studio."
        )
    return project.label


def name_as_folders(keys: Keys, projects: Projects) -> None:
    """Name projects in keys of older versions, which hold what was typed, by their folders, as clips do.

    Only by the folders, which stay: a title may be another project's by now. A key of a title covers nothing.
    """
    keys.rename_projects(projects.id_of)
