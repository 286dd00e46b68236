"""What the server prints when others can reach it."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from wan_pipeline.access.public_address import PublicAddress
from wan_pipeline.access.roles import Role
from wan_pipeline.api.serve import SHARED_PROJECT, _invited
from wan_pipeline.studio import Studio


def secret_in(line: str) -> str:
    """The key of the link at the end of a line."""
    return parse_qs(urlsplit(line.rpartition(" ")[2]).query)["key"][0]


def test_links_are_printed_and_end_with_the_server(studio: Studio) -> None:
    addresses, told = ["https://abc.gradio.live", "http://desk:7860"], list[str]()
    with _invited(studio, addresses, told.append, is_shared=True):
        public, local, invitation = told
        assert "https://abc.gradio.live/?key=" in public and "http://desk:7860/?key=" in local
        assert f"make clips in the project {SHARED_PROJECT}: https://abc.gradio.live/?key=" in invitation
        owner, guest = (studio.keys.find(secret_in(line)) for line in (public, invitation))
        assert owner and guest and secret_in(local) == secret_in(public)
        assert (owner.role, guest.role, guest.project) == (Role.OWNER, Role.MAKE, SHARED_PROJECT)
        assert (studio.settings.workspace / "public_address.json").is_file()
    assert [studio.keys.find(secret_in(line)) for line in told] == [None] * 3
    assert PublicAddress(studio.settings.workspace).read() is None


def test_names_in_the_own_network_invite_nobody_else(studio: Studio) -> None:
    told = list[str]()
    with _invited(studio, ["http://desk:7860"], told.append, is_shared=False):
        assert len(told) == len(studio.keys.list()) == 1
    with _invited(studio, [], told.append, is_shared=False):
        assert len(told) == 1 and studio.keys.list() == []
