"""Keys: shown once, stored as hashes, expiring, revoked."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from wan_pipeline.access.keys import Keys, parse_expiry
from wan_pipeline.access.roles import Role
from wan_pipeline.errors import UserError
from wan_pipeline.storage.database import Database


@pytest.fixture
def keys(database: Path) -> Keys:
    return Keys(Database.create(database))


def test_a_key_is_found_by_its_secret_alone(keys: Keys, database: Path) -> None:
    secret, key = keys.create(Role.MAKE, "film")
    assert keys.find(secret) == key
    assert keys.list() == [key]
    for wrong in ("", key.id, secret[:-1], secret + "x", secret.swapcase(), "\ud800"):
        assert keys.find(wrong) is None, wrong
    assert secret.encode() not in database.read_bytes()


def test_secrets_have_128_random_bits(keys: Keys) -> None:
    secrets = {keys.create(Role.VIEW)[0] for _ in range(20)}
    assert len(secrets) == 20
    assert all(len(secret) == 22 for secret in secrets)


def test_an_expired_key_lets_nobody_in_and_is_still_listed(keys: Keys) -> None:
    secret, key = keys.create(Role.VIEW, expires=timedelta(seconds=-1))
    assert keys.find(secret) is None
    assert keys.list() == [key]
    forever, _ = keys.create(Role.VIEW, expires=None)
    assert keys.find(forever) is not None


def test_a_revoked_key_is_gone_at_once(keys: Keys) -> None:
    secret, key = keys.create(Role.MAKE)
    assert keys.revoke(key.id) == key
    assert keys.find(secret) is None
    with pytest.raises(UserError, match="There is no key"):
        keys.revoke(key.id)


def test_the_last_use_is_recorded_now_and_then(keys: Keys) -> None:
    secret, key = keys.create(Role.VIEW)
    assert key.last_used_at is None
    keys.record_use(key)
    used = keys.find(secret)
    assert used is not None
    assert used.last_used_at is not None
    keys.record_use(used)
    assert keys.find(secret) == used, "within a minute nothing is written"


@pytest.mark.parametrize(
    ("column", "value"),
    [("role", "king"), ("expires_at", "soon"), ("created_at", "")],
)
def test_a_row_that_cannot_be_read_lets_nobody_in(keys: Keys, database: Path, column: str, value: str) -> None:
    secret, _ = keys.create(Role.OWNER)
    with sqlite3.connect(database) as connection:
        connection.execute(f"UPDATE keys SET {column} = ?", (value,))  # noqa: S608
    connection.close()
    assert keys.find(secret) is None
    assert keys.list() == []


def test_lifetimes_as_people_write_them() -> None:
    assert parse_expiry("48h") == timedelta(hours=48)
    assert parse_expiry(" 30M ") == timedelta(minutes=30)
    assert parse_expiry("7 d") == timedelta(days=7)
    assert parse_expiry("never") is None
    for wrong in ("", "0h", "-1h", "2y", "999999w", "1.5h", "48"):
        with pytest.raises(UserError, match="no lifetime"):
            parse_expiry(wrong)


def test_a_visitors_key_is_told_by_its_id_and_not_listed(keys: Keys) -> None:
    secret, visitor = keys.create_for_visitor(timedelta(days=1))
    found = keys.find(secret)
    assert found == visitor
    assert (visitor.is_visitor, visitor.role, visitor.project) == (True, Role.MAKE, "")
    others = [keys.create(Role.MAKE)[1] for _ in range(50)]
    assert not any(key.is_visitor for key in others)
    assert visitor not in keys.list()


def test_expired_keys_are_removed_and_no_others(keys: Keys) -> None:
    kept = [keys.create(Role.VIEW, expires=expires)[0] for expires in (None, timedelta(days=1))]
    keys.create(Role.OWNER, expires=timedelta(seconds=-1))
    keys.create_for_visitor(timedelta(seconds=-1))
    assert keys.remove_expired(datetime.now(UTC)) == 2
    assert all(keys.find(secret) for secret in kept)
    assert keys.remove_expired(datetime.now(UTC)) == 0
