"""Base of the file schemas: unknown fields, coercions and changes after reading are refused."""

from pydantic import BaseModel, ConfigDict, ValidationError


class ClosedModel(BaseModel):
    """A pydantic model with no fields but its own, strict types and frozen values."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def first_problem(error: ValidationError) -> str:
    """The first field that a schema refused and why, such as `/plan/preset: no such preset`."""
    first = error.errors()[0]
    return f"/{'/'.join(str(part) for part in first['loc'])}: {first['msg']}"
