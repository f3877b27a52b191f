"""The reference of result files: their JSON Schemas, as files and as a page that says what each key is."""

from __future__ import annotations

import json
from typing import Any

from tadacli.reports.schemas import schemas

PAGE = "schemas/index.md"


def schema_files() -> dict[str, str]:
    """The files by their place in the site: `schemas/NAME.schema.json`, and a page that lists them with their keys."""
    made = schemas()
    files = {f"schemas/{name}.schema.json": json.dumps(schema, indent=2) + "\n" for name, schema in made.items()}
    return files | {PAGE: _page(made)}


def _page(made: dict[str, dict[str, Any]]) -> str:
    parts = [
        "# JSON Schemas",
        "Of each kind of file that is written there is a schema, JSON Schema draft 2020-12, made of the types that the "
        "program writes by. Later versions may add keys; `schema_version` changes when a reader of the last one would "
        "be misled.",
    ]
    for name, schema in made.items():
        parts += [f"## {name}", f"{schema['title']}: [{name}.schema.json]({name}.schema.json)"]
        for kind, keys in _objects(schema):
            rows = "\n".join(f"| `{key}` | {_type(value)} |" for key, value in keys.items())
            parts.append(f"**{kind}**\n\n| key | type |\n| --- | --- |\n{rows}")
    return "\n\n".join(parts) + "\n"


def _objects(schema: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The kinds of objects that a schema has, with the schema of each key."""
    kinds = {schema["title"]: schema} | schema.get("$defs", {})
    return [(name, kind["properties"]) for name, kind in kinds.items() if "properties" in kind]


def _type(schema: dict[str, Any]) -> str:
    """A type in words."""
    if "$ref" in schema:
        return schema["$ref"].rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(map(_type, schema["anyOf"]))
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if schema.get("type") == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_type(schema['additionalProperties'])}"
    return str(schema.get("type", "anything"))
