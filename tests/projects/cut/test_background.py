"""Exports of cuts that the page asks for, in this process."""

from __future__ import annotations

import pytest

from tests.projects.cut.test_cuts import made
from wan_pipeline.jobs.background.exports import ExportState
from wan_pipeline.projects.cut.background import CutChoice, CutExports, export_cut
from wan_pipeline.projects.cut.orders import CutFormat
from wan_pipeline.storage.locks import WorkspaceLocks
from wan_pipeline.studio import Studio


@pytest.mark.timeout(60)
def test_what_decodes_no_latents_does_not_wait_for_the_device(studio: Studio) -> None:
    name, settings = made(studio, "busy", "one"), studio.settings
    with WorkspaceLocks(settings.workspace).device():
        for form in (CutFormat.MP4, CutFormat.EDL):
            end = export_cut(settings, CutChoice("Film", name, form))
            assert end.state is ExportState.DONE, end.error
            assert end.file == str(settings.exports / "Film" / f"Film_busy{form.ending}")
    failed = export_cut(settings, CutChoice("Film", "none"))
    assert failed.state is ExportState.FAILED and "There is no cut 'none'" in str(failed.error)


def test_cuts_of_two_projects_do_not_share_their_exports(studio: Studio) -> None:
    studio.projects.ensure("a_b")
    studio.cuts.new("a_b", "c")
    export_cut(studio.settings, CutChoice("a_b", "c"))
    exports = CutExports(studio.settings)
    assert exports.of("a_b", "c") is not None and exports.of("a", "b_c") is None
