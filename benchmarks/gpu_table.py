"""The table of `benchmarks/gpu.py`: what must be, what was measured, and the floor."""

from __future__ import annotations

import json
from typing import Any

ROWS = (
    ("14B int8, 832x480x81, streamed / resident pass", "streaming_14b", "ratio", "1.03", "1.00"),
    ("the same, peak reserved, GiB", "streaming_14b", "streamed_peak_gib", "5.5", "4.5"),
    ("the same, a part of the tokens at a time, GiB", "streaming_14b", "chunked_peak_gib", "5.5", "4.5"),
    ("14B int8, 1280x720x81, whole clip, GiB", "clip_14b_720p", "peak_gib", "7.2", "6.0"),
    ("14B int8, 1920x1088x81, whole clip, GiB", "clip_14b_1088p", "peak_gib", "10.8", "10"),
    ("A14B, both experts, 832x480x81, GiB", "clip_a14b_480p", "peak_gib", "7.2", "7.2"),
    ("the same, switch of experts, s", "clip_a14b_480p", "switch_seconds", "10", "3"),
    ("int8 / bf16 pass, 1.3B", "int8_1.3b", "ratio", "1.05", "1.00"),
    ("int8 / bf16 pass, 14B", "int8_14b", "ratio", "1.05", "1.00"),
    ("best / stock bf16 pass, 14B", "best_14b", "ratio", "0.80", "0.65"),
    ("streamed output is resident output", "streaming_14b", "identical", "True", "True"),
)


def table(results: dict[str, Any]) -> str:
    """Markdown: what must be, and what was measured; then every number."""
    lines = ["| case | measured | must | aim |", "|---|---|---|---|"]
    for title, case, key, must, aim in ROWS:
        measured = results.get(case, {}).get(key, "not run")
        lines.append(f"| {title} | {measured} | {must} | {aim} |")
    for name, result in results.items():
        lines += ["", f"**{name}**", "", "```json", json.dumps(result, indent=1), "```"]
    return "\n".join(lines) + "\n"
