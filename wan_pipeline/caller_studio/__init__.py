"""The studio as one caller may use it."""

from wan_pipeline.caller_studio.caller_studio import CallerStudio, NotFound, Wait

__all__ = ["CallerStudio", "NotFound", "Wait"]
