"""The ranges of the numbers that a device profile may hold."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

LARGEST = 1e18
STRICT = {"extra": "forbid", "allow_inf_nan": False}  # pydantic configuration of a dataclass read from a file
Positive = Annotated[float, Field(gt=0, le=LARGEST)]  # milliseconds, bytes, joules
Amount = Annotated[float, Field(ge=0, le=LARGEST)]
Signed = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]
Share = Annotated[float, Field(ge=0, le=1)]
PositiveCount = Annotated[int, Field(ge=1, le=10**6)]  # threads, cores, classes, versions
Count = Annotated[int, Field(ge=0, le=10**15)]  # runs, passes, elements
LogRatio = Annotated[float, Field(ge=-50, le=50)]  # natural logarithm
LogHalfWidth = Annotated[float, Field(ge=0, le=10)]  # of an interval, natural logarithm
NodeIndex = Annotated[int, Field(ge=-1, le=10**8)]  # of a tree's node or feature; -1 for none
