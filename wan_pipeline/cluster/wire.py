"""What travels between the studio's machine and a node: bytes with their hash, facts, and a node's methods.

Both ends run the same version of this package, which `Hello` says and the pool checks.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from wan_pipeline.errors import NodeLost, StorageError, StudioError, UserError
from wan_pipeline.lora.experts import Expert
from wan_pipeline.progress import Progress

if TYPE_CHECKING:
    from wan_pipeline.engine.rendered import Rendered

CHUNK_BYTES = 32 * 2**20
"""A file is sent in parts of so many bytes, so that neither machine holds a whole LoRA in memory."""


@dataclass(frozen=True)
class Sealed:
    """Bytes and their SHA-256."""

    content: bytes
    sha256: str

    @classmethod
    def of(cls, content: bytes) -> Sealed:
        return cls(content, hashlib.sha256(content).hexdigest())

    def opened(self, what: str) -> bytes:
        """The bytes, checked. Raises NodeLost if they are others: the job then goes to another machine."""
        if hashlib.sha256(self.content).hexdigest() != self.sha256:
            raise NodeLost(f"{what} did not arrive as it was sent.")
        return self.content


@dataclass(frozen=True)
class NodeSetup:
    """How a node makes clips. Empty texts leave it to the node."""

    models: str = ""
    """Folder on the node that holds its models; the Hugging Face cache of the node counts too."""
    folder: str = ""
    """Folder on the node for what was sent to it and for its caches."""
    demo_checkpoint: str = ""
    device: str = ""
    memory_limit: float = 0.0
    plan: str = ""
    compiled: bool = False
    attention: str = "auto"
    keep_latents: bool = True
    checkpoint_seconds: float = 30.0


@dataclass(frozen=True)
class Hello:
    """What a node says of itself when it joins."""

    version: str
    host: str
    models: tuple[str, ...]
    """Ids of the models that it has, complete."""


@dataclass(frozen=True)
class SentFile:
    """An input file of a clip."""

    name: str
    """Below the node's folder of inputs or of LoRAs, with `/` between folders."""
    sha256: str
    """Of its bytes."""
    is_lora: bool
    expert: Expert | None = None
    """What a person said that the LoRA is for."""


@dataclass(frozen=True)
class Task:
    """A clip to make."""

    id: str
    """One for each try, so that a call which is repeated starts nothing twice."""
    request: str
    """As JSON."""
    plan: str
    deterministic: bool
    files: tuple[SentFile, ...]
    checkpoint: Sealed | None
    """What an earlier node had done."""


@dataclass(frozen=True)
class Seen:
    """What the studio's machine has of a clip that is being made."""

    reports: int = 0
    checkpoint: tuple[int, int] | None = None


@dataclass(frozen=True)
class Report:
    """What is new of a clip that is being made."""

    seen: Seen
    progress: tuple[Progress, ...]
    """The newest; before it the beginning of denoising, by whose step one knows whether the clip was resumed."""
    checkpoint: Sealed | None
    is_over: bool


@dataclass(frozen=True)
class Outcome:
    """How a clip ended: with frames or with an error."""

    rendered: Rendered | None
    latents_sha256: str
    error: Exception | None
    """A StudioError, or else a RuntimeError that names it: the studio's machine may not know its type."""
    trace: str = ""
    """Where an error came from that the studio does not raise on purpose."""


def call_error(node: str, cause: BaseException) -> StudioError:
    """What the studio's machine raises for an error of a call on a node.

    A UserError is the clip's, and would come on any node; all else, its disk's errors too, is the node's.
    """
    if isinstance(cause, (NodeLost, UserError)) and not isinstance(cause, StorageError):
        return cause
    last_line = (str(cause).strip().splitlines() or [type(cause).__name__])[-1]
    return NodeLost(f"{node} failed: {last_line.rstrip('.')}.")


class NodeCalls(Protocol):
    """What a node does. Each call returns soon, and may be repeated after one that got no answer."""

    def hello(self) -> Hello: ...

    def missing(self, files: tuple[SentFile, ...]) -> tuple[str, ...]:
        """Hashes of those files that it does not have."""

    def receive(self, sha256: str, offset: int, content: bytes, *, is_last: bool) -> None:
        """Append a part of a file. The last is followed by a check of the whole."""

    def start(self, task: Task) -> None:
        """Begin to make a clip, in the background. Raises NodeLost while another is being made."""

    def report(self, seen: Seen) -> Report: ...

    def stop(self) -> None:
        """Ask the clip to stop; its checkpoint is written first."""

    def take(self) -> Outcome:
        """How the clip ended. Kept until the next begins."""


class Node(NodeCalls, Protocol):
    """A node as the studio's machine sees it.

    Every call raises NodeLost when the machine does not answer, and what `call_error` makes of an error there.
    """

    @property
    def name(self) -> str: ...

    @property
    def models(self) -> frozenset[str]: ...
