"""`share`: keys by the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from wan_pipeline.access.public_address import PublicAddress
from wan_pipeline.access.roles import Role
from wan_pipeline.cli import main
from wan_pipeline.settings import Settings
from wan_pipeline.storage.locks import WorkspaceLocks
from wan_pipeline.studio import Studio


@pytest.fixture
def share(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    def run(*arguments: str) -> tuple[int, str, str]:
        status = main(["share", *arguments, "--workspace", str(tmp_path / "workspace")])
        out, err = capsys.readouterr()
        return status, out, err

    return run


def test_a_key_is_made_listed_and_revoked(share, tmp_path: Path) -> None:
    status, out, _ = share("--role", "make", "--project", "film", "--expires", "7d", "--max-clips", "3", "--json")
    made = json.loads(out)
    assert status == 0
    assert list(made) == ["key", "role", "project", "expires", "url"]
    assert (made["role"], made["project"], made["url"]) == ("make", "film", None)
    with Studio(Settings(workspace=tmp_path / "workspace")) as studio:
        key = studio.keys.find(made["key"])
        assert key is not None
        assert (key.role, key.project, key.max_clips) == (Role.MAKE, "film", 3)
    listed = [json.loads(line) for line in share("--list", "--json")[1].splitlines()]
    assert [entry["id"] for entry in listed] == [key.id]
    assert made["key"] not in json.dumps(listed)
    assert json.loads(share("--revoke", key.id, "--json")[1]) == {"id": key.id, "revoked": True}
    assert share("--revoke", key.id)[0] == 2
    assert share("--list", "--json")[1] == ""


def test_while_the_app_is_shared_the_link_is_whole(share, tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    with WorkspaceLocks(workspace).app(), PublicAddress(workspace).published("https://abc.gradio.live"):
        made = json.loads(share("--json")[1])
        assert made["url"] == f"https://abc.gradio.live/?key={made['key']}"
        assert made["project"] is None
    (workspace / "public_address.json").write_text('{"url": "https://of.a.killed.app"}')
    assert json.loads(share("--json")[1])["url"] is None


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--expires", "soon"], "'soon' is no lifetime"),
        (["--max-clips", "0"], "use 1 to 100,000"),
        (["--project", "a\nb"], "project"),
        (["--project", "default", "--role", "make"], "The project 'default' is the default one"),
        (["--revoke", "nothing"], "There is no key 'nothing'"),
    ],
)
def test_bad_input_is_a_sentence(share, arguments: list[str], sentence: str) -> None:
    status, _, err = share(*arguments)
    assert status == 2
    assert sentence in err
