"""What came of a clip that is verified, as every room shows it."""

from __future__ import annotations

from wan_pipeline.jobs.background.verifications import Verification
from wan_pipeline.ui.common.names import STAGES
from wan_pipeline.ui.common.templates import Templates


def verification_report(templates: Templates, verification: Verification | None) -> str:
    """How verifying the clip stands, or what came of it; empty if it was never verified."""
    if verification is None:
        return ""
    verdict = verification.verdict
    return templates.render(
        "common/verification.html",
        state=verification.state,
        stage=STAGES[verification.stage].lower(),
        step=verification.step,
        total=verification.total,
        text=verification.error or (verdict.sentence if verdict else ""),
        identical=verdict is not None and verdict.identical,
    )
