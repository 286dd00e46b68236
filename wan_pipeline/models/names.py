"""Names of models: the ids of this studio, and repositories of the Hugging Face Hub."""

from __future__ import annotations

import re

from wan_pipeline.errors import ModelError

MODEL_ID = r"^[a-z0-9][a-z0-9._-]{0,63}$"
"""Safe as a file name."""
REPOSITORY = r"^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$"


def id_of(name: str) -> str:
    """A valid id made of the last part of a folder's or repository's name."""
    return re.sub("[^a-z0-9.]+", "-", name.rpartition("/")[2].lower()).strip("-.")[:64] or "model"


def check_id(model_id: str) -> None:
    """Raise ModelError unless `model_id` is valid."""
    if not re.fullmatch(MODEL_ID, model_id):
        raise ModelError(
            f"'{model_id[:80]}' cannot be a model's id; use up to 64 small letters, digits, dots and hyphens."
        )


def check_repository(name: str) -> None:
    """Raise ModelError unless `name` is owner/name."""
    if not re.fullmatch(REPOSITORY, name) or ".." in name:
        raise ModelError(f"'{name[:80]}' is not the name of a repository; write it as owner/name.")


def is_text(name: str) -> bool:
    """Whether a name can be stored and shown; on Linux a file name may be any bytes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
