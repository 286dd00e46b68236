"""Requests from the database, perhaps of another version: always shown, run only if understood completely."""

from __future__ import annotations

from functools import lru_cache

from wan_pipeline.errors import RequestError
from wan_pipeline.models.spec import Mode
from wan_pipeline.requests.request import GenerationRequest
from wan_pipeline.requests.sampling.scheduler import SchedulerName
from wan_pipeline.storage.outside import OutsideDataError, parse, parse_json

UNREADABLE = GenerationRequest(
    model="unknown",
    mode=Mode.TEXT_TO_VIDEO,
    prompt="(its settings cannot be read)",
    styled_prompt="",
    negative_prompt="",
    seed=0,
    width=16,
    height=16,
    num_frames=1,
    fps=1,
    num_inference_steps=1,
    guidance_scale=1.0,
    flow_shift=1.0,
    scheduler=SchedulerName.UNIPC,
)
"""Stands for a request of which nothing can be read."""


@lru_cache(maxsize=8192)  # more than a page's poll, once a second, can hold: a list has 5000 rows at most
def read_request(text: str) -> tuple[GenerationRequest, str | None]:
    """The request, and None or why it cannot be run: then the request holds only what could be read, to be shown."""
    try:
        return GenerationRequest.from_json(text), None
    except RequestError as error:
        reason = f"This clip cannot be made here: {error} Open it with the version that stored it, or queue it again."
        return _readable_part(text), reason


def _readable_part(text: str) -> GenerationRequest:
    """UNREADABLE with every setting of the stored request that is good by itself."""
    try:
        stored = parse_json(text)
    except OutsideDataError:
        return UNREADABLE
    names = UNREADABLE.to_dict().keys()
    settings = {name: stored[name] for name in names if name in stored} if isinstance(stored, dict) else {}
    while True:
        try:
            return parse(GenerationRequest, UNREADABLE.to_dict() | settings)
        except OutsideDataError as error:
            del settings[str(error.path[0])]  # one bad setting a round
