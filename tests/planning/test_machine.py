"""Memory sizes as people write them."""

from __future__ import annotations

import pytest

from wan_pipeline.errors import UserError
from wan_pipeline.planning.machine import parse_gib


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
def test_a_memory_size_is_read_as_gib(text: str, gib: float) -> None:
    assert parse_gib(text) == pytest.approx(gib)


@pytest.mark.parametrize(
    "text", ["", "x", "-1", "8TB", "8 GB 2", "nan", "inf", "1e3", "8,5GB", "9" * 5000, "٨GB", "GB"]
)
def test_what_is_no_memory_size_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(UserError, match=r"is no size of memory; use one such as 8GB, 7\.2GiB or 7\.2") as caught:
        parse_gib(text)
    assert len(str(caught.value)) < 200
