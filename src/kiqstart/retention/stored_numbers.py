"""Numbers of a kept run, as far as the engine itself writes them: what else a row has there is a stranger's."""

from typing import Annotated, TypeAlias

from pydantic import Field

# What a `bigint` holds.
Count: TypeAlias = Annotated[int, Field(ge=0, le=2**63 - 1)]
Seconds: TypeAlias = Annotated[float, Field(ge=0, allow_inf_nan=False)]
