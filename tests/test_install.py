"""What pip installs: a wheel built without a network, in an environment of its own with no checkout near."""

from __future__ import annotations

import json
import os
import shutil
import site
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import pytest

from wan_pipeline import __version__
from wan_pipeline.settings import REPOSITORY

SOURCES = ("wan_pipeline", "presets", "pyproject.toml", "setup.py", "requirements.txt", "README.md", "LICENSE")
SHORT_WAY = "import doctest, wan_pipeline.oneshot as way; print(doctest.testmod(way, raise_on_error=True))"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, for setuptools leaves files beside the sources."""
    copy = tmp_path_factory.mktemp("source")
    for name in SOURCES:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy / name)
    pip(
        sys.executable, "wheel", "--no-deps", "--no-build-isolation", "--no-index", f"--wheel-dir={copy / 'dist'}", copy
    )
    return next((copy / "dist").glob("*.whl"))


@pytest.fixture(scope="module")
def scripts(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where an environment that holds the wheel has its programs. Its dependencies are those of this one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=os.name == "posix")
    scripts = folder / ("Scripts" if os.name == "nt" else "bin")
    pip(sys.executable, f"--python={scripts / 'python'}", "install", "--no-deps", "--no-index", wheel)
    packages = subprocess.run(
        [scripts / "python", "-c", "import site; print(site.getsitepackages()[0])"],
        capture_output=True,
        text=True,
        check=True,
    )
    Path(packages.stdout.strip(), "dependencies.pth").write_text("\n".join(site.getsitepackages()), encoding="utf-8")
    return scripts


@pytest.fixture
def run(scripts: Path, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a program of that environment with `tmp_path` as the user's home and the current folder."""

    def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        environment |= {"HOME": str(tmp_path), "USERPROFILE": str(tmp_path)}
        command = [scripts / program, *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    return run


def pip(python: str, *arguments: str | Path) -> None:
    subprocess.run([python, "-m", "pip", "--quiet", *map(str, arguments)], check=True)


@pytest.mark.soak
def test_the_wheel_holds_all_of_the_package_and_the_presets(wheel: Path) -> None:
    sources = [path for path in (REPOSITORY / "wan_pipeline").rglob("*") if path.is_file()]
    expected = {path.relative_to(REPOSITORY).as_posix() for path in sources if path.suffix not in (".pyc", ".part")}
    presets = (REPOSITORY / "presets").rglob("*.toml")
    expected |= {f"wan_pipeline/{path.relative_to(REPOSITORY).as_posix()}" for path in presets}
    with ZipFile(wheel) as archive:
        assert {name for name in archive.namelist() if ".dist-info/" not in name} == expected


def test_the_wheel_depends_on_what_is_pinned(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        lines = archive.read(name).decode().splitlines()
    pins = (REPOSITORY / "requirements.txt").read_text(encoding="utf-8").splitlines()
    required = [line.removeprefix("Requires-Dist: ") for line in lines if line.startswith("Requires-Dist: ")]
    assert required == [pin for pin in pins if not pin.startswith("#")]


def test_the_command_by_its_own_name(run) -> None:
    assert run("wan-studio", "--version").stdout == f"Wan Studio {__version__}\n"
    wrong = run("wan-studio", "serve", "--prot", "80")
    assert wrong.stderr == "error: Unrecognized arguments: --prot 80; see wan-studio --help.\n"
    assert run("python", "-m", "wan_pipeline", "--help").stdout.startswith("usage: python -m wan_pipeline ")


def test_an_installed_studio_keeps_its_files_in_the_home_folder(run, tmp_path: Path) -> None:
    models = run("wan-studio", "models", "list", "--json").stdout.splitlines()
    assert next(model["status"] for model in map(json.loads, models) if model["id"] == "demo") == "installed"
    (tmp_path / "list.csv").write_text("prompt,preset\na red ball,golden-hour\n")
    added = run("wan-studio", "queue", "add", "--file", "list.csv", "--json")
    assert json.loads(added.stdout)["request"]["preset"] == "golden-hour"
    assert (tmp_path / "Wan Studio" / "workspace" / "studio.sqlite3").is_file()


@pytest.mark.soak
def test_one_clip_from_python_by_the_bundled_model(run, tmp_path: Path) -> None:
    """The example in the docstring of `generate`, run as it stands."""
    result = run("python", "-c", SHORT_WAY)
    assert (result.returncode, result.stdout) == (0, "TestResults(failed=0, attempted=2)\n"), result.stderr
    assert len(list((tmp_path / "Wan Studio" / "workspace" / "clips").glob("*.mp4"))) == 1
