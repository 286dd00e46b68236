"""The pictures and videos that drafts name: looked at before anything is saved, then saved and named in the request."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from wan_pipeline.errors import ImageError
from wan_pipeline.requests.inputs.pictures import Pictures
from wan_pipeline.requests.request import Draft, GenerationRequest


class DraftFiles:
    """Files of drafts, by what looks at them and saves them."""

    def __init__(self, pictures: Pictures) -> None:
        self._pictures = pictures

    def find(self, name: str | None) -> Path | None:
        """The saved file of a name, or where it would be; None without a name, or for one that is none."""
        return None if name is None else self._pictures.find(name)

    def is_saved(self, name: str) -> bool:
        path = self._pictures.find(name)
        return path is not None and path.is_file()

    def check(self, field: str, path: Path) -> None:
        """Open a file that a person has just chosen for a field. Raises ImageError if it is of no use there."""
        if field == "control_video" or (field == "control_mask" and not self._is_picture(path)):
            self._pictures.check_video(path, field.replace("_", " "))
        else:
            self._pictures.check_still(path)

    def check_pictures(self, draft: Draft) -> None:
        """Raise ImageError for a picture, beside the one that the clip starts from, that is of no use."""
        if draft.last_image:
            self.measure("last_image", draft.last_image)
        for picture in draft.reference_images:
            self.measure("reference_images", picture)

    def check_lengths(self, draft: Draft, request: GenerationRequest) -> None:
        """Raise ImageError for a control video or mask that is too short."""
        video, mask = draft.control_video, draft.control_mask
        if video is not None:
            self._check_length("control_video", video, request)
        if mask is not None and not self._is_picture(mask):
            self._check_length("control_mask", mask, request)

    def measure(self, field: str, picture: Path) -> tuple[int, int]:
        """Width and height. Raises ImageError that names the field."""
        try:
            return self._pictures.measure(picture)
        except ImageError as error:
            raise error.at(field) from error

    def saved(self, request: GenerationRequest, draft: Draft) -> GenerationRequest:
        """Save the draft's files and name them in the request. Raises ImageError or StorageError.

        Pictures of characters that its prompt names are saved already, and named in the request.
        """
        video, pictures = draft.control_video, self._pictures
        named = request.reference_images[len(draft.reference_images) :]
        return replace(
            request,
            image=self._save_picture(draft.image) or request.image,
            last_image=self._save_picture(draft.last_image),
            control_video=None if video is None else pictures.save_video(video, request.fps),
            control_mask=self._save_mask(draft.control_mask, request.fps),
            reference_images=(*map(pictures.save_picture, draft.reference_images), *named),
        )

    def _check_length(self, field: str, video: Path, request: GenerationRequest) -> None:
        try:
            self._pictures.check_length(video, field.replace("_", " "), request.fps, request.num_frames)
        except ImageError as error:
            raise error.at(field) from error

    def _save_picture(self, path: Path | None) -> str | None:
        return None if path is None else self._pictures.save_picture(path)

    def _save_mask(self, path: Path | None, fps: int) -> str | None:
        if path is None or self._is_picture(path):
            return self._save_picture(path)
        return self._pictures.save_video(path, fps)

    def _is_picture(self, path: Path) -> bool:
        try:
            self._pictures.measure(path)
        except ImageError:
            return False
        return True
