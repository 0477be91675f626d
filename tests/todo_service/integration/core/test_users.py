import asyncio

import pytest

from todo_service.core.user.errors import InvalidUsernameError, UsernameTakenError, UserNotFoundError
from todo_service.core.user.models import User
from todo_service.core.user.service import UserService


async def test_a_created_user_is_active_and_found(users: UserService) -> None:
    created = await users.create(username="ada", email="ada@example.com")
    found = await users.get(created.id)
    assert (found.username, found.email, found.is_active) == ("ada", "ada@example.com", True)
    assert found.created_at.utcoffset() is not None


async def test_a_taken_name_is_refused(users: UserService) -> None:
    await users.create(username="ada", email="ada@example.com")
    with pytest.raises(UsernameTakenError) as caught:
        await users.create(username="ada", email="other@example.com")
    assert caught.value.username == "ada"


async def test_of_many_who_want_a_name_at_once_one_gets_it(users: UserService) -> None:
    results = await asyncio.gather(
        *(users.create(username="ada", email=f"{number}@example.com") for number in range(8)), return_exceptions=True
    )
    assert sum(isinstance(result, User) for result in results) == 1
    assert sum(isinstance(result, UsernameTakenError) for result in results) == 7


@pytest.mark.parametrize("username", ["", "  \t"])
async def test_a_blank_name_is_refused(users: UserService, username: str) -> None:
    with pytest.raises(InvalidUsernameError) as caught:
        await users.create(username=username, email="ada@example.com")
    assert caught.value.username == username


async def test_an_unknown_user_is_named_in_the_error(users: UserService) -> None:
    for call in (users.get, users.deactivate):
        with pytest.raises(UserNotFoundError) as caught:
            await call(404)
        assert caught.value.user_id == 404


async def test_active_users_come_in_pages_by_id(users: UserService) -> None:
    created = [(await users.create(username=f"user{number}", email="")).id for number in range(5)]
    await users.deactivate(created[1])
    active = [created[0], created[2], created[3], created[4]]

    first = await users.list_active(limit=3)
    second = await users.list_active(after_id=first[-1].id, limit=3)

    assert [user.id for user in (*first, *second)] == active
    assert await users.count_active() == 4


async def test_deactivating_twice_changes_nothing(users: UserService) -> None:
    user = await users.create(username="ada", email="")
    await users.deactivate(user.id)
    assert (await users.deactivate(user.id)).is_active is False
    assert (await users.get(user.id)).is_active is False
