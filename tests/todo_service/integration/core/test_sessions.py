import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from hashlib import sha256
from ipaddress import ip_address
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from todo_service.core.session.errors import (
    InvalidIpAddressError,
    InvalidLifetimeError,
    InvalidRetentionAgeError,
    RefreshTokenReusedError,
    SessionExpiredError,
    SessionNotFoundError,
    SessionRevokedError,
)
from todo_service.core.session.models import RefreshSession
from todo_service.core.session.service import IssuedSession, RefreshSessionService
from todo_service.core.user.errors import UserInactiveError, UserNotFoundError
from todo_service.core.user.models import User
from todo_service.core.user.service import UserService

Age = Callable[[UUID, str], Awaitable[None]]


@pytest_asyncio.fixture
async def user(users: UserService) -> User:
    return await users.create(username="ada", email="ada@example.com")


@pytest_asyncio.fixture
async def issued(sessions: RefreshSessionService, user: User) -> IssuedSession:
    return await sessions.create(user_id=user.id)


@pytest.fixture
def expire(engine: AsyncEngine) -> Age:
    """Let a session have expired that long ago."""

    async def move(session_id: UUID, ago: str) -> None:
        async with engine.begin() as connection:
            await connection.execute(
                text(
                    "UPDATE refresh_sessions SET created_at = now() - interval '1 year',"
                    " expires_at = now() - CAST(CAST(:ago AS text) AS interval) WHERE id = :id"
                ),
                {"ago": ago, "id": session_id},
            )

    return move


async def stored(factory: async_sessionmaker[AsyncSession], session_id: UUID) -> RefreshSession:
    async with factory() as session:
        return (await session.scalars(select(RefreshSession).where(RefreshSession.id == session_id))).one()


async def test_only_the_hash_of_the_token_is_stored(
    issued: IssuedSession, session_factory: async_sessionmaker[AsyncSession]
) -> None:
    row = await stored(session_factory, issued.session.id)
    assert row.refresh_token_hash == sha256(issued.refresh_token.encode()).digest()
    assert row.family_hash == sha256(issued.refresh_token.split(".")[1].encode()).digest()
    assert [len(part) for part in issued.refresh_token.split(".")] == [32, 22, 43]  # 16, 16 and 32 bytes
    assert issued.refresh_token not in repr(issued)


async def test_a_session_knows_its_device_and_its_end(
    sessions: RefreshSessionService, user: User, session_factory: async_sessionmaker[AsyncSession]
) -> None:
    issued = await sessions.create(
        user_id=user.id, user_agent="curl/8", ip_address="2001:db8::1", lifetime=timedelta(hours=2)
    )
    row = await stored(session_factory, issued.session.id)
    assert (row.user_id, row.user_agent, row.ip_address) == (user.id, "curl/8", ip_address("2001:db8::1"))
    assert row.expires_at - row.created_at == timedelta(hours=2)
    assert (row.last_used_at, row.revoked_at, row.rotation_counter) == (row.created_at, None, 0)


async def test_two_sessions_never_share_a_token(sessions: RefreshSessionService, user: User) -> None:
    tokens = {(await sessions.create(user_id=user.id)).refresh_token for _ in range(10)}
    assert len(tokens) == 10


async def test_what_cannot_be_a_session_is_refused(sessions: RefreshSessionService, user: User) -> None:
    with pytest.raises(InvalidIpAddressError, match="'junk'"):
        await sessions.create(user_id=user.id, ip_address="junk")
    for lifetime in (timedelta(0), timedelta(seconds=-1), timedelta.max):
        with pytest.raises(InvalidLifetimeError) as caught:
            await sessions.create(user_id=user.id, lifetime=lifetime)
        assert caught.value.lifetime == lifetime


async def test_only_active_users_get_a_session(sessions: RefreshSessionService, users: UserService, user: User) -> None:
    with pytest.raises(UserNotFoundError) as unknown:
        await sessions.create(user_id=404)
    assert unknown.value.user_id == 404
    await users.deactivate(user.id)
    with pytest.raises(UserInactiveError) as inactive:
        await sessions.create(user_id=user.id)
    assert inactive.value.user_id == user.id


async def test_rotation_replaces_the_token(
    sessions: RefreshSessionService, issued: IssuedSession, session_factory: async_sessionmaker[AsyncSession]
) -> None:
    rotated = await sessions.rotate(issued.refresh_token)
    row = await stored(session_factory, issued.session.id)
    assert rotated.refresh_token != issued.refresh_token
    assert row.rotation_counter == rotated.session.rotation_counter == 1
    assert row.last_used_at > issued.session.last_used_at
    assert row.expires_at == issued.session.expires_at

    again = await sessions.rotate(rotated.refresh_token)
    assert again.session.rotation_counter == 2


@pytest.mark.parametrize("rotations", [1, 3])
async def test_a_token_that_comes_again_ends_its_session(
    sessions: RefreshSessionService, issued: IssuedSession, user: User, rotations: int
) -> None:
    other, token = await sessions.create(user_id=user.id), issued.refresh_token
    for _ in range(rotations):
        token = (await sessions.rotate(token)).refresh_token
    with pytest.raises(RefreshTokenReusedError) as caught:
        await sessions.rotate(issued.refresh_token)
    assert caught.value.session_id == issued.session.id
    assert issued.refresh_token not in str(caught.value)
    for refused in (token, issued.refresh_token):
        with pytest.raises(SessionRevokedError):
            await sessions.rotate(refused)
    await sessions.rotate(other.refresh_token)


@pytest.mark.parametrize("part", [0, 1])
async def test_nobody_ends_a_session_of_which_they_have_had_no_token(
    sessions: RefreshSessionService, issued: IssuedSession, part: int
) -> None:
    forged = issued.refresh_token.split(".")
    forged[part] = "0" * len(forged[part])
    for token in (".".join(forged), issued.refresh_token + "x", "", "a.b.c", "\udcff", "x" * 43):
        with pytest.raises(SessionNotFoundError) as caught:
            await sessions.rotate(token)
        assert caught.value.session_id is None
    await sessions.rotate(issued.refresh_token)


async def test_a_token_from_before_there_were_families_rotates_once(
    sessions: RefreshSessionService, issued: IssuedSession, engine: AsyncEngine
) -> None:
    old = "x" * 43
    async with engine.begin() as connection:
        await connection.execute(
            text("UPDATE refresh_sessions SET refresh_token_hash = :hash, family_hash = NULL"),
            {"hash": sha256(old.encode()).digest()},
        )
    new = await sessions.rotate(old)
    assert new.session.id == issued.session.id
    newer = await sessions.rotate(new.refresh_token)
    with pytest.raises(SessionNotFoundError):
        await sessions.rotate(old)
    with pytest.raises(RefreshTokenReusedError):
        await sessions.rotate(new.refresh_token)
    with pytest.raises(SessionRevokedError):
        await sessions.rotate(newer.refresh_token)


async def test_of_concurrent_rotations_of_a_token_one_wins_and_the_session_ends(
    sessions: RefreshSessionService, issued: IssuedSession, session_factory: async_sessionmaker[AsyncSession]
) -> None:
    results = await asyncio.gather(*(sessions.rotate(issued.refresh_token) for _ in range(8)), return_exceptions=True)
    winners = [result for result in results if isinstance(result, IssuedSession)]
    assert len(winners) == 1
    assert sum(isinstance(result, SessionRevokedError) for result in results) == 7
    assert (await stored(session_factory, issued.session.id)).rotation_counter == 1
    with pytest.raises(SessionRevokedError):
        await sessions.rotate(winners[0].refresh_token)


async def test_a_revoked_session_does_not_rotate(sessions: RefreshSessionService, issued: IssuedSession) -> None:
    await sessions.revoke(issued.session.id)
    with pytest.raises(SessionRevokedError) as caught:
        await sessions.rotate(issued.refresh_token)
    assert caught.value.session_id == issued.session.id


async def test_an_expired_session_does_not_rotate(
    sessions: RefreshSessionService, issued: IssuedSession, expire: Age
) -> None:
    await expire(issued.session.id, "1 second")
    with pytest.raises(SessionExpiredError) as caught:
        await sessions.rotate(issued.refresh_token)
    assert caught.value.session_id == issued.session.id


async def test_an_inactive_users_session_does_not_rotate(
    sessions: RefreshSessionService, users: UserService, issued: IssuedSession
) -> None:
    await users.deactivate(issued.session.user_id)
    with pytest.raises(UserInactiveError) as caught:
        await sessions.rotate(issued.refresh_token)
    assert caught.value.user_id == issued.session.user_id


async def test_revoking_twice_keeps_the_first_time(sessions: RefreshSessionService, issued: IssuedSession) -> None:
    first = await sessions.revoke(issued.session.id)
    second = await sessions.revoke(issued.session.id)
    assert first.revoked_at is not None
    assert second.revoked_at == first.revoked_at


async def test_an_unknown_session_cannot_be_revoked(sessions: RefreshSessionService) -> None:
    session_id = uuid4()
    with pytest.raises(SessionNotFoundError) as caught:
        await sessions.revoke(session_id)
    assert caught.value.session_id == session_id


@pytest.mark.parametrize(("days_old", "gone"), [(30, {"31 days"}), (0, {"31 days", "29 days", "1 second"})])
async def test_sessions_go_when_they_expired_long_enough_ago(
    sessions: RefreshSessionService,
    user: User,
    expire: Age,
    session_factory: async_sessionmaker[AsyncSession],
    days_old: int,
    gone: set[str],
) -> None:
    ids: dict[str, UUID] = {}
    for ago in ("31 days", "29 days", "1 second", "-1 hour", "-1 year"):
        ids[ago] = (await sessions.create(user_id=user.id)).session.id
        await expire(ids[ago], ago)
    ids["revoked, not expired"] = (await sessions.create(user_id=user.id)).session.id
    await sessions.revoke(ids["revoked, not expired"])

    report = await sessions.delete_expired(days_old=days_old)

    async with session_factory() as session:
        kept = set(await session.scalars(select(RefreshSession.id)))
    assert {name for name, session_id in ids.items() if session_id not in kept} == gone
    assert (report.policy, report.deleted, report.errors) == ("expired_sessions", len(gone), ())
    assert (await sessions.delete_expired(days_old=days_old)).deleted == 0


@pytest.mark.parametrize("days_old", [-1, 10**6, 10**30])
async def test_an_age_out_of_range_is_refused(sessions: RefreshSessionService, days_old: int) -> None:
    with pytest.raises(InvalidRetentionAgeError) as caught:
        await sessions.delete_expired(days_old=days_old)
    assert caught.value.days_old == days_old
