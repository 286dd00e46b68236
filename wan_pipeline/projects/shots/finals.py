"""Finals: a picked draft made again by its project's final profile, with the same seed, prompt, LoRAs and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from wan_pipeline.clips.gallery import Clip, Gallery
from wan_pipeline.errors import ProjectError, UserError
from wan_pipeline.jobs.job import NewJob
from wan_pipeline.projects.clips import JobOptions, ProjectClips
from wan_pipeline.projects.project import Project
from wan_pipeline.projects.shots.shot import Shot
from wan_pipeline.projects.shots.store import Shots
from wan_pipeline.projects.shots.takes import Prepared
from wan_pipeline.projects.store import Projects
from wan_pipeline.requests.layers import LAYERED, Layer, with_none_read
from wan_pipeline.requests.request import Draft, GenerationRequest, LoraChoice
from wan_pipeline.requests.resolver import RequestResolver
from wan_pipeline.requests.sampling.noise_size import LAYOUT_LEVEL, NoiseSize, why_no_steps

FINAL = "final"
OWN_LAYERS = (Layer.FORM, Layer.SHOT)
"""Layers chosen for the clip itself. What the draft profile, the project or a style gave is looked up again."""


class Finals:
    """Prepares finals; `Takes.queue` queues them."""

    def __init__(
        self, shots: Shots, projects: Projects, clips: ProjectClips, requests: RequestResolver, gallery: Gallery
    ) -> None:
        self._shots, self._projects, self._clips = shots, projects, clips
        self._requests, self._gallery = requests, gallery

    def picked(self, project: str) -> list[Clip]:
        """The picked takes of a project that have no final yet, in the order of the shots."""
        shots = self._shots.all(project)
        ids = [shot.picked_take.id for shot in shots if shot.picked_take and not _has_final(shot)]
        return [clip for clip in self._gallery.existing(ids) if not clip.is_binned]

    def of(self, clips: Sequence[Clip], *, keep_layout: bool = False) -> Prepared:
        """The finals of these clips, each by the profile of its project. Raises UserError if one of them cannot be.

        `keep_layout`: a final of another size makes its first steps at its draft's size, where that can be.
        """
        batch = self._requests.batch()
        made = tuple(self._final(clip, batch, keep_layout) for clip in clips)
        pairs = zip(clips, made, strict=True) if keep_layout else ()
        notes = filter(None, (layout_note(clip.request, job.request) for clip, (_, job) in pairs))
        return Prepared(made, batch, tuple(dict.fromkeys(notes)))

    def _final(self, clip: Clip, batch: RequestResolver, keep_layout: bool) -> tuple[Draft, NewJob]:
        if clip.request_error:
            raise UserError(clip.request_error)
        project = self._project(clip)
        draft = self.draft_of(clip.request, project)
        check = batch.within(project.layers(FINAL)).check
        request = check(draft)
        if keep_layout and can_keep_layout(clip.request, request):
            draft = replace(draft, noise_size=layout_of(clip.request, request))
            request = check(draft)
        shot = self._shots.of_take(clip.id)
        return draft, self._clips.job(request, clip.project, JobOptions(shot=shot, final_of=clip.id, profile=FINAL))

    def draft_of(self, request: GenerationRequest, project: Project) -> Draft:
        """What of a clip its final keeps: all that was chosen for it, but for what the profile says."""
        full, origins = self._requests.draft_of(request), request.layers
        changed = project.final.given
        left: dict[str, Any] = dict.fromkeys((*changed, "early_end"))  # which is for drafts alone
        if origins:
            left |= {name: None for name in (*LAYERED, "model") if origins.get(name) not in OWN_LAYERS}
        own = replace(full, **{name: value for name, value in left.items() if name != "speed"})
        loras = self._without_speeds(request) if "speed" in origins or "speed" in changed else request.loras
        words: dict[str, Any] = {"prompt_before": request.prompt_before, "prompt_after": request.prompt_after}
        preset = full.preset or ""
        if not full.preset and request.preset:  # its file has changed: the words of then are in the draft
            words = {"prompt_before": full.prompt_before or "", "prompt_after": full.prompt_after or ""}
        return with_none_read(replace(own, loras=loras, speed=project.final.speed or "", preset=preset, **words))

    def _without_speeds(self, request: GenerationRequest) -> tuple[LoraChoice, ...]:
        """The clip's LoRAs but for that of the speed, which the final may be made without."""
        speeds = {speed.lora.casefold() for speed in self._requests.speeds.values()}
        return tuple(lora for lora in request.loras if lora.name.casefold() not in speeds)

    def _project(self, clip: Clip) -> Project:
        project = self._projects.existing(clip.project)
        if project.final.is_empty:
            raise ProjectError(
                f"The project '{project.title[:80]}' has no final profile; give it one, as in: "
                f'projects edit "{project.id}" --final steps=30.'
            )
        return project


def can_keep_layout(draft: GenerationRequest, final: GenerationRequest) -> bool:
    """Whether a final of another size could keep its draft's layout."""
    return not layout_note(draft, final) and _size(draft) != _size(final)


def layout_of(draft: GenerationRequest, final: GenerationRequest) -> str:
    """The `noise_size` of a final that keeps its draft's layout: with first steps, or where it has none the noise."""
    begin = NoiseSize.read(_size(draft))
    if begin is None:
        return ""
    return str(replace(begin, level=None if why_no_steps(final) else LAYOUT_LEVEL))


def layout_note(draft: GenerationRequest, final: GenerationRequest) -> str:
    """Why a final cannot keep its draft's layout; empty where it can."""
    fixed = {  # what beside the size gives the noise its shape
        "model": draft.model == final.model,
        "number of frames": draft.num_frames == final.num_frames,
        "number of reference images": len(draft.reference_images) == len(final.reference_images),
    }
    other = " and another ".join(name for name, is_same in fixed.items() if not is_same)
    return f"The draft's layout is not kept: the final has another {other}." if other else ""


def composition_note(draft: GenerationRequest, final: GenerationRequest) -> str:
    """Why a final may be composed otherwise than its draft; empty where both begin with the same noise."""
    if draft.model != final.model:
        return f"The final is of another model ({final.model}), so it is composed differently from its draft."
    sizes = f"The final is {final.width} x {final.height} and its draft {draft.width} x {draft.height}"
    if (begin := final.begin_size) and begin.size == _size(draft) and draft.num_frames == final.num_frames:
        shared = (
            "begins with the draft's noise at its own size" if begin.level is None else "begins at the draft's size"
        )
        return f"{sizes}: it {shared}, so its layout is nearer to the draft's."
    if _size(draft) != _size(final):
        return f"{sizes}: at another size the same seed gives other noise, so the composition may differ."
    if draft.num_frames != final.num_frames:
        frames = f"The final has {final.num_frames} frames and its draft {draft.num_frames}"
        return f"{frames}: at another length the same seed gives other noise, so the composition may differ."
    return ""


def _size(request: GenerationRequest) -> str:
    """The size that its noise is drawn at."""
    return request.begin_size.size if request.begin_size else f"{request.width}x{request.height}"


def _has_final(shot: Shot) -> bool:
    """Whether a final of the picked take is made, or will be. One that is a final itself needs none."""
    is_final = bool(shot.picked_take and shot.picked_take.final_of)
    return is_final or any(take.final_of == shot.picked and not take.has_failed for take in shot.takes)
