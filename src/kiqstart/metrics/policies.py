"""The retention policies of which there are figures before any of them has run."""

from logging import getLogger
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kiqstart.retention.policies import RetentionPolicies

logger = getLogger(__name__)


def names_of(retention: "RetentionPolicies | None") -> list[str]:
    """Their names; none where the application has none, or cannot say."""
    try:
        return [] if retention is None else [one.name for one in retention.all()]
    except Exception as error:  # noqa: BLE001  # the application's own code
        logger.warning("The retention policies cannot be named: %s: %s", type(error).__name__, error)
        return []
