"""The table of step caches: what each saves, and what it changes of adherence."""

from __future__ import annotations

from benchmarks.demo.caches import BASELINE, SETTINGS, request_of, summary, table
from benchmarks.demo.quality import draw_tasks
from benchmarks.demo.report import ATTRIBUTES


def row(setting: str, passes: int, right: int, psnr: float) -> dict[str, object]:
    asked = dict.fromkeys(ATTRIBUTES, "x")
    seen = {name: "x" if number < right else "y" for number, name in enumerate(ATTRIBUTES)}
    return {"setting": setting, "passes": passes, "psnr_db": psnr, "asked": asked, "seen": seen}


def test_a_setting_is_compared_with_nothing_skipped():
    rows = [row(BASELINE, 80, 4, 99.0), row("seacache 0.5", 40, 3, 30.0), row("seacache 0.5", 40, 4, 32.0)]
    whole, cached = summary(rows, {BASELINE: 3.0, "seacache 0.5": 2.0})
    assert (whole["fewer_passes"], whole["adherence_change"]) == (1.0, 0.0) and "psnr_db" not in whole
    assert (cached["fewer_passes"], cached["faster"], cached["psnr_db"]) == (2.0, 1.5, 31.0)
    assert cached["adherence_change"] == -0.125 and "| seacache 0.5 | 2 | 40.0 | 2.00x | 1.50x |" in table([cached])


def test_every_setting_can_be_made():
    task = draw_tasks(1, 0)[0]
    names = [setting.name for setting in SETTINGS if request_of(task, setting, 40)]
    assert names[0] == BASELINE and len(set(names)) == len(names)
