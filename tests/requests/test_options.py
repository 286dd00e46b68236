"""What people write for memory and plans, read or refused in one sentence."""

from __future__ import annotations

import pytest

from wan_pipeline.errors import UserError
from wan_pipeline.planning.memory_plan import Residency
from wan_pipeline.requests.options import memory, plan


@pytest.mark.parametrize(
    ("text", "gib"),
    [
        ("8GB", 8e9 / 2**30),
        ("8 gb", 8e9 / 2**30),
        ("7.2GiB", 7.2),
        ("7.2", 7.2),
        (" 12 ", 12.0),
        ("6000MB", 6e9 / 2**30),
        ("512mib", 0.5),
        ("0", 0.0),
    ],
)
def test_sizes_of_memory(text: str, gib: float) -> None:
    assert memory(text) == pytest.approx(gib)


@pytest.mark.parametrize(
    "text", ["", "x", "-1", "8TB", "8 GB 2", "nan", "inf", "1e3", "8,5GB", "9" * 5000, "٨GB", "GB"]
)
def test_what_is_no_size_is_one_sentence(text: str) -> None:
    with pytest.raises(UserError, match=r"is no size of memory; use one such as 8GB, 7\.2GiB or 7\.2") as caught:
        memory(text)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("text", ["", *Residency, "streamed,int8,blocks=3,chunk=10920,text=streamed"])
def test_plans(text: str) -> None:
    assert plan(text) == text


@pytest.mark.parametrize("text", [" ", "tiled", "resident,", "streamed,int8,blocks=few", "x" * 5000])
def test_what_is_no_plan_is_one_sentence(text: str) -> None:
    with pytest.raises(UserError, match="is not a memory plan; use resident, offload, streamed, or the whole text"):
        plan(text)
