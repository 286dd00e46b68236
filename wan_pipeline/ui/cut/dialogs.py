"""What opens over the Cut room: another cut, versions, export; and how an export stands."""

from __future__ import annotations

from pathlib import Path

from wan_pipeline.errors import ProjectError, UserError
from wan_pipeline.projects.cut.background import CutChoice
from wan_pipeline.storage.outside import OutsideDataError, parse, parse_json
from wan_pipeline.studio import Studio
from wan_pipeline.ui.common.events import Click
from wan_pipeline.ui.common.names import STAGES
from wan_pipeline.ui.common.templates import Templates
from wan_pipeline.ui.cut import html
from wan_pipeline.ui.cut.layout import Selection


def typed_name(click: Click) -> str:
    """The name in a dialog's box. Raises UserError."""
    try:
        return parse(dict[str, str], parse_json(click.text)).get("name", "").strip()
    except OutsideDataError as error:
        raise UserError(f"The name cannot be read ({error}); open the dialog again.") from error


class Dialogs:
    """Each method raises UserError."""

    def __init__(self, studio: Studio, templates: Templates) -> None:
        self._studio, self._templates = studio, templates

    def open(self, click: Click, selection: Selection) -> str | None:
        """The dialog that a button opens, or nothing where it closes one; None if it does something else."""
        match click.act:
            case "close":
                return ""
            case "ask-new":
                return html.new(self._templates)
            case "ask-versions":
                return self._versions(selection)
            case "save-version":
                self._studio.cuts.save_version(selection.project, selection.cut, typed_name(click))
                return self._versions(selection)
            case "ask-export":
                return html.export(self._templates, selection.cut)
            case _:
                return None

    def _versions(self, selection: Selection) -> str:
        try:
            found = self._studio.cuts.versions(selection.project, selection.cut)
        except ProjectError:  # a project is made with its first clip or cut
            found = []
        return html.versions(self._templates, selection.cut, found)

    def start_export(self, click: Click, selection: Selection) -> str:
        """Begin to write the cut as the dialog says; the text of the click is what was chosen, as JSON."""
        try:
            chosen = parse(dict[str, str | int], parse_json(click.text))
            own = {"project": selection.project, "cut": selection.cut}
            choice = parse(CutChoice, {**chosen, **own})
        except OutsideDataError as error:
            raise UserError(f"The export cannot be read: {error}; correct it.") from error
        self._studio.cut_exports.start(choice)
        return ""

    def export_report(self, selection: Selection) -> str:
        """How exporting the cut stands, and where its file is."""
        export = self._studio.cut_exports.of(selection.project, selection.cut)
        if export is None or (export.is_over and not selection.is_exporting):
            return ""
        return self._templates.render(
            "common/parts/export.html",
            state=export.state,
            title=f"{selection.cut}, {export.format}",
            what="this cut",
            stage=STAGES[export.stage].lower(),
            step=export.step,
            total=export.total,
            error=export.error,
            file=Path(export.file) if export.file else None,
            warnings=export.warnings,
        )
