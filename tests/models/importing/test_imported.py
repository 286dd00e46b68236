"""Files about imported models: stored and read again; one that somebody else wrote never stops the others."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.hostile import BAD_JSON, BAD_VALUES, short
from wan_pipeline.models import registry
from wan_pipeline.models.entries import Status
from wan_pipeline.models.importing.imported import ImportedModel, ImportedModels
from wan_pipeline.models.library import ModelLibrary
from wan_pipeline.models.manager import ModelManager

OWN = replace(registry.WAN22_T2V_A14B, id="own", title="Own", repo="me/own", licence="unknown")
OLD = """{
 "id": "own", "title": "Own", "modes": ["image-to-video", "text-to-video"],
 "sizes": [{"width": 832, "height": 480}, {"width": 480, "height": 832}],
 "availability": "released", "repo": null, "licence": "unknown", "download_gb": 0.0, "missing": "",
 "last_image": "optional", "size_multiple": 16, "num_frames": 81, "flow_shift": 5, "a_key_of_tomorrow": [1],
 "folder": "/somewhere/own"
}"""


@pytest.fixture
def stored(settings) -> Path:
    """The file about `own`."""
    ImportedModels(settings.imported).add(ImportedModel(OWN, None))
    return settings.imported / "own.json"


def change(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize("folder", [None, Path("/somewhere/own")])
def test_what_was_stored_is_read_again(tmp_path, folder):
    models = ImportedModels(tmp_path)
    models.add(ImportedModel(OWN, folder))
    assert models.all() == {"own": ImportedModel(OWN, folder)}
    models.remove("own")
    models.remove("own")
    assert models.all() == {}


def test_a_file_of_an_older_version_is_read(tmp_path):
    (tmp_path / "own.json").write_text(OLD)
    model = ImportedModels(tmp_path).all()["own"]
    assert (model.folder, model.spec.flow_shift, model.spec.memory) == (
        Path("/somewhere/own"),
        5.0,
        registry.WAN21_T2V_1_3B.memory,
    )


@pytest.mark.parametrize("text", BAD_JSON.values(), ids=BAD_JSON)
def test_a_bad_file_is_left_out_and_told_once(settings, stored, caplog, text):
    (settings.imported / "bad.json").write_bytes(text)
    library = ModelLibrary(settings)
    with caplog.at_level(logging.WARNING):
        assert "bad" not in library.specs() and library.spec("own") == OWN
        library.installed()
    (record,) = caplog.records
    assert "bad.json is left out" in record.getMessage() and "import the model again" in record.getMessage()
    (settings.imported / "bad.json").unlink()
    library.imported.add(ImportedModel(replace(OWN, id="bad"), None))
    assert library.spec("bad").title == "Own", "a mended file is read"


@pytest.mark.parametrize("value", BAD_VALUES, ids=short)
@pytest.mark.parametrize("key", ["id", "title", "modes", "sizes", "availability", "repo", "num_frames", "flow_shift"])
def test_a_value_of_another_kind_leaves_the_file_out_or_is_usable(settings, stored, key, value):
    change(stored, **{key: value})
    spec = ModelLibrary(settings).specs().get("own")
    if spec is not None:
        assert spec.sizes[0].width > 0 and spec.modes and spec.num_frames > 0 and 0 < spec.flow_shift < 10**13
        assert spec.latent_tokens(832, 480, 81) > 0


@pytest.mark.parametrize(
    "values",
    [
        {"size_multiple": 0},
        {"temporal_compression": 0},
        {"num_frames": -1},
        {"max_pixels": 10**13},
        {"guidance_scale": 0},
        {"sizes": []},
        {"sizes": [{"width": 0, "height": 480}]},
        {"modes": []},
        {"modes": ["dancing"]},
        {"availability": "bundled"},
        {"id": "other"},
        {"id": "../own"},
        {"repo": "../../own"},
        {"repo": "a/b/c"},
        {"memory": {"layers": 0, "width": 1, "feed_forward": 1}},
        {"memory": {}},
        {"folder": 1},
    ],
)
def test_facts_that_no_import_writes_leave_the_file_out(settings, stored, values):
    change(stored, **values)
    assert "own" not in ModelLibrary(settings).specs()


def test_no_file_takes_the_place_of_a_known_model(settings, stored):
    change(stored, id="demo")
    stored.rename(stored.with_name("demo.json"))
    library = ModelLibrary(settings)
    assert library.spec("demo") is registry.DEMO
    assert ModelManager(settings, library).entry("demo").status is Status.INSTALLED


def test_a_folder_in_the_place_of_a_file_is_left_out(settings, stored):
    (settings.imported / "strange.json").mkdir()
    assert "own" in ModelLibrary(settings).specs()


@pytest.mark.parametrize("folder", ["", "\0", "relative", "/dev/null", "x" * 5000], ids=short)
def test_a_folder_that_cannot_be_is_a_model_that_is_gone(settings, stored, folder):
    change(stored, folder=folder, repo=None)
    manager = ModelManager(settings, ModelLibrary(settings))
    assert manager.entry("own").status is Status.MISSING
    manager.remove("own")
    assert not stored.exists()
