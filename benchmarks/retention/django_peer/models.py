"""The service's tables as Django models; their schema is not Django's to manage."""

from django.db import models


class User(models.Model):
    """A user."""

    id = models.BigAutoField(primary_key=True)
    is_active = models.BooleanField()

    class Meta:
        """Where it is."""

        app_label = "peer"
        managed = False
        db_table = "users"

    def __str__(self) -> str:
        return f"user {self.id}"


class RefreshSession(models.Model):
    """A refresh session."""

    id = models.UUIDField(primary_key=True)
    user = models.ForeignKey(User, on_delete=models.CASCADE)
    expires_at = models.DateTimeField()

    class Meta:
        """Where it is."""

        app_label = "peer"
        managed = False
        db_table = "refresh_sessions"

    def __str__(self) -> str:
        return f"session {self.id}"


class Todo(models.Model):
    """A todo."""

    id = models.BigAutoField(primary_key=True)
    user = models.ForeignKey(User, on_delete=models.CASCADE)
    is_completed = models.BooleanField()

    class Meta:
        """Where it is."""

        app_label = "peer"
        managed = False
        db_table = "todos"

    def __str__(self) -> str:
        return f"todo {self.id}"
