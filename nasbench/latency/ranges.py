"""The ranges of the numbers that a device profile may hold."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

LARGEST = 1e18
STRICT = {"extra": "forbid", "allow_inf_nan": False}  # pydantic, when a file holds a dataclass
Positive = Annotated[float, Field(gt=0, le=LARGEST)]  # milliseconds, bytes, joules
Amount = Annotated[float, Field(ge=0, le=LARGEST)]
Signed = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]
Share = Annotated[float, Field(ge=0, le=1)]
Few = Annotated[int, Field(ge=1, le=10**6)]  # threads, cores, passes
Many = Annotated[int, Field(ge=0, le=10**15)]  # runs, elements, classes
Log = Annotated[float, Field(ge=-50, le=50)]
HalfWidth = Annotated[float, Field(ge=0, le=10)]  # of an interval, in the logarithm
Node = Annotated[int, Field(ge=-1, le=10**8)]
