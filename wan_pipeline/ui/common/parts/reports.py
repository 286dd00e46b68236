"""What came of a clip that is verified or exported, as every room shows it."""

from __future__ import annotations

from pathlib import Path

from wan_pipeline.clips.export.formats import FORMATS
from wan_pipeline.jobs.background.exports import PageExport
from wan_pipeline.jobs.background.verifications import Verification
from wan_pipeline.ui.common.names import STAGES
from wan_pipeline.ui.common.templates import Templates


def verification_report(templates: Templates, verification: Verification | None) -> str:
    """How verifying the clip stands, or what came of it; empty if it was never verified."""
    if verification is None:
        return ""
    verdict = verification.verdict
    return templates.render(
        "common/parts/verification.html",
        state=verification.state,
        stage=STAGES[verification.stage].lower(),
        step=verification.step,
        total=verification.total,
        text=verification.error or (verdict.sentence if verdict else ""),
        identical=verdict is not None and verdict.identical,
    )


def export_report(templates: Templates, export: PageExport | None) -> str:
    """How exporting the clip stands, and where its file is; empty if it was never exported."""
    if export is None:
        return ""
    return templates.render(
        "common/parts/export.html",
        state=export.state,
        what="this clip",
        title=FORMATS[export.format].title if export.format in FORMATS else export.format,
        stage=STAGES[export.stage].lower(),
        step=export.step,
        total=export.total,
        error=export.error,
        file=Path(export.file) if export.file else None,
        warnings=export.warnings,
    )
