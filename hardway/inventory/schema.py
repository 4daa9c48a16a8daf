"""The inventory's JSON Schema, for editors: completion, and red lines while one types."""

from typing import Any

from hardway.inventory.shape import InventoryShape
from hardway.values import ROLES


def json_schema() -> dict[str, Any]:
    """JSON Schema, draft 2020-12, of an inventory file; the short forms of machines and roles included."""
    schema = InventoryShape.model_json_schema()
    definitions = {name.removesuffix("Shape"): body for name, body in schema.pop("$defs").items()}
    names = {"type": "string", "enum": list(ROLES)}
    several = {"type": "array", "items": names, "minItems": 1, "uniqueItems": True}
    properties = definitions["Machine"]["properties"]
    properties["role"] = {"anyOf": [names, several], "description": properties["role"]["description"]}
    machine = {"anyOf": [names, several, {"$ref": "#/$defs/Machine"}]}
    schema["properties"]["machines"]["additionalProperties"] = machine
    schema |= {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "hardway inventory"}
    whole: dict[str, Any] = _renamed({**schema, "$defs": definitions})
    return whole


def _renamed(node: Any) -> Any:
    """References to definitions by their public names, and no titles that only repeat a key."""
    if isinstance(node, list):
        return [_renamed(item) for item in node]
    if not isinstance(node, dict):
        return node
    renamed = {key: _renamed(value) for key, value in node.items()}
    if isinstance(node.get("$ref"), str):
        renamed["$ref"] = node["$ref"].removesuffix("Shape")
    if isinstance(node.get("title"), str) and node["title"] != "hardway inventory":
        del renamed["title"]
    return renamed
