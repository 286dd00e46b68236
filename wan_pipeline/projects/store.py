"""The projects of a workspace: found, made, changed, as their files are now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Lock

from wan_pipeline.errors import ProjectError, StorageError
from wan_pipeline.projects.file import FILE, checked, read_project, write_project
from wan_pipeline.projects.naming import safe_name
from wan_pipeline.projects.project import DEFAULT, Project
from wan_pipeline.requests.layers import Layers
from wan_pipeline.requests.texts import check_project
from wan_pipeline.storage.main_app import CheckMainApp, main_app_only, unchecked

NO_PROJECT = Project(DEFAULT, "Default project")
"""The default project until it has a file."""
Version = tuple[int, int]


class Projects:
    """The folders below `projects/`. A file is read again when it has changed. Safe to share between threads.

    Changes raise LookingOnError in a viewer app; that app too may queue clips for a new
    project, which makes it.
    """

    def __init__(self, folder: Path, check_main_app: CheckMainApp = unchecked) -> None:
        self.folder = folder
        self._check_main_app = check_main_app
        self._lock = Lock()
        self._read: dict[str, tuple[Version, Project | ProjectError]] = {}

    # Finding

    @property
    def problems(self) -> tuple[str, ...]:
        """One sentence for each file that cannot be read. Its project is left out."""
        return tuple(f"{found} It is left out." for found in self._all().values() if isinstance(found, ProjectError))

    def all(self) -> list[Project]:
        """All that have a file that can be read, and the default project, first; the others by title."""
        found = [each for each in self._all().values() if isinstance(each, Project)]
        default = next((each for each in found if each.id == DEFAULT), NO_PROJECT)
        others = (each for each in found if each.id != DEFAULT)
        return [default, *sorted(others, key=lambda project: project.title.casefold())]

    def stored(self) -> list[str]:
        """What the projects' files hold, also those that cannot be read as projects. Raises StorageError."""
        found = []
        for path in self._files():
            try:
                found.append(path.read_bytes().decode("utf-8", "replace"))
            except FileNotFoundError:  # removed meanwhile
                continue
            except OSError as error:
                raise StorageError(f"{path} cannot be opened ({error.strerror}); check its permissions.") from error
        return found

    @property
    def default(self) -> Project:
        """The project of clips without one. Raises ProjectError if it has a file that cannot be read."""
        return self.find(DEFAULT) or NO_PROJECT

    def find(self, name: str) -> Project | None:
        """The project of that id or title, whatever its case, or else of that id as a folder can have it; None if there
        is none.

        Raises ProjectError for one whose file cannot be read.
        """
        everything, wanted = self._all(), name.strip().casefold() or DEFAULT
        by_id = {key.casefold(): each for key, each in everything.items()}
        titled = (each for each in everything.values() if isinstance(each, Project))
        found = by_id.get(wanted) or next((each for each in titled if each.title.casefold() == wanted), None)
        found = found or by_id.get(_safe_key(name))
        if isinstance(found, ProjectError):
            raise found
        return found

    def existing(self, name: str) -> Project:
        """Raises ProjectError listing the known projects."""
        if (found := self.find(name)) is not None:
            return found
        if _is_default(name):
            return self.default
        offer = ", ".join(project.title for project in self.all())
        raise ProjectError(f"There is no project '{name[:80]}' in {self.folder}; it holds: {offer}.")

    def label(self, name: str) -> str:
        """What rows, receipts and keys hold of the project of that name, whether it has a file or not."""
        found = self.find(name)
        return found.label if found else "" if _is_default(name) else project_id(name)

    def id_of(self, name: str) -> str:
        """The id of the project whose folder has that name, in whatever case, or as a folder can have it; empty if none
        has. No file is read.
        """
        found = [path.parent.name for path in self._files()]
        ids = {id.casefold(): id for id in found} | {id: id for id in found}
        return ids.get(name, "") or ids.get(name.strip().casefold(), "") or ids.get(_safe_key(name), "")

    def layers(self, name: str, profile: str = "") -> Layers:
        """The layers of a project's clips; none for one without a file. Raises ProjectError."""
        found = self.find(name)
        return found.layers(profile) if found else Layers()

    # Changing

    def ensure(self, name: str) -> tuple[Project, bool]:
        """The project of that name, and whether it was made now. Clips without a project make none."""
        found = self.find(name)
        if found is not None or _is_default(name):
            return found or self.default, False
        project = checked(Project(project_id(name), name.strip()))
        write_project(project, self.path(project.id))
        return project, True

    @main_app_only
    def create(self, project: Project) -> Project:
        """Make a project. Raises ProjectError if there is one of that name."""
        if self.find(project.id) or self.find(project.title):
            raise ProjectError(f"There is a project '{project.title[:80]}' already; edit it, or choose another name.")
        write_project(project, self.path(project.id))
        return project

    @main_app_only
    def save(self, project: Project) -> None:
        """Write a project's file. Raises StorageError."""
        write_project(project, self.path(project.id))

    @main_app_only
    def archive(self, name: str, archived: bool = True) -> Project:
        """Offer a project no more, or again."""
        project = replace(self.existing(name), archived=archived)
        write_project(project, self.path(project.id))
        return project

    def duplicate(self, name: str, title: str = "") -> Project:
        """A new project with the setup of another one. Its clips are not copied."""
        source = self.existing(name)
        title = title.strip() or self.free(lambda number: f"{source.title} {number}")
        return self.create(replace(source, id=project_id(title), title=title, archived=False))

    def free(self, name: Callable[[int], str]) -> str:
        """The first of these names, from number 2, that no project has."""
        return next(found for number in range(2, 10**6) if self.find(found := name(number)) is None)

    def path(self, project: str) -> Path:
        """The file of a project, by its id."""
        return self.folder / project / FILE

    def _all(self) -> dict[str, Project | ProjectError]:
        """What the files hold now, by id. Only those that have changed are read."""
        with self._lock:
            versions = {path.parent.name: version for path in self._files() if (version := _version(path))}
            for name in self._read.keys() - versions.keys():
                del self._read[name]
            for name, version in versions.items():
                if name not in self._read or self._read[name][0] != version:
                    self._read[name] = version, _read(self.path(name))
            return {name: self._read[name][1] for name in sorted(self._read)}

    def _files(self) -> list[Path]:
        return list(self.folder.glob(f"*/{FILE}"))


def project_id(name: str) -> str:
    """The id of a new project of that name: the name itself, as far as a folder can have it. Raises UserError."""
    check_project(name)
    if not (safe := safe_name(name.strip())):
        raise ProjectError(f"The project '{name[:80]}' has a name that no folder can have; use letters or digits.")
    return safe


def _safe_key(name: str) -> str:
    """The id that `project_id` makes of a name, without its case; empty for a name that no folder can have."""
    return safe_name(name.strip()).casefold()


def _is_default(name: str) -> bool:
    return not name.strip() or _safe_key(name) == DEFAULT


def _read(path: Path) -> Project | ProjectError:
    try:
        return read_project(path)
    except ProjectError as error:
        return error


def _version(path: Path) -> Version | None:
    """None for a file that has been removed."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size
