"""The JSON Schema of a contract file, for editors: `python -m cutover_app.contract.schema` writes it."""

import json
from pathlib import Path

from cutover_app.contract.models import Contract

FILE = Path(__file__).with_name("schema.json")


def schema_text() -> str:
    """Return the schema as the file should have it."""
    schema = Contract.model_json_schema(by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "A contract of Cutover"
    return json.dumps(schema, indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    FILE.write_text(schema_text(), encoding="utf-8")
