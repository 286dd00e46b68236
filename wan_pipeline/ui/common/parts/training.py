"""A training that runs or waits, as the rooms Queue and Train show it."""

from __future__ import annotations

from collections.abc import Sequence

from wan_pipeline.jobs.training.job import TrainingJob, TrainingState
from wan_pipeline.ui.common.names import Names
from wan_pipeline.ui.common.templates import Templates
from wan_pipeline.wording import plural, upper_first

STATE_WORDS = {
    TrainingState.WAITING: "Waiting until the queue is idle",
    TrainingState.PAUSED: "Paused for the queue",
    TrainingState.TRAINING: "Starting",
}


def training_now(templates: Templates, names: Names, jobs: Sequence[TrainingJob]) -> str:
    """The first of the unfinished trainings, in order of work; empty without one."""
    if not jobs:
        return ""
    job = jobs[0]
    return templates.render(
        "common/parts/training_now.html",
        job=job,
        facts=facts_line(names, job, len(jobs) - 1),
        stage=stage_words(job),
        is_running=job.state is TrainingState.TRAINING,
    )


def training_actions(templates: Templates, jobs: Sequence[TrainingJob]) -> str:
    """Its button. Apart from what changes every second: a button that is replaced while it is pressed does nothing."""
    return templates.render("common/parts/training_actions.html", job=jobs[0]) if jobs else ""


def facts_line(names: Names, job: TrainingJob, behind: int = 0) -> str:
    """Its main settings in one line."""
    request = job.request
    facts = (
        names.model(request.model),
        request.recipe,
        request.dataset.name,
        f"{request.steps} steps" if request.steps else "",
        f"seed {request.seed}",
        f"trigger {request.trigger}" if request.trigger else "",
        f"{plural(behind, 'training')} behind it" if behind else "",
    )
    return " · ".join(fact for fact in facts if fact)


def stage_words(job: TrainingJob) -> str:
    """What it does now, or waits for."""
    if job.cancel_requested and job.is_unfinished:
        return "Stopping after this step"
    if job.state is TrainingState.TRAINING and job.stage:
        return upper_first(job.stage)
    return STATE_WORDS.get(job.state, upper_first(job.state))
