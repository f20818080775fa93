"""The JSON Schema of a verdict, made from its type. `python -m cutover_app.codec.verdict_schema` writes it anew."""

from pathlib import Path
from typing import Any, Final

import msgspec

from cutover_app.core.verdicts import FINDING_KINDS, OUTCOMES, VERSION, Verdict

FILE: Final = Path(__file__).with_name("verdict.schema.json")


def verdict_schema() -> dict[str, Any]:
    """Return the schema of the value of a record of the verdicts topic."""
    (_,), parts = msgspec.json.schema_components([Verdict], ref_template="#/$defs/{name}")
    verdict = parts.pop("Verdict")
    verdict["properties"] = {"v": {"const": VERSION}} | verdict["properties"]
    verdict["properties"]["outcome"] = {"enum": list(OUTCOMES)}
    verdict["required"] = ["v", *verdict["required"]]
    parts["Finding"]["properties"]["kind"] = {"enum": list(FINDING_KINDS)}
    whole: dict[str, Any] = {"$schema": "https://json-schema.org/draft/2020-12/schema", **verdict, "$defs": parts}
    read_again: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(whole))
    return read_again


def write_schema() -> None:
    """Write the file that is shipped."""
    FILE.write_bytes(msgspec.json.format(msgspec.json.encode(verdict_schema()), indent=2) + b"\n")


if __name__ == "__main__":
    write_schema()
