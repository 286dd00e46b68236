"""Earlier clips as drafts: what made a job, a clip of this program, or a clip of another one."""

from __future__ import annotations

from pathlib import Path

from wan_pipeline.clips.receipt import load_receipt
from wan_pipeline.errors import UserError
from wan_pipeline.jobs.table.reader import JobReader
from wan_pipeline.requests.layers import settled, with_none_read
from wan_pipeline.requests.recover import Recovered, recover
from wan_pipeline.requests.request import Draft
from wan_pipeline.requests.resolver import RequestResolver


class Drafts:
    """Turns what was made back into drafts."""

    def __init__(self, jobs: JobReader, requests: RequestResolver) -> None:
        self._jobs, self._requests = jobs, requests

    def of_job(self, job_id: str) -> Draft:
        """A draft that resolves to the job's request, whatever its project says now.

        Raises UserError for an unreadable job.
        """
        job = self._jobs.existing(job_id)
        if job.request_error:
            raise UserError(job.request_error)
        return with_none_read(settled(self._requests.draft_of(job.request)))

    def of_clip(self, path: Path) -> Recovered:
        """The settings of any clip with a receipt, made here or elsewhere, and what of them is missing here.

        Raises ReceiptError or StorageError for a file without one.
        """
        return recover(load_receipt(path).request, self._requests)

    def of_foreign_clip(self, path: Path) -> Draft | None:
        """The prompt and seed that another program noted in a clip; None if there are none. Raises StorageError."""
        from wan_pipeline.clips.foreign import read_foreign  # here: it brings in ffmpeg's wrapper
        from wan_pipeline.clips.read import read_tags

        return read_foreign(read_tags(path))
