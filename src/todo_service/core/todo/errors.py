"""What can go wrong with todos."""


class TodoError(Exception):
    """Base of the errors of todos."""


class InvalidTitleError(TodoError, ValueError):
    """The title is empty or blank."""

    def __init__(self, title: str) -> None:
        super().__init__(f"a todo's title cannot be blank: {title!r}")
        self.title = title


class TodoNotFoundError(TodoError):
    """There is no such todo."""

    def __init__(self, todo_id: int) -> None:
        super().__init__(f"there is no todo {todo_id}")
        self.todo_id = todo_id
