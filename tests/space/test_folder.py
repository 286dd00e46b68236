"""The folder of a Space: written from the checkout, and checked."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from space.__main__ import main
from space.check import check
from space.folder import files_of, front_matter, needs_lfs, pinned, write
from space.hardware import HARDWARE
from wan_pipeline.settings import REPOSITORY


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "space", HARDWARE["cpu-basic"])
    return tmp_path / "space"


@pytest.mark.parametrize("name", HARDWARE)
def test_the_folder_may_be_pushed(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "space"
    write(folder, HARDWARE[name])
    assert check(folder) == []
    matter = front_matter((folder / "README.md").read_text(encoding="utf-8"))
    assert (matter["sdk"], matter["sdk_version"], matter["python_version"]) == ("gradio", pinned()["gradio"], "3.12")
    assert matter["suggested_hardware"] == HARDWARE[name].flavor
    lines = (folder / "requirements.txt").read_text(encoding="utf-8").splitlines()
    versions = {
        found.name: str(found.specifier)
        for line in lines
        if not line.startswith("--")
        for found in (Requirement(line),)
    }
    assert versions["torch"] == {"cpu-basic": f"=={pinned()['torch']}+cpu", "zerogpu": "==2.11.0"}[name]
    assert ("spaces" in versions) is (name == "zerogpu")
    rest = {package: f"=={version}" for package, version in pinned().items() if package != "torch"}
    assert versions.items() >= rest.items(), "all other pins are the workstation's"


def test_what_the_app_needs_is_in_it_and_nothing_else(folder: Path) -> None:
    top = {path.name for path in folder.iterdir()}
    expected = {"app.py", "wan_pipeline", "presets", "loras", "LICENSE"}
    assert top == expected | {"README.md", "requirements.txt", ".gitattributes"}
    assert (folder / "wan_pipeline" / "demo" / "checkpoint" / "vae" / "diffusion_pytorch_model.safetensors").is_file()
    assert not [path for path in files_of(folder) if path.suffix == ".pyc"]
    loras = {path.name for path in (folder / "loras").glob("*.safetensors")}
    assert loras == {"demo-blueprint.safetensors", "demo-dusk.safetensors", "demo-heat.safetensors"}
    attributes = (folder / ".gitattributes").read_text(encoding="utf-8")
    assert all(f"loras/{name} filter=lfs" in attributes for name in loras)
    large = [path for path in files_of(folder) if path.stat().st_size > 10 * 2**20]
    assert len(large) == 2
    assert all(needs_lfs(path) for path in large)


def test_a_clone_of_the_space_is_written_anew_and_keeps_its_history(folder: Path) -> None:
    subprocess.run(["git", "init", "-q", folder], check=True)
    (folder / "old.txt").write_text("of an older version")
    (folder / "wan_pipeline" / "old.py").write_text("")
    write(folder, HARDWARE["zerogpu"])
    assert (folder / ".git" / "HEAD").is_file()
    assert not (folder / "old.txt").exists()
    assert not (folder / "wan_pipeline" / "old.py").exists()
    assert check(folder) == []


def test_git_gives_the_large_files_to_lfs(folder: Path) -> None:
    subprocess.run(["git", "init", "-q", folder], check=True)
    weights = "wan_pipeline/demo/checkpoint/transformer/diffusion_pytorch_model-00001-of-00002.safetensors"
    command = ["git", "-C", folder, "check-attr", "filter", weights, "app.py"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert told.splitlines() == [f"{weights}: filter: lfs", "app.py: filter: unspecified"]


def change(name: str, old: str, new: str) -> Callable[[Path], None]:
    def changed(folder: Path) -> None:
        path = folder / name
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")

    return changed


def put(name: str, content: bytes) -> Callable[[Path], None]:
    def written(folder: Path) -> None:
        (folder / name).write_bytes(content)

    return written


TOKEN = b"hf_" + b"a1B2" * 9


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (change("README.md", "---\n", "--\n"), "does not begin with a block of YAML"),
        (change("README.md", "title: Wan Studio", "title: [Wan"), "cannot be read"),
        (change("README.md", "'3.12'", "3.1"), "python_version is 3.1, which is no text"),
        (change("README.md", "app_file: app.py", "app_file: main.py"), "no app_file main.py"),
        (change("README.md", "hf_oauth: true", "hf_oauth: false"), "the owner could not log in"),
        (change("README.md", "Text and images", "Text and images " * 4), "more than 60 characters"),
        (change("README.md", "sdk_version: ", "sdk_version: 1"), "is not the gradio of requirements.txt"),
        (change("requirements.txt", "torch==", "torch ~ "), "cannot be read"),
        (change("requirements.txt", "psutil==7.2.2", "psutil"), "names no version"),
        (change(".gitattributes", "vae/", "vea/"), "does not give it to LFS"),
        (put("wan_pipeline/notes.py", b'TOKEN = "' + TOKEN + b'"\n'), "seems to hold a key or token"),
        (put("wan_pipeline/model.bin", b"\0" + TOKEN), "model.bin seems to hold a key"),
        (put("presets/mine.toml", f"path = '{REPOSITORY}/x'".encode()), "names a folder of this computer"),
        (put("presets/mine.toml", b"path = '/home/ana/pictures/x.png'"), "names a folder of this computer"),
        (lambda folder: (folder / "link").symlink_to(folder / "app.py"), "link is a link"),
    ],
)
def test_what_is_wrong_is_told(folder: Path, spoil: Callable[[Path], None], sentence: str) -> None:
    spoil(folder)
    assert any(sentence in problem for problem in check(folder)), check(folder)


def test_the_command_writes_and_checks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--output", str(tmp_path / "space")]) == 0
    assert "is ready to be pushed" in capsys.readouterr().out


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", HARDWARE)
def test_it_runs_as_the_hub_would_run_it(tmp_path: Path, name: str) -> None:
    """With the requirements in a fresh environment, torch 2.13 and 2.11, a visitor opens the page and makes a clip."""
    command = [sys.executable, "-m", "space", "--hardware", name, "--output", tmp_path / "space", "--run"]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "A clip of" in ended.stdout
