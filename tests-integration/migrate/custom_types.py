"""Types of a project."""

from __future__ import annotations

import enum

import sqlalchemy as sa
from sqlalchemy.types import TypeDecorator

__all__ = ["Light", "Secret"]


class Colour(enum.Enum):
    red = "red"
    green = "green"


class Light(TypeDecorator[Colour]):
    """A decorator around an enum, which is a type of its own on PostgreSQL."""

    impl = sa.Enum(Colour, name="colour")
    cache_ok = True


class Secret(TypeDecorator[str]):
    """A decorator whose key must not end up in a revision file."""

    impl = sa.String
    cache_ok = True

    def __init__(self, key: str, length: int) -> None:
        super().__init__(length)
        self.key = key
