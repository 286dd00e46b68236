"""Named endpoints for `gradio_client`: an app of Gradio's own that holds these three and no page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.data_classes import FileData
from gradio.routes import App

from wan_pipeline.access.guard import caller_of
from wan_pipeline.access.uploads import Uploads
from wan_pipeline.caller_studio import CallerStudio
from wan_pipeline.errors import UserError
from wan_pipeline.jobs.job import JobState
from wan_pipeline.requests.request import Draft
from wan_pipeline.studio import Studio


class Endpoints:
    """The functions behind the endpoints. Each asks the table of roles for whom it works."""

    def __init__(self, studio: Studio, uploads: Uploads) -> None:
        self._studio = studio
        self._uploads = uploads

    def text_to_video(  # noqa: PLR0913 (the arguments of a public endpoint)
        self,
        prompt: str,
        request: gr.Request,
        model: str = "",
        preset: str = "",
        width: int = 0,
        height: int = 0,
        num_frames: int = 0,
        num_inference_steps: int = 0,
        seed: int = -1,
    ) -> str:
        """Queue a clip and answer at once with its id. What is 0, -1 or empty comes from the preset, then the model."""
        draft = _draft(prompt, model, preset, (width, height, num_frames, num_inference_steps, seed))
        return self._generate(draft, None, request)

    def image_to_video(  # noqa: PLR0913
        self,
        image: FileData,
        prompt: str,
        request: gr.Request,
        model: str = "",
        preset: str = "",
        width: int = 0,
        height: int = 0,
        num_frames: int = 0,
        num_inference_steps: int = 0,
        seed: int = -1,
    ) -> str:
        """As text_to_video, from a picture: the first frame."""
        draft = _draft(prompt, model, preset, (width, height, num_frames, num_inference_steps, seed))
        return self._generate(draft, image, request)

    def status(self, id: str, request: gr.Request) -> dict[str, Any]:
        """Tell the state of a clip, its step, its error, and where its MP4 is once it is done."""
        try:
            job = self._for(request).job(id)
        except UserError as error:
            raise gr.Error(str(error), print_exception=False) from error
        url = f"/v1/videos/{job.id}/content" if job.state is JobState.DONE else None
        return {"status": job.state.value, "step": job.step, "total": job.total, "error": job.error, "url": url}

    def _generate(self, draft: Draft, image: Any, request: gr.Request) -> str:
        try:
            studio = self._for(request)
            if image is not None:
                draft = replace(draft, image=self._uploads.checked(Path(_path(image)), studio.key_id))
            return studio.generate(draft).id
        except UserError as error:
            raise gr.Error(str(error), print_exception=False) from error

    def _for(self, request: gr.Request) -> CallerStudio:
        return CallerStudio(self._studio, caller_of(request.request.scope))


def endpoints_app(studio: Studio, uploads: Uploads) -> App:
    """The ASGI app of the endpoints, to stand behind the guard."""
    endpoints = Endpoints(studio, uploads)
    with gr.Blocks(title="Wan Studio", analytics_enabled=False) as blocks:
        for function in (endpoints.text_to_video, endpoints.image_to_video, endpoints.status):
            gr.api(function, api_name=function.__name__, queue=False)
    app: App = App.create_app(blocks)
    return app


def _draft(prompt: str, model: str, preset: str, numbers: tuple[int, int, int, int, int]) -> Draft:
    width, height, num_frames, steps, seed = numbers
    return Draft(
        prompt,
        model=model or None,
        preset=preset or None,
        width=width or None,
        height=height or None,
        num_frames=num_frames or None,
        num_inference_steps=steps or None,
        seed=None if seed == -1 else seed,
    )


def _path(image: Any) -> str:
    return str(image["path"] if isinstance(image, dict) else image.path)
