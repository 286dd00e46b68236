"""Lists of clips: spreadsheets, JSON and exported ZIP files, into the queue and out of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import BoundedSemaphore

from wan_pipeline.errors import UserError
from wan_pipeline.jobs.job import UNFINISHED, Job, JobState, NewJob
from wan_pipeline.jobs.table.reader import JobReader
from wan_pipeline.projects.clips import JobOptions, ProjectClips
from wan_pipeline.projects.shots.lists import shots_of_rows
from wan_pipeline.projects.shots.store import Shots
from wan_pipeline.projects.store import Projects
from wan_pipeline.requests.layers import settled
from wan_pipeline.requests.lists.clips import Row
from wan_pipeline.requests.lists.files import (
    CheckedList,
    QueueFile,
    check_rows,
    read_queue_file,
    write_queue_file,
)
from wan_pipeline.requests.lists.rows import MAX_ROWS
from wan_pipeline.requests.once import once_each
from wan_pipeline.requests.request import Draft, GenerationRequest
from wan_pipeline.requests.resolver import RequestResolver

Submit = Callable[[Sequence[tuple[Draft, NewJob]], RequestResolver], list[str]]
"""Queues clips that have been checked, all or none, and returns their ids. The resolver saves their files."""
CHECKED_AT_A_TIME = 2
"""Lists. Each takes seconds of the app's own process, in which the page answers too."""


class QueueLists:
    """Reads, queues and writes lists of clips."""

    def __init__(
        self,
        cache: Path,
        requests: RequestResolver,
        jobs: JobReader,
        projects: Projects,
        project_clips: ProjectClips,
        shots: Shots,
        submit: Submit,
    ) -> None:
        self._cache, self._requests, self._jobs = cache, requests, jobs
        self._projects, self._project_clips, self._shots = projects, project_clips, shots
        self._submit = submit
        self._checks = BoundedSemaphore(CHECKED_AT_A_TIME)

    def read(self, path: Path, *, own_disk: bool = False, project: str = "", profile: str = "") -> CheckedList:
        """The clips of a spreadsheet, JSON or exported ZIP file, and a sentence for each row that cannot be queued.

        `own_disk`: rows may name pictures on this computer's disk; not for a page that others may open. `project` and
        `profile` are for rows that name none. The result is to be closed, or used as a context manager: then pictures
        of a ZIP are removed. Raises UserError for a file that is no list, and while too many others are read.
        """
        if not self._checks.acquire(blocking=False):  # those that wait would hold the threads of the page
            raise UserError(f"{CHECKED_AT_A_TIME} lists are being checked; add this one again when they are done.")
        try:
            return self._checked(path, own_disk, project, profile)
        finally:
            self._checks.release()

    def _checked(self, path: Path, own_disk: bool, project: str, profile: str) -> CheckedList:
        folder = TemporaryDirectory(dir=self._cache, prefix="import-")
        try:
            content = read_queue_file(path, Path(folder.name), own_disk=own_disk)
            checked = check_rows(content, self._checker(self._requests.batch()), project, profile)
            return CheckedList(checked, folder)
        except BaseException:
            folder.cleanup()
            raise

    def submit(
        self,
        content: QueueFile,
        *,
        skip_bad: bool = False,
        project: str = "",
        profile: str = "",
        deterministic: bool = False,
    ) -> list[str]:
        """Queue the clips of a list, which are checked again only for another project or profile than they were.

        `project` and `profile` are for rows that name none. Raises UserError, and queues nothing, if there are bad
        rows that are not to be skipped, or no good ones.
        """
        content.check(skip_bad)
        batch = self._requests.batch()
        checked = self._resolved(content, project, profile, batch)
        # Each project is looked up once; a list with a fault makes none.
        labels = {name: self._projects.ensure(name)[0].label for name in {name for _, name, _ in checked}}
        makers = {name: self._project_clips.maker(label) for name, label in labels.items()}
        shots = shots_of_rows(content.rows, self._shots, labels, project, self._requests.pictures)
        jobs = []
        for row, name, request in checked:
            take = row.shot.take if row.shot else 0
            options = JobOptions(
                row.note,
                row.deterministic or deterministic,
                shot=shots.get(row.number),
                take=take,
                profile=row.profile or profile,
            )
            jobs.append((row.draft, makers[name](request, options)))
        return self._submit(jobs, batch)

    def export(self, target: Path | None = None, project: str | None = None) -> Path:
        """Write all that runs, waits or is held to a file that `read` reads, and return its path.

        `project` leaves out the others. Without a target it goes to the cache, as ZIP if there are input pictures, else
        as JSONL. Raises UserError if not all of the queue can go into one file.
        """
        jobs = self._exportable(project)
        batch = self._requests.batch()  # presets are read once, not for each job
        shots = self._shots.rows_of(job.id for job in jobs)
        rows = [
            Row(
                number,
                settled(batch.draft_of(job.request)),
                job.project,
                job.note,
                job.deterministic,
                shots.get(job.id),
            )
            for number, job in enumerate(jobs, 1)
        ]
        ending = "zip" if any(row.draft.files for row in rows) else "jsonl"
        path = target or self._cache / f"queue_{datetime.now().astimezone():%Y-%m-%d_%H%M}.{ending}"
        write_queue_file(rows, path)
        return path

    def _resolved(
        self, content: QueueFile, project: str, profile: str, batch: RequestResolver
    ) -> list[tuple[Row, str, GenerationRequest]]:
        """Each row with its project and its request."""
        is_same_project = self._projects.label(content.project) == self._projects.label(project)
        is_same_profile = content.profile == profile
        check, checked = self._checker(batch), []
        for row in content.rows:
            name = row.project or project
            is_checked = (row.project or is_same_project) and (row.profile or is_same_profile)
            known = row.request if is_checked else None
            request = known or check(row.draft, name, row.profile or profile)
            checked.append((row, name, request))
        return checked

    def _exportable(self, project: str | None) -> list[Job]:
        """The jobs that an export holds. Raises UserError for too many, or an unreadable one."""
        jobs = self._jobs.jobs((*UNFINISHED, JobState.PAUSED), limit=MAX_ROWS + 1, project=project)
        if len(jobs) > MAX_ROWS:
            raise UserError(f"The queue has more than {MAX_ROWS:,} unfinished clips, and a list holds no more.")
        if unreadable := next((job for job in jobs if job.request_error), None):
            raise UserError(
                f"Clip {unreadable.id[:8]} of the queue cannot be exported; cancel it first. {unreadable.request_error}"
            )
        return jobs

    def _checker(self, batch: RequestResolver) -> Callable[[Draft, str, str], GenerationRequest]:
        """Checks drafts of any project and profile."""

        @once_each
        def of(project: str, profile: str) -> Callable[[Draft], GenerationRequest]:
            return batch.within(self._projects.layers(project, profile)).checker()

        return lambda draft, project, profile: of(project, profile)(draft)
