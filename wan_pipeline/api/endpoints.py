"""Named endpoints for `gradio_client`: /text_to_video, /image_to_video and /status.

They are in the owner's page, and for guests in an app of Gradio's own that holds them and no page. Gradio documents
them by their names, types and docstrings, which is why this module's annotations are not postponed.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypedDict

import gradio as gr
from gradio.data_classes import FileData
from gradio.routes import App
from gradio.utils import get_upload_folder

from wan_pipeline.access.guard import caller_of
from wan_pipeline.api.drafts import REFERENCE, draft_of
from wan_pipeline.api.lists import one_video
from wan_pipeline.api.responses import address_of, id_of, sentence_of, video_of_job
from wan_pipeline.api.routes.endpoints import NAMES
from wan_pipeline.caller_studio import CallerStudio
from wan_pipeline.errors import RequestError, StudioError
from wan_pipeline.studio import Studio

CONCURRENT = 4
MAX_QUEUE = 64
"""Calls of guests that may wait; each takes milliseconds."""
MAX_SESSIONS = 64
FindUpload = Callable[[str, str], Path]
"""From the path in a request and the id of the caller's key to an uploaded file. Raises UserError for any other."""


class Status(TypedDict):
    """What /status answers."""

    status: str
    progress: int
    url: str | None
    error: str | None


class Endpoints:
    """The functions behind the endpoints. Each asks the table of roles for whom it works."""

    def __init__(self, studio: Studio, find_upload: FindUpload) -> None:
        self._studio = studio
        self._find_upload = find_upload

    def add(self) -> None:
        """Add them to the `gr.Blocks` that is being drawn."""
        for name in NAMES:
            gr.api(getattr(self, name), api_name=name, concurrency_limit=CONCURRENT)

    def text_to_video(  # noqa: PLR0913 (the arguments that a program may give)
        self,
        prompt: str,
        request: gr.Request,
        model: str = "",
        preset: str = "",
        size: str = "",
        seconds: float | None = None,
        num_frames: int | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        negative_prompt: str = "",
        seed: int | None = None,
    ) -> str:
        """Queue a clip and answer at once with its id. What is left out comes from the preset, then from the model. \
The size is such as "832x480", one of the model's; give either the seconds or num_frames, of the form 4k + 1."""
        values = {"prompt": prompt, "model": model, "preset": preset, "size": size, "seconds": seconds, "steps": steps}
        values |= {"num_frames": num_frames, "guidance": guidance, "negative_prompt": negative_prompt, "seed": seed}
        return self._generate(values, request)

    def image_to_video(  # noqa: PLR0913
        self,
        image: FileData,
        prompt: str,
        request: gr.Request,
        model: str = "",
        preset: str = "",
        size: str = "",
        seconds: float | None = None,
        num_frames: int | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        negative_prompt: str = "",
        seed: int | None = None,
    ) -> str:
        """Queue a clip that begins with the image and answer at once with its id. The rest is as for text_to_video."""
        values = {"prompt": prompt, "model": model, "preset": preset, "size": size, "seconds": seconds, "steps": steps}
        values |= {"num_frames": num_frames, "guidance": guidance, "negative_prompt": negative_prompt, "seed": seed}
        return self._generate(values, request, image)

    def status(self, id: str, request: gr.Request) -> Status:
        """Get a clip's status (queued, in_progress, completed, failed), its progress in percent, what went wrong, \
and the url of its MP4 once it is completed, to be fetched with the same authorization."""
        with _reporting_errors():
            video = one_video(self._for(request), id_of(str(id)))
        is_done, address = video["status"] == "completed", address_of(request.request)
        return {
            "status": video["status"],
            "progress": video["progress"],
            "url": f"{address}/v1/videos/{video['id']}/content" if is_done else None,
            "error": video["error"]["message"] if video["error"] else None,
        }

    def _generate(self, values: dict[str, Any], request: gr.Request, image: Any = None) -> str:
        with _reporting_errors():
            studio = self._for(request)
            files = {} if image is None else {REFERENCE: [self._find_upload(_path(image), studio.key_id)]}
            job = studio.generate(draft_of(values, files, studio.frames_of))
            return str(video_of_job(job)["id"])

    def _for(self, request: gr.Request) -> CallerStudio:
        return CallerStudio(self._studio, caller_of(request.request.scope))


def owners_upload(path: str, _: str) -> Path:
    """The owner's page keeps uploads in Gradio's folder. Raises RequestError for a file elsewhere."""
    folder = Path(get_upload_folder()).resolve()
    file = Path(path).resolve()
    if not file.is_relative_to(folder) or not file.is_file():
        raise RequestError("image", f"'{path[:200]}' is no file that was uploaded; send it with handle_file.")
    return file


def endpoints_app(studio: Studio, find_upload: FindUpload) -> App:
    """The endpoints and no page, as an ASGI app to stand behind the guard."""
    with gr.Blocks(title="Wan Studio", analytics_enabled=False) as blocks:
        Endpoints(studio, find_upload).add()
    blocks.queue(max_size=MAX_QUEUE, api_open=False)
    blocks.state_session_capacity = MAX_SESSIONS
    blocks.show_error = False  # only our own sentences are shown: others may reveal details of this machine
    app: App = App.create_app(blocks, mcp_server=False)
    return app


@contextmanager
def _reporting_errors() -> Iterator[None]:
    """Errors as sentences for the program that asks."""
    try:
        yield
    except StudioError as error:
        raise gr.Error(sentence_of(error), print_exception=False) from error


def _path(image: Any) -> str:
    path = image.get("path") if isinstance(image, dict) else None
    if not isinstance(path, str) or not path:
        raise RequestError("image", f"The image is a {type(image).__name__}; send a file with handle_file.")
    return path
