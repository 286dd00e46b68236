"""Fixtures that every test may use."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ["WAN_STUDIO_DEVICE"] = "cpu"  # whatever this machine has: the tests of accelerators are in tests/gpu
os.environ["CUDA_VISIBLE_DEVICES"] = ""  # a forked process cannot start CUDA, which torch's optimizers would try
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny models gain nothing from threads, and tests run side by side

import wan_pipeline.engine  # noqa: F401 - sets how OpenMP waits, before any test imports torch
from tests.support.processes.warm import Warm, serve_warm, shared_warm
from tests.support.queues import OpenQueue
from wan_pipeline.settings import Settings
from wan_pipeline.studio import Studio


def pytest_configure(config: pytest.Config) -> None:
    """Of several processes of tests all share one warm process, and none waits for it that does not need it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in the background of a shell; commands would inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if os.name == "posix" and config.getoption("numprocesses", None) and not hasattr(config, "workerinput"):
        serve_warm()


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist's own, which reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests of the page share one app and one browser, and take the longest: they begin first, in one process. Of
    the others each file stays in one process, for its fixtures.
    """
    items.sort(key=lambda item: item.get_closest_marker("browser") is None)
    for item in items:
        group = "page" if item.get_closest_marker("browser") else item.nodeid.partition("::")[0]
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="session")
def tiny_demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny model in the demo's layout. Read only: copy it before you change it."""
    from tests.support import tiny  # imports torch, which tests of light modules do without

    return tiny.write_demo(tmp_path_factory.mktemp("models") / "demo")


@pytest.fixture(scope="session")
def fitted_previews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the previews that tests have fitted to the tiny models: a third of the time of a small clip."""
    return tmp_path_factory.mktemp("previews")


@pytest.fixture
def settings(tmp_path: Path, tiny_demo: Path, fitted_previews: Path) -> Iterator[Settings]:
    """A studio of its own in a temporary folder, with the tiny model as `demo`."""
    settings = Settings(
        workspace=tmp_path / "workspace",
        loras=tmp_path / "loras",
        models=tmp_path / "models",
        demo_checkpoint=tiny_demo,
    )
    for folder in (settings.loras, settings.models):
        folder.mkdir()
    settings.make_folders()
    previews = settings.cache / "previews"
    shutil.copytree(fitted_previews, previews, dirs_exist_ok=True)
    yield settings
    if previews.is_dir():
        shutil.copytree(previews, fitted_previews, dirs_exist_ok=True)


@pytest.fixture
def studio(settings: Settings) -> Iterator[Studio]:
    """Not started: what is queued in it waits."""
    with Studio(settings) as studio:
        yield studio


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Where a workspace has its database."""
    return tmp_path / "workspace" / "studio.sqlite3"


@pytest.fixture
def queue(database: Path) -> OpenQueue:
    return OpenQueue(database)


@pytest.fixture(scope="session")
def warm() -> Warm:
    """Where worker processes start in milliseconds. Tests that ask for it are left out where there is no fork."""
    if os.name != "posix":
        pytest.skip("splits processes off with fork")
    return shared_warm()
