"""The schema of verdicts that is shipped."""

import json

import jsonschema
import pytest

from cutover_app.codec.verdict_schema import FILE, verdict_schema
from cutover_app.core.verdicts import encode_verdict
from tests.core.history import Log, entry


def test_the_shipped_schema_is_the_current_one() -> None:
    """After a change of the type the file is written anew: `python -m cutover_app.codec.verdict_schema`."""
    assert verdict_schema() == json.loads(FILE.read_text())


def test_verdicts_are_as_the_schema_says() -> None:
    """What is published is valid, whatever its outcome."""
    log = Log(unique=True)
    log.legacy(entry(0, "a=1"), entry(1, "b=1"))
    log.rebuilt(entry(0, "a=2"), entry(1, "c=1"), entry(2, "", kind=1, payload=b"not JSON"))
    log.pass_time(10)
    log.settle()
    outcomes = set()
    for verdict in log.history:
        jsonschema.validate(json.loads(encode_verdict(verdict)), verdict_schema())
        outcomes.add(verdict.outcome)

    assert {"mismatch", "missing", "unknown", "undecodable"} == outcomes


def test_another_outcome_is_refused() -> None:
    """The schema is no formality: an outcome that does not exist is not valid."""
    log = Log()
    log.rebuilt(entry(0, "a=1"))
    log.pass_time(10)
    log.settle()
    said = json.loads(encode_verdict(log.history[0])) | {"outcome": "fine"}

    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(said, verdict_schema())
