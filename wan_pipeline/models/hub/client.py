"""The Hugging Face Hub: what a repository holds, the bytes of its files, and its errors as sentences."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

import httpx2  # the HTTP client of huggingface_hub
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
from wan_pipeline.models.hub.cache import COMMIT, PLAIN_PATH, RemoteFile, Repository
from wan_pipeline.models.names import check_repository
from wan_pipeline.models.reading.configs import INDEX, MAX_CONFIG_BYTES, Config, parse_config
from wan_pipeline.storage.outside import OutsideDataError, parse

RESUMED = "what has been downloaded is kept"


class Hub:
    """A client of the Hub, or of a server with the same API at `endpoint` (HF_ENDPOINT)."""

    def __init__(self, endpoint: str | None = None, timeout: float = 30.0) -> None:
        """`timeout`: seconds without a byte from the server that count as a lost connection."""
        self.endpoint = (endpoint or constants.ENDPOINT).rstrip("/")
        self._timeout = timeout

    def look_up(self, name: str, revision: str | None = None) -> Repository:
        """The repository owner/name at a branch, tag or commit, by default the main branch. Raises ModelError."""
        check_repository(name)
        api = HfApi(endpoint=self.endpoint)
        with model_errors(name, self.endpoint):
            info = api.model_info(name, revision=revision or constants.DEFAULT_REVISION, timeout=self._timeout)
            commit = str(info.sha)
            tree = list(api.list_repo_tree(name, recursive=True, revision=commit))
        if not COMMIT.fullmatch(commit):
            raise ModelError(f"{self.endpoint} names no commit for {name}; check HF_ENDPOINT, the address of the Hub.")
        entries = [entry for entry in tree if isinstance(entry, RepoFile) and re.fullmatch(PLAIN_PATH, entry.path)]
        return Repository(
            name, commit, _licence(info.tags or []), tuple(_remote_file(name, entry) for entry in entries)
        )

    def read_config(self, repository: Repository, path: str) -> Config:
        """A JSON configuration of the repository. Raises ModelError."""
        file = repository.file(path)
        if file is None and path == INDEX:
            raise ModelError(
                f"{repository.name} has no {INDEX}, so it is not a model in diffusers layout; "
                "look for a repository of the same name that ends in -Diffusers."
            )
        if file is None:
            raise ModelError(f"{repository.name} has no {path}, which its {INDEX} promises; choose another repository.")
        with model_errors(repository.name, self.endpoint), self.stream(repository, file) as response:
            text = _read(response, MAX_CONFIG_BYTES + 1)
        return parse_config(text, f"{path} of {repository.name}")

    @contextmanager
    def stream(self, repository: Repository, file: RemoteFile, start: int = 0) -> Iterator[httpx2.Response]:
        """The bytes of a file from `start` on, as they arrive. Raises what httpx2 and huggingface_hub raise."""
        url = f"{self.endpoint}/{repository.name}/resolve/{repository.commit}/{quote(file.path)}"
        headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        with get_session().stream("GET", url, headers=headers, timeout=self._timeout) as response:
            hf_raise_for_status(response)
            yield response


@contextmanager
def model_errors(name: str, endpoint: str) -> Iterator[None]:
    """Turn what the Hub and the network raise for the repository `name` into a ModelError with a way out."""
    _check_proxies(name)
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
        raise ModelError(f"A file of {name} was removed from the repository; try again.") from error
    except OfflineModeIsEnabled as error:
        raise ModelError(f"{name} cannot be downloaded while HF_HUB_OFFLINE is set; unset it and try again.") from error
    except HFValidationError as error:
        raise ModelError(f"'{name[:80]}' is not the name of a repository; write it as owner/name.") from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        raise ModelError(f"{endpoint} answered {status} for {name}; try again later: {RESUMED}.") from error
    except httpx2.TransportError as error:
        reason = str(error) or type(error).__name__
        raise ModelError(
            f"{endpoint} cannot be reached for {name} ({reason}); check the network and try again: {RESUMED}."
        ) from error


def _check_proxies(name: str) -> None:
    """Raise ModelError if the HTTP client cannot use the proxies of the environment, whose addresses may be secret."""
    try:
        get_session()
    except (ImportError, ValueError, httpx2.InvalidURL) as error:
        named = [key for key in os.environ if key.lower() in ("http_proxy", "https_proxy", "all_proxy")]
        raise ModelError(
            f"{name} cannot be downloaded through the proxy in {' or '.join(named) or 'the system settings'}: it must "
            "be http://, https:// or socks5://, and the last needs the package socksio; change it, or unset it."
        ) from error


def _read(response: httpx2.Response, limit: int) -> bytes:
    """The body, cut off after `limit` bytes or a few more."""
    text = bytearray()
    for chunk in response.iter_raw():
        text += chunk
        if len(text) >= limit:
            break
    return bytes(text)


def _remote_file(name: str, entry: RepoFile) -> RemoteFile:
    large = entry.lfs
    facts = {
        "path": entry.path,
        "size": entry.size if large is None else large.size,
        "sha256": None if large is None else large.sha256,
        "git_sha1": entry.blob_id,
    }
    try:
        return parse(RemoteFile, facts)
    except OutsideDataError as error:
        raise ModelError(f"The Hub describes {entry.path} of {name} in a way that makes no sense: {error}.") from error


def _licence(tags: list[str]) -> str | None:
    return next((tag.partition(":")[2] for tag in tags if tag.startswith("license:")), None)
