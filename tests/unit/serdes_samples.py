"""Classes whose values the tests of the serdes write and read."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import Enum, IntEnum, IntFlag, StrEnum
from typing import Any, Generic, NamedTuple, NewType, TypedDict, TypeVar

import msgspec
import pydantic

from durably.batch_result import BatchResult

T = TypeVar("T")

OrderId = NewType("OrderId", str)


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Mood(StrEnum):
    GOOD = "good"


class Right(IntFlag):
    READ = 1
    WRITE = 2


class Ratio(Enum):
    """Values that are neither all text nor all whole numbers."""

    HALF = 0.5
    WHOLE = "whole"


@dataclass
class Order:
    id: str
    amount: Decimal
    at: datetime
    tags: set[str] = field(default_factory=set)
    note: str | None = None


@dataclass(frozen=True)
class Cat:
    lives: int


@dataclass(frozen=True)
class Dog:
    name: str
    friend: Cat | Dog | None = None


@dataclass(frozen=True)
class Kennel:
    """A field that msgspec cannot read as a whole, in several containers."""

    animals: list[Cat | Dog]
    by_name: dict[str, Cat | Dog]
    pair: tuple[Cat | Dog, int]
    many: tuple[Cat | Dog, ...]
    unordered: frozenset[Cat | Dog]


@dataclass
class Doubling:
    """A class that changes what it is given."""

    animal: Cat | Dog
    number: int

    def __post_init__(self) -> None:
        self.number *= 2


@dataclass
class Growing:
    """Another one."""

    numbers: list[int]

    def __post_init__(self) -> None:
        self.numbers.append(0)


@dataclass
class Loose:
    """A member that its annotation leaves open."""

    anything: Any


@dataclass
class Cached:
    """A member that does not count when two are compared."""

    number: int
    seen: list[int] = field(default_factory=list, compare=False)


@dataclass
class Box(Generic[T]):
    content: T


@dataclass
class Holder:
    batch: BatchResult[int]


class Point(NamedTuple):
    x: int
    y: int = 0


class Address(TypedDict, total=False):
    street: str
    number: int


class Parcel(msgspec.Struct, rename="camel"):
    parcel_id: str
    weight: float = 1.0


class TaggedLeft(msgspec.Struct, tag=True):
    x: int


class TaggedRight(msgspec.Struct, tag=True):
    x: int


class Customer(pydantic.BaseModel):
    customer_id: str = pydantic.Field(alias="customerId")
    since: datetime
    limit: Decimal = Decimal("1.50")


class Shy(pydantic.BaseModel):
    """A member that pydantic leaves out."""

    name: str
    secret: str = pydantic.Field(default="", exclude=True)


class Plain:
    """A class that says nothing of its members."""
