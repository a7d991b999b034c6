"""The JSON schema of recipes, for editors: `# yaml-language-server: $schema=recipe.schema.json`."""

from typing import Any

import filters
from distill.recipe import Recipe


def recipe_schema() -> dict[str, Any]:
    """Schema of a whole recipe, every filter's parameters included."""
    schema = Recipe.model_json_schema(by_alias=True)
    entries: list[dict[str, Any]] = []
    for name in filters.available():
        cls = filters.filter_class(name)
        parameters = cls.parameters_schema({"$ref": "#/$defs/FilterEntry"})
        promise = (cls.__doc__ or "").strip().splitlines()[0]
        schema["$defs"].update(parameters.pop("$defs", {}))
        entries.append({"const": name, "description": promise})
        entries.append(
            {
                "type": "object",
                "description": promise,
                "properties": {name: {"anyOf": [parameters, {"type": "null"}]}},
                "required": [name],
                "additionalProperties": False,
            }
        )
    schema["$defs"]["FilterEntry"] = {"anyOf": entries}
    schema["properties"]["verdicts"]["items"] = {"$ref": "#/$defs/FilterEntry"}
    schema["$defs"]["Filter"] = {"$ref": "#/$defs/FilterEntry"}  # the abstract one; entries name the real ones
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "distill recipe", **schema}
