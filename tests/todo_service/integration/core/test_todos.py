import pytest
import pytest_asyncio

from todo_service.core.todo.errors import InvalidTitleError, TodoNotFoundError
from todo_service.core.todo.service import TodoService
from todo_service.core.user.errors import UserNotFoundError
from todo_service.core.user.models import User
from todo_service.core.user.service import UserService


@pytest_asyncio.fixture
async def user(users: UserService) -> User:
    return await users.create(username="ada", email="ada@example.com")


async def test_a_created_todo_is_not_completed(todos: TodoService, user: User) -> None:
    todo = await todos.create(user_id=user.id, title="write")
    assert (todo.user_id, todo.title, todo.is_completed, todo.completed_at) == (user.id, "write", False, None)


async def test_completing_twice_keeps_the_first_time(todos: TodoService, user: User) -> None:
    todo = await todos.create(user_id=user.id, title="write")
    first = await todos.complete(todo.id)
    second = await todos.complete(todo.id)
    assert first.is_completed
    assert first.completed_at is not None
    assert second.completed_at == first.completed_at


async def test_a_users_todos_come_newest_first_in_pages(todos: TodoService, users: UserService, user: User) -> None:
    other = await users.create(username="bob", email="")
    for number in range(5):
        await todos.create(user_id=user.id, title=f"todo {number}")
        await todos.create(user_id=other.id, title="not hers")

    first = await todos.list_for_user(user.id, limit=3)
    second = await todos.list_for_user(user.id, limit=3, before_id=first[-1].id)

    assert [todo.title for todo in first] == ["todo 4", "todo 3", "todo 2"]
    assert [todo.title for todo in second] == ["todo 1", "todo 0"]


async def test_what_cannot_be_a_todo_is_refused(todos: TodoService, user: User) -> None:
    with pytest.raises(InvalidTitleError) as blank:
        await todos.create(user_id=user.id, title=" ")
    assert blank.value.title == " "
    with pytest.raises(UserNotFoundError) as unknown:
        await todos.create(user_id=404, title="write")
    assert unknown.value.user_id == 404


async def test_an_unknown_todo_is_named_in_the_error(todos: TodoService) -> None:
    with pytest.raises(TodoNotFoundError) as caught:
        await todos.complete(404)
    assert caught.value.todo_id == 404


async def test_completed_todos_of_active_users_go(todos: TodoService, users: UserService, user: User) -> None:
    inactive = await users.create(username="bob", email="")
    kept: list[int] = []
    for owner in (user, inactive):
        for number in range(4):
            todo = await todos.create(user_id=owner.id, title=f"todo {number}")
            if number % 2:
                await todos.complete(todo.id)
            if owner is inactive or not number % 2:
                kept.append(todo.id)
    await users.deactivate(inactive.id)

    report = await todos.delete_completed()

    left = [*await todos.list_for_user(user.id), *await todos.list_for_user(inactive.id)]
    assert sorted(todo.id for todo in left) == sorted(kept)
    assert (report.policy, report.deleted, report.errors) == ("completed_todos", 2, ())
    assert (await todos.delete_completed()).deleted == 0
