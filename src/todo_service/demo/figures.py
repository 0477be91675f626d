"""What each clean-up did, checked against the database."""

from dataclasses import dataclass

from todo_service.demo.errors import DemoError


@dataclass(frozen=True, kw_only=True)
class Figures:
    """One clean-up.

    Args:
        title: who sent what.
        found: rows that the database counted as due before.
        deleted: rows that the task reports.
        before: all rows of the table before, counted by the database.
        kept: all rows of the table afterwards, counted by the database.
        left: rows that the database still counts as due afterwards.
        seconds: how long the task ran, as taskiq measured it, in hundredths.
    """

    title: str
    found: int
    deleted: int
    before: int
    kept: int
    left: int
    seconds: float

    @property
    def rows_per_second(self) -> float:
        """Deleted rows by time."""
        return self.deleted / self.seconds if self.seconds else 0.0

    def check(self) -> None:
        """Compare what the task reports with what the database counted.

        Raises:
            DemoError: they do not agree to the row.
        """
        if not (self.found == self.deleted == self.before - self.kept and self.left == 0):
            raise DemoError(
                f"{self.title}: the task reports {self.deleted} deleted rows, but the database counted {self.found} to "
                f"delete, {self.before - self.kept} fewer afterwards and {self.left} left: please report this"
            )
