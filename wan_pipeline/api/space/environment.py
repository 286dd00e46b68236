"""What the Hub says of the Space that the app runs in, by environment variables, and the rules that follow from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from wan_pipeline.access.caps import Caps
from wan_pipeline.access.http import Rules
from wan_pipeline.access.keys import Keys
from wan_pipeline.access.limits import Limits, Rate
from wan_pipeline.access.visitors import CAPS, Strangers, Visitors, parse_caps
from wan_pipeline.settings import SPACE_VARIABLE

CAPS_VARIABLE = "WAN_STUDIO_VISITOR_CAPS"
ZERO_GPU_VARIABLE = "SPACES_ZERO_GPU"
FRAME_ANCESTORS = ("'self'", "https://huggingface.co", "https://*.huggingface.co", "https://*.hf.space")
"""The Hub's page shows a Space in a frame, and Spaces may show each other."""
GUESTS_PER_SECOND = 60.0
"""Requests of all visitors: their pages ask about once a second each."""


@dataclass(frozen=True)
class OAuthApp:
    """The Space's OAuth app, made by the Hub where its README says `hf_oauth: true`."""

    client_id: str
    client_secret: str
    provider: str
    """Address of the OpenID provider."""


@dataclass(frozen=True)
class Space:
    """The Space that the app runs in."""

    namespace: str
    """The user or the organization that owns it."""
    hosts: tuple[str, ...]
    """Names that it is reached by; the first is the Hub's own."""
    oauth: OAuthApp | None
    on_zero_gpu: bool
    caps: Caps = CAPS

    @property
    def address(self) -> str | None:
        return f"https://{self.hosts[0]}" if self.hosts else None

    def rules(self, host_names: Iterable[str]) -> Rules:
        names = frozenset((*host_names, *self.hosts))
        return Rules(host_names=names, frame_ancestors=FRAME_ANCESTORS, framed=True, behind_proxy=True)

    def limits(self) -> Limits:
        return Limits(guests_in_all=Rate(GUESTS_PER_SECOND, 10 * GUESTS_PER_SECOND))

    def strangers(self, keys: Keys) -> Strangers:
        """What those without a key may do; the login only where the Hub has made the Space an OAuth app."""
        from wan_pipeline.api.space.oauth import LOGIN_PATHS, START, hub_login  # here: it brings in the HTTP client

        visitors = Visitors(keys, self.caps)
        if self.oauth is None:
            return Strangers(visitors, login_paths=LOGIN_PATHS)
        return Strangers(visitors, hub_login(self, keys), LOGIN_PATHS, START)


def space_of(environment: Mapping[str, str]) -> Space | None:
    """None where the app does not run in a Space. Raises UserError for visitors' caps that cannot be read."""
    space_id = environment.get(SPACE_VARIABLE, "")
    if not space_id:
        return None
    hosts = (host.strip().lower() for host in environment.get("SPACE_HOST", "").split(","))
    caps = environment.get(CAPS_VARIABLE, "")
    return Space(
        namespace=environment.get("SPACE_AUTHOR_NAME") or space_id.partition("/")[0],
        hosts=tuple(host for host in hosts if host),
        oauth=_oauth_app(environment),
        on_zero_gpu=is_true(environment.get(ZERO_GPU_VARIABLE, "")),
        caps=parse_caps(caps, CAPS_VARIABLE) if caps else CAPS,
    )


def is_true(text: str) -> bool:
    return text.lower() in ("1", "t", "true")


def _oauth_app(environment: Mapping[str, str]) -> OAuthApp | None:
    names = ("OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET", "OPENID_PROVIDER_URL")
    values = [environment.get(name, "") for name in names]
    return OAuthApp(*values) if all(values) else None
