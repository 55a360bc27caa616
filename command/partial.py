"""Bodies of PATCH: what is given changes, at least one thing is given, and null is no value of anything."""

from typing import Any

from pydantic import ConfigDict, model_validator

from command.edge import Body


class PartialBody(Body):
    """A body whose fields all default to ``None``, which stands for: leave it as it is."""

    @model_validator(mode="after")
    def _changes_something(self) -> "PartialBody":
        given = [getattr(self, name) for name in self.model_fields_set]
        if not given or None in given:
            raise ValueError(f"give at least one of {', '.join(type(self).model_fields)}, and none of them null")
        return self


def partial_example(**fields: Any) -> ConfigDict:
    """Model configuration: what such a body may look like, in a schema that has no null."""

    def completed(schema: dict[str, Any]) -> None:
        for name, property_schema in schema["properties"].items():
            given, _null = property_schema["anyOf"]
            schema["properties"][name] = {"title": property_schema["title"], **given}
        schema |= {"minProperties": 1, "example": fields}

    return ConfigDict(json_schema_extra=completed)
