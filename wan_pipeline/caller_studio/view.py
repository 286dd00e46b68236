"""What one caller may see of clips, jobs and sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from wan_pipeline.access.callers import Caller
from wan_pipeline.access.keys import Key
from wan_pipeline.access.roles import Role
from wan_pipeline.clips.gallery import Clip, GalleryQuery
from wan_pipeline.errors import LoraError, ProjectError, UserError
from wan_pipeline.jobs.job import Job
from wan_pipeline.wording import without_folders


class CallerView:
    """Chooses and redacts for one caller."""

    def __init__(self, caller: Caller, folders: Sequence[Path]) -> None:
        """`folders` of the workspace are for the owner at this computer."""
        self._caller, self._folders = caller, folders

    @property
    def key(self) -> Key | None:
        """The guest's key; None for the owner, who may have come by a key as well."""
        return None if self._caller.role is Role.OWNER else self._caller.key

    def query(self) -> GalleryQuery:
        """The clips of the gallery that the caller may watch."""
        if self.key is None:
            return GalleryQuery()
        if self.key.is_visitor:
            return GalleryQuery(made_by=(self.key.id,))
        made_by = ("", self.key.id) if self._caller.role is Role.MAKE else ()
        return GalleryQuery(project=self.key.project, made_by=made_by)

    def is_seen(self, clip: Clip) -> bool:
        """Whether the caller may watch the clip."""
        query = self.query()
        is_covered = not query.project or clip.project == query.project
        return is_covered and not clip.is_binned and (not query.made_by or clip.made_by in query.made_by)

    def is_own(self, clip: Clip) -> bool:
        """Whether the caller made it, and may see its settings and bin it. The owner may do so with all."""
        return self.key is None or clip.made_by == self.key.id

    def is_own_job(self, job: Job) -> bool:
        return self.key is None or job.made_by == self.key.id

    def job(self, job: Job) -> Job:
        """A job as the caller may see it."""
        # On a Space everybody stands in one line; an invited guest does not see how many clips others queue.
        ahead = job.jobs_ahead if self.key is None or self.key.is_visitor else None
        return replace(job, error=job.error and self.sentence(job.error), jobs_ahead=ahead)

    def clip(self, clip: Clip) -> Clip:
        """Another maker's clip without what it was made from. Its size and length are seen by watching it."""
        if self.is_own(clip):
            return clip
        request = replace(clip.request, prompt="", styled_prompt="", negative_prompt="", seed=0, notes=())
        request = replace(request, preset=None, loras=(), prompt_before="", prompt_after="", layers={})
        return replace(clip, request=request, note="", frames_sha256="")

    def sentence(self, text: str) -> str:
        """A sentence as the caller may read it: folders are for the owner at this computer."""
        return text if self._caller.is_local else without_folders(text, self._folders)

    @contextmanager
    def redacting_errors(self) -> Iterator[None]:
        """Folders, LoRA files and what a project's file holds are for the owner: a guest's errors are without them."""
        try:
            yield
        except LoraError as error:
            if self.key is None:
                raise
            raise UserError("There is no such LoRA for this model here; choose a style instead.") from error
        except ProjectError as error:
            if self.key is None:
                raise
            raise UserError("The project cannot be used now; ask the owner to correct its file.") from error
        except UserError as error:
            if (redacted := self.sentence(str(error))) == str(error):
                raise
            raise UserError(redacted) from error
