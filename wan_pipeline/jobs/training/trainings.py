"""The trainings of a workspace as a person sees and changes them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from uuid import uuid4

from wan_pipeline.errors import UserError
from wan_pipeline.jobs.table.rows import now, sql_list
from wan_pipeline.jobs.training.job import RETRIABLE, UNFINISHED, Point, TrainingJob, TrainingState
from wan_pipeline.jobs.training.rows import IN_ORDER, read_job, stored_request, update
from wan_pipeline.jobs.training.samples import checkpoints_of
from wan_pipeline.models.library import ModelLibrary
from wan_pipeline.models.spec import ModelSpec
from wan_pipeline.planning.hardware import load_hardware
from wan_pipeline.settings import Settings
from wan_pipeline.storage.database import Database
from wan_pipeline.storage.files import storage_error
from wan_pipeline.storage.main_app import CheckMainApp, main_app_only, unchecked
from wan_pipeline.trainer.dataset.folder import read_items
from wan_pipeline.trainer.files.checkpoints import checkpoints, put_into_library
from wan_pipeline.trainer.files.naming import NameTakenError, check_lora_is_new, check_name, checkpoint_name
from wan_pipeline.trainer.recipe import load_recipe
from wan_pipeline.trainer.request import TrainingRequest, check_seed, check_wanted
from wan_pipeline.trainer.trainable import check_optimizer, check_trainable, expert_suffixes

MAX_PROMPTS = 4
"""Prompts of samples: each is a clip at every checkpoint."""
MAX_PROMPT_CHARACTERS = 2_000


class Trainings:
    """Every method raises StorageError when the database cannot be used."""

    def __init__(
        self, database: Database, settings: Settings, models: ModelLibrary, check_main_app: CheckMainApp = unchecked
    ) -> None:
        self._database = database
        self._settings = settings
        self._models = models
        self._check_main_app = check_main_app

    def submit(self, request: TrainingRequest, prompts: Sequence[str] = ()) -> str:
        """Queue a training and return its id at once. `prompts` are those of its samples.

        Raises UserError for what can be known to be wrong before it begins.
        """
        self.check(request, prompts)
        training_id = uuid4().hex
        with self._database.transaction() as connection:
            names = connection.execute("SELECT name FROM trainings").fetchall()
            if any(row["name"].casefold() == request.output.casefold() for row in names):
                raise NameTakenError(
                    f"There is a training '{request.output}' already; choose another name, or remove that one."
                )
            connection.execute(
                "INSERT INTO trainings (id, state, name, request, prompts, created_at) VALUES (?, ?, ?, ?, ?, ?)",
                (
                    training_id,
                    TrainingState.WAITING,
                    request.output,
                    stored_request(request),
                    json.dumps(list(prompts)),
                    now(),
                ),
            )
        return training_id

    def check(self, request: TrainingRequest, prompts: Sequence[str] = ()) -> None:
        """Raise UserError for what can be known to be wrong without the device, and without decoding the dataset."""
        check_name(request.output)
        check_seed(request.seed)
        model = self._models.find(request.model)
        suffixes = expert_suffixes(check_trainable(model))
        recipe = load_recipe(request.recipe, model.spec.memory, **request.changes)
        hardware = load_hardware(self._settings.cache)
        check_optimizer(recipe, hardware.device if hardware else None)
        check_wanted(model.spec, request.regularisation_clips, request.trigger)
        read_items(request.dataset)
        _check_prompts(prompts, model.spec)
        steps = [step for step in range(1, recipe.steps) if recipe.is_checkpoint(step)]
        for name in (
            request.output,
            *(checkpoint_name(request.output, step) for step in steps),
        ):  # as `take` copies them
            check_lora_is_new(self._settings.loras, name, suffixes)
        folder = self._settings.trainings / request.output
        if folder.is_dir() and any(folder.iterdir()):
            raise NameTakenError(
                f"There are files of a training '{request.output}' already; choose another name, or remove {folder}."
            )

    def all(self, limit: int = 50) -> list[TrainingJob]:
        """Running trainings, then waiting ones in order of work, then the newest of the others."""
        ended = f"CASE WHEN state IN {sql_list(UNFINISHED)} THEN 0 ELSE number END DESC"
        return self._jobs(f"ORDER BY state NOT IN {sql_list(UNFINISHED)}, {ended}, {IN_ORDER} LIMIT ?", limit)

    def unfinished(self) -> list[TrainingJob]:
        """Unfinished trainings, in order of work."""
        return self._jobs(f"WHERE state IN {sql_list(UNFINISHED)} ORDER BY {IN_ORDER}")

    def job(self, training_id: str) -> TrainingJob | None:
        found = self._jobs("WHERE id = ?", training_id)
        return found[0] if found else None

    def existing(self, training_id: str) -> TrainingJob:
        """Raises UserError if there is no such training."""
        job = self.job(training_id)
        if job is None:
            raise UserError(f"There is no training {training_id[:8]}; choose one from the list.")
        return job

    def points(self, training_id: str, limit: int = 400) -> list[Point]:
        """Its curves: every step, or about `limit` of them evenly spaced, and every validation loss."""
        with self._database.connection() as connection:
            counted = "SELECT max(step) FROM training_points WHERE training = ?"
            last = connection.execute(counted, (training_id,)).fetchone()[0] or 0
            rows = connection.execute(
                "SELECT step, loss, rate, validation FROM training_points "
                "WHERE training = ? AND (step % ? = 0 OR validation IS NOT NULL OR step = ?) ORDER BY step",
                (training_id, max(last // limit, 1), last),
            ).fetchall()
        return [Point(*row) for row in rows]

    @main_app_only
    def cancel(self, training_id: str) -> None:
        """Cancel a training that waits; ask one that runs to stop, which it does after its step. Its state is kept."""
        with self._database.transaction() as connection:
            waiting = (TrainingState.WAITING, TrainingState.PAUSED)
            if not update(connection, training_id, waiting, state=TrainingState.CANCELLED, finished_at=now()):
                update(connection, training_id, (TrainingState.TRAINING,), cancel_requested=1)

    @main_app_only
    def retry(self, training_id: str) -> None:
        """Queue a failed or cancelled training again: it goes on from its saved state, if it has one.

        Raises UserError.
        """
        job = self.existing(training_id)
        if job.request_error:
            raise UserError(job.request_error)
        fresh = {"state": TrainingState.WAITING, "error": None, "finished_at": None, "deaths": 0}
        with self._database.transaction() as connection:
            update(connection, training_id, RETRIABLE, cancel_requested=0, **fresh)

    @main_app_only
    def remove(self, training_id: str) -> None:
        """Forget a training that has ended, with its checkpoints, samples and saved state. Its LoRA stays.

        Raises UserError while it runs or waits, StorageError.
        """
        job = self.existing(training_id)
        if job.is_unfinished:
            raise UserError(f"The training '{job.name}' is {job.state}; cancel it first.")
        folder = self._settings.trainings / job.name
        try:
            if folder.exists():
                shutil.rmtree(folder)
        except OSError as error:
            raise storage_error(folder, error) from error
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM trainings WHERE id = ?", (training_id,))
            connection.execute("DELETE FROM training_points WHERE training = ?", (training_id,))

    @main_app_only
    def take(self, training_id: str, step: int) -> str:
        """Copy the LoRA of a checkpoint into the LoRA folder, unless it is there, and return its name.

        Raises UserError if there is no such checkpoint, StorageError.
        """
        job = self.existing(training_id)
        found = checkpoints(self._settings, job.name) if checkpoints_of(self._settings, job.name) else []
        one = next((one for one in found if one.step == step and not one.is_result), None)
        if one is None:
            raise UserError(f"The training '{job.name}' has no checkpoint of step {step} any more; look at the list.")
        put_into_library(self._settings, one)
        return one.name

    def fail_unfinished(self, error: str) -> None:
        """Fail every training that runs or waits: no process can be started for them."""
        for job in self.unfinished():
            with self._database.transaction() as connection:
                ended = {"state": TrainingState.FAILED, "finished_at": now(), "error": error}
                update(connection, job.id, UNFINISHED, **ended)

    def _jobs(self, clause: str, *values: object) -> list[TrainingJob]:
        with self._database.connection() as connection:
            return [read_job(row) for row in connection.execute(f"SELECT * FROM trainings {clause}", values)]  # noqa: S608


def as_typed(request: TrainingRequest) -> TrainingRequest:
    """A request as a person typed it, without needless spaces."""
    return replace(request, output=request.output.strip(), trigger=" ".join(request.trigger.split()))


def _check_prompts(prompts: Sequence[str], spec: ModelSpec) -> None:
    if prompts and spec.needs_image:
        raise UserError(f"{spec.title} makes no clips from prompts alone; leave the prompts of samples empty.")
    if len(prompts) > MAX_PROMPTS:
        raise UserError(
            f"There are {len(prompts)} prompts for samples; at most {MAX_PROMPTS} are taken: leave some out."
        )
    if too_long := next((prompt for prompt in prompts if len(prompt) > MAX_PROMPT_CHARACTERS), None):
        raise UserError(
            f"The prompt '{too_long[:40]}' of a sample has {len(too_long):,} characters; shorten it to "
            f"{MAX_PROMPT_CHARACTERS:,}."
        )
