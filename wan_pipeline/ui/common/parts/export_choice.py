"""What export.js sends with a button that exports a clip."""

from __future__ import annotations

from wan_pipeline.clips.export.formats import Format, find_format
from wan_pipeline.errors import UserError
from wan_pipeline.jobs.background.exports import ExportChoice
from wan_pipeline.storage.outside import OutsideDataError, parse, parse_json


def chosen_export(text: str) -> tuple[Format, ExportChoice]:
    """The format and what was chosen beside it, from JSON, or from the format's name alone. Raises UserError."""
    if not text.startswith("{"):
        return find_format(text), ExportChoice()
    try:
        chosen = parse(dict[str, str | int], parse_json(text))
        form = find_format(str(chosen.pop("format", "")))
        return form, parse(ExportChoice, chosen)
    except OutsideDataError as error:
        raise UserError(f"The export cannot be read: {error}; correct it.") from error
