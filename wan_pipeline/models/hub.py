"""What the Hugging Face Hub tells of a repository, and its refusals in plain words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import httpx2  # the client that huggingface_hub itself brings and uses
from huggingface_hub import HfApi, constants
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status  # type: ignore[attr-defined]

from wan_pipeline.errors import ModelError
from wan_pipeline.models.cache import RemoteFile, Repository

MAX_CONFIG_BYTES = 4 * 2**20
REPO_NAME = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
KEPT = "what has come is kept"


class Hub:
    """The Hub, or what stands in its place at `endpoint` (HF_ENDPOINT)."""

    def __init__(self, endpoint: str | None = None, timeout: float = 30.0) -> None:
        """`timeout` is how many seconds the Hub may be silent."""
        self.endpoint = (endpoint or constants.ENDPOINT).rstrip("/")
        self._timeout = timeout

    def look_up(self, name: str, revision: str | None = None) -> Repository:
        """The repository at a branch, tag or commit (the main branch), by its commit. Raises ModelError."""
        check_name(name)
        api = HfApi(endpoint=self.endpoint)
        with in_words(name, self.endpoint):
            info = api.model_info(name, revision=revision or constants.DEFAULT_REVISION, timeout=self._timeout)
            commit = str(info.sha)
            tree = list(api.list_repo_tree(name, recursive=True, revision=commit))
        files = tuple(_remote_file(entry) for entry in tree if isinstance(entry, RepoFile))
        return Repository(name, commit, _licence(info.tags or []), files)

    def read_config(self, repository: Repository, path: str) -> dict[str, Any]:
        """A JSON file of the repository. Raises ModelError, also if it is not there."""
        file = repository.file(path)
        if file is None:
            raise ModelError(
                f"{repository.name} has no {path}, so it is not a model in diffusers layout; "
                "look for a repository of that name that ends in -Diffusers."
            )
        if file.size > MAX_CONFIG_BYTES:
            raise ModelError(f"{path} of {repository.name} has {file.size:,} bytes; a configuration is far smaller.")
        with in_words(repository.name, self.endpoint), self.stream(repository, file) as response:
            text = response.read()
        try:
            data = json.loads(text)
        except ValueError as error:
            raise ModelError(f"{path} of {repository.name} is not JSON ({error}).") from error
        if not isinstance(data, dict):
            raise ModelError(f"{path} of {repository.name} is not a table of settings.")
        return data

    @contextmanager
    def stream(self, repository: Repository, file: RemoteFile, start: int = 0) -> Iterator[httpx2.Response]:
        """The file's bytes from `start` on, as they come. Raises what httpx2 and huggingface_hub raise."""
        url = f"{self.endpoint}/{repository.name}/resolve/{repository.commit}/{quote(file.path)}"
        headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        with get_session().stream("GET", url, headers=headers, timeout=self._timeout) as response:
            hf_raise_for_status(response)
            yield response


def check_name(name: str) -> None:
    """Raises ModelError unless `name` is owner/name."""
    if not REPO_NAME.fullmatch(name) or ".." in name:
        raise ModelError(f"'{name[:80]}' is not the name of a repository; write it as owner/name.")


@contextmanager
def in_words(name: str, endpoint: str) -> Iterator[None]:
    """A refusal within becomes a ModelError: what it means for the person, and the way out."""
    try:
        yield
    except GatedRepoError as error:
        raise ModelError(
            f"{name} is gated: accept its terms at {endpoint}/{name}, log in with `hf auth login`, and try again."
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"There is no repository '{name}' at {endpoint}, or it is private: "
            "check the spelling, or log in with `hf auth login`."
        ) from error
    except RevisionNotFoundError as error:
        raise ModelError(f"{name} has no such revision; name a branch, a tag or a commit of it.") from error
    except RemoteEntryNotFoundError as error:
        raise ModelError(f"A file of {name} is not there any more; try again.") from error
    except OfflineModeIsEnabled as error:
        raise ModelError(f"{name} cannot be fetched while HF_HUB_OFFLINE is set; unset it and try again.") from error
    except HFValidationError as error:
        raise ModelError(f"'{name[:80]}' is not the name of a repository; write it as owner/name.") from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        raise ModelError(f"{endpoint} answered {status} for {name}; try again later: {KEPT}.") from error
    except httpx2.TransportError as error:
        reason = str(error) or type(error).__name__
        raise ModelError(
            f"{endpoint} cannot be reached for {name} ({reason}); check the network and try again: {KEPT}."
        ) from error


def _remote_file(entry: RepoFile) -> RemoteFile:
    if entry.lfs is None:
        return RemoteFile(entry.path, entry.size, None, entry.blob_id)
    return RemoteFile(entry.path, entry.lfs.size, entry.lfs.sha256, entry.blob_id)


def _licence(tags: list[str]) -> str | None:
    return next((tag.partition(":")[2] for tag in tags if tag.startswith("license:")), None)
