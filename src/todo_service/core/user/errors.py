"""What can go wrong with users."""


class UserError(Exception):
    """Base of the errors of users."""


class InvalidUsernameError(UserError, ValueError):
    """The name is empty or blank."""

    def __init__(self, username: str) -> None:
        super().__init__(f"a username cannot be blank: {username!r}")
        self.username = username


class UsernameTakenError(UserError):
    """Another user has the name."""

    def __init__(self, username: str) -> None:
        super().__init__(f"the username {username!r} is taken")
        self.username = username


class UserNotFoundError(UserError):
    """There is no such user."""

    def __init__(self, user_id: int) -> None:
        super().__init__(f"there is no user {user_id}")
        self.user_id = user_id


class UserInactiveError(UserError):
    """The user is deactivated."""

    def __init__(self, user_id: int) -> None:
        super().__init__(f"user {user_id} is inactive")
        self.user_id = user_id
