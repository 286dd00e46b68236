"""What was possible once: each attack, replayed against the running app, changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from tests.browser.test_doors import ask
from wan_pipeline.ui.create.fields.uploads import REFUSED


@pytest.mark.browser
def test_no_box_opens_a_file_of_the_disk(address: str, tmp_path: Path) -> None:
    """Not even for a program at this computer: a page elsewhere might have made the request."""
    secret = tmp_path / "secret.png"
    Image.new("RGB", (64, 64), "red").save(secret)
    config = json.loads(ask(address, "/config")[1])
    kinds = {part["id"]: part["type"] for part in config["components"]}
    values = {part["id"]: part["props"].get("value") for part in config["components"]}
    asked = 0
    for dependency in config["dependencies"]:
        boxes = [kinds[part] for part in dependency["inputs"]]
        if not {"image", "video", "file", "uploadbutton"} & set(boxes) or not dependency["backend_fn"]:
            continue
        for kind in ("image", "video", "file", "uploadbutton"):
            if kind not in boxes:
                continue
            file = {"path": str(secret)} | ({} if kind == "image" else {"meta": {"_type": "gradio.FileData"}})
            data = [file if kinds[part] == kind else values[part] for part in dependency["inputs"]]
            body = json.dumps({"data": data, "fn_index": dependency["id"], "session_hash": "attack"}).encode()
            response, content = ask(address, "/gradio_api/run/predict", "POST", body)
            assert response.status in (422, 500), (dependency["api_name"], content[:300])
            assert kind != "image" or REFUSED.encode() in content, content[:300]
            asked += 1
    assert asked >= 3
