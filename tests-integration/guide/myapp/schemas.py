"""What the guide's handwritten route takes."""

from __future__ import annotations

from pydantic import BaseModel


class UserCreate(BaseModel):
    email: str
    name: str | None = None
