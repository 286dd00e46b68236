"""What the form of a mode offers: the models, presets and speeds of the studio."""

from __future__ import annotations

from functools import partial

from wan_pipeline.models import registry
from wan_pipeline.models.spec import Mode, ModelSpec
from wan_pipeline.studio import Studio
from wan_pipeline.ui.create import examples
from wan_pipeline.ui.create.fields.field import Choices


def choices_of(studio: Studio, mode: Mode) -> Choices:
    """What is there now, and an example to start with."""
    picture = examples.PICTURES[0] if mode is Mode.IMAGE_TO_VIDEO else None
    return Choices(
        mode=mode,
        models=offered_models(studio, mode),
        presets=studio.presets,
        prompt=picture.prompt if picture else next(iter(examples.PROMPTS.values())),
        spec_of=lambda model_id: studio.models.spec(model_id or registry.DEFAULT_MODEL),
        offered_models=partial(offered_models, studio, mode),
        image=picture.path if picture else None,
        speeds=studio.speeds,
    )


def offered_models(studio: Studio, mode: Mode) -> tuple[ModelSpec, ...]:
    """The installed models of this mode. If there are none, the first known one: submitting then says what to do."""
    installed = tuple(model.spec for model in studio.models.installed() if mode in model.spec.modes)
    return installed or tuple(spec for spec in studio.models.specs().values() if mode in spec.modes)[:1]
