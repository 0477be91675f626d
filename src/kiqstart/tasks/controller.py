"""The one-method contract of everything that delivers work to the core."""

from abc import ABC, abstractmethod

from taskiq import AsyncBroker


class Controller(ABC):
    """Registers its methods as tasks.

    A controller with dependencies is a `@dataclass(frozen=True, kw_only=True)` that names them as fields; the container
    fills them in. One without dependencies needs no decorator.
    """

    @abstractmethod
    def register(self, registry: AsyncBroker) -> None:
        """Register each task of this controller on the broker."""
