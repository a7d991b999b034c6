"""What every section of a recipe is made of."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]
"""A part of a whole, 0 to 1."""


Place = tuple[str | int, ...]
"""Keys and list positions from the root of a recipe to a value."""


class MisfitError(ValueError):
    """Sections that are right by themselves do not fit together: what is wrong at which place."""

    def __init__(self, problems: list[tuple[Place, str]]) -> None:
        super().__init__("; ".join(f"{'.'.join(map(str, place))}: {message}" for place, message in problems))
        self.problems = problems


class Section(BaseModel):
    """A frozen group of keys; an unknown key is an error."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        use_attribute_docstrings=True,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
    )


def exactly_one(section: BaseModel, *names: str) -> None:
    """ValueError unless exactly one of the fields is given."""
    values = section.model_dump(include={"import_" if name == "import" else name for name in names}, by_alias=True)
    given = [name for name in names if values[name] is not None]
    if len(given) != 1:
        raise ValueError(f"give exactly one of {', '.join(names)}; found {' and '.join(given) or 'none of them'}")
