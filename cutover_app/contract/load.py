"""Reads a contract file, and says of a bad one everything that is wrong, each with its line."""

import difflib
import os
import re
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from cutover_app.contract.errors import ContractError, Problem, SettingError
from cutover_app.contract.models import Contract, PythonRebuild
from cutover_app.contract.yaml_file import Place, YamlFile, dotted, read_yaml

FILE_ENV: Final = "CUTOVER_CONTRACT"
FILE_DEFAULT: Final = "cutover.yaml"
BROKER_ENV: Final = "CUTOVER_BROKER"
LEGACY_BROKER_ENV: Final = "CUTOVER_LEGACY_BROKER"
"""Overrides `legacy.broker` or `legacy.mirror.broker`, whichever the contract has."""

_PATTERNS: Final = {
    "contract": "expected at most 64 letters, digits and . _ - that begin with a letter or digit",
    "run": "expected at most 64 letters, digits and . _ - that begin with a letter or digit",
    "topic": "expected letters, digits and . _ -",
    "python": "expected module:function",
    "until": "expected a day like 2027-01-31",
}
_DICTIONARY: Final = re.compile(r"a valid dictionary(?: or instance of \w+)?")
_TOO_SHORT: Final = re.compile(r"^\w+ should have at least (\d+ items?) after validation, not \d+")

_FOUND_CHARS_MAX: Final = 60


def contract_path(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the contract file that the environment names, or the default one."""
    return Path(environ.get(FILE_ENV) or FILE_DEFAULT)


def load_contract(path: Path | str | None = None, environ: Mapping[str, str] = os.environ) -> Contract:
    """Read the contract file; raises `ContractError`."""
    file = Path(path) if path is not None else contract_path(environ)
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        hint = f"no such contract file; name one by {FILE_ENV}"
        raise ContractError(Problem(str(file), 0, "", hint)) from None
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ContractError(Problem(str(file), 0, "", f"cannot be read: {reason}")) from None
    contract = parse_contract(text, str(file), environ)
    contract._folder = file.resolve().parent  # noqa: SLF001 - the loader fills it in
    return contract


def parse_contract(text: str, name: str = FILE_DEFAULT, environ: Mapping[str, str] = os.environ) -> Contract:
    """Read a contract from its text; `name` is what errors call the file."""
    file = read_yaml(text, name)
    if not isinstance(file.value, dict):
        raise ContractError(Problem(name, 1, "", "expected settings (`contract: orders` ...)"))
    settings, named = _override(file.value, environ)
    try:
        contract = Contract.model_validate(settings)
    except ValidationError as error:
        found = {_problem(each, file, named): None for each in error.errors()}
        raise ContractError(*sorted(found, key=lambda each: each.line)) from None
    unsupported = list(_unsupported(contract, file))
    if unsupported:
        raise ContractError(*unsupported)
    contract._file = name  # noqa: SLF001 - the loader fills it in
    contract._rebuild_line = file.line(("rebuild", "python"))  # noqa: SLF001 - the loader fills it in
    contract._security_lines = {  # noqa: SLF001 - the loader fills it in
        dotted(place): line for place, line in file.lines.items() if "security" in place[:3]
    }
    return contract


def _override(settings: dict[str, Any], environ: Mapping[str, str]) -> tuple[dict[str, Any], dict[Place, str]]:
    """Put the addresses of the environment in; return the settings, and which variable a place has its value from."""
    named: dict[Place, str] = {}
    if address := environ.get(BROKER_ENV):
        settings = {**settings, "broker": address}
        named["broker",] = BROKER_ENV
    legacy = settings.get("legacy")
    if isinstance(legacy, dict) and (address := environ.get(LEGACY_BROKER_ENV)):
        if isinstance(mirror := legacy.get("mirror"), dict):
            settings = {**settings, "legacy": {**legacy, "mirror": {**mirror, "broker": address}}}
            named["legacy", "mirror", "broker"] = LEGACY_BROKER_ENV
        elif "broker" in legacy:
            settings = {**settings, "legacy": {**legacy, "broker": address}}
            named["legacy", "broker"] = LEGACY_BROKER_ENV
    return settings, named


def _problem(error: ErrorDetails, file: YamlFile, named: Mapping[Place, str]) -> Problem:
    # Names in angle brackets are ours, for the alternatives of `rebuild`: the file has no such level.
    place: Place = tuple(step for step in error["loc"] if not (isinstance(step, str) and step.startswith("<")))
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, SettingError):
        place = (*place, *cause.place)
    variable = next((name for at, name in named.items() if place[: len(at)] == at), None)
    if variable is not None:
        return Problem(variable, 0, "", _text(error, place))
    place = _as_written(place, file)
    return Problem(file.name, file.line(place), dotted(place), _text(error, place))


def _as_written(place: Place, file: YamlFile) -> Place:
    """Drop what pydantic appends to name an alternative; `[key]` marks a key itself."""
    while len(place) > 1 and place not in file.lines and place[:-1] not in file.lines:
        place = place[:-1]
    return place


def _text(error: ErrorDetails, place: Place) -> str:
    kind, message = error["type"], error["msg"]
    if kind == "missing":
        return "required, and absent"
    if kind == "extra_forbidden":
        return _unknown_key(place)
    if kind == "value_error":
        return message.removeprefix("Value error, ")
    if kind == "string_pattern_mismatch" and place[-1:] == ("broker",):
        return "expected kafka://host:port, without a user or password"
    if kind == "string_pattern_mismatch" and place[-1] in _PATTERNS:
        text = _PATTERNS[str(place[-1])]
    else:
        text = message.replace("Input should be ", "expected ").replace("Input should ", "expected to ")
        text = _DICTIONARY.sub("a mapping", text).replace("a valid ", "a ")
        text = _TOO_SHORT.sub(r"expected at least \1", text)
    if "security" in place:
        return text  # what was found may be a secret that was put where its name belongs
    return f"{text}, found {_found(error['input'])}"


def _found(value: Any) -> str:
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    text = {None: "null", True: "true", False: "false"}.get(value) if _is_word(value) else None
    text = text or str(value)
    return text if len(text) <= _FOUND_CHARS_MAX else text[:_FOUND_CHARS_MAX] + "…"


def _is_word(value: Any) -> bool:
    return value is None or isinstance(value, bool)


def _unknown_key(place: Place) -> str:
    known = sorted(_settings_at(Contract, place[:-1]))
    near = difflib.get_close_matches(str(place[-1]), known, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"unknown key; {hint}expected one of {', '.join(known)}"


def _settings_at(model: Any, place: Place) -> list[str]:
    """Return the settings that there are at a place."""
    for step in place:
        model = _step_into(model, step)
    models = list(_models_in(model))
    return [f.alias or name for each in models for name, f in each.model_fields.items()]


def _step_into(annotation: Any, step: str | int) -> Any:
    for model in _models_in(annotation):
        for name, field in model.model_fields.items():
            if step in {name, field.alias}:
                return field.annotation
    for part in _parts(annotation):
        if get_origin(part) in {dict, list}:
            return get_args(part)[-1]
    return None


def _parts(annotation: Any) -> Iterator[Any]:
    """Yield the alternatives of an annotation, without what only decorates them."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _parts(get_args(annotation)[0])
    elif origin is types.UnionType or str(origin) == "typing.Union":
        for each in get_args(annotation):
            yield from _parts(each)
    else:
        yield annotation


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    for part in _parts(annotation):
        if isinstance(part, type) and issubclass(part, BaseModel) and part is not PythonRebuild:
            yield part


def _unsupported(contract: Contract, file: YamlFile) -> Iterator[Problem]:
    """Yield the settings that this version would not honour."""
    asked: list[tuple[Place, bool]] = [
        (("legacy", "format"), contract.legacy.format != "json"),
        (("rebuilt", "format"), contract.rebuilt.format != "json"),
        (("verdicts", "format"), contract.verdicts.format != "json"),
        (("match", "kafka_key"), contract.match.kafka_key),
    ]
    for place, wanted in asked:
        if wanted:
            text = f"not supported yet: {_INSTEAD.get(place, 'leave it out')}"
            yield Problem(file.name, file.line(place), dotted(place), text)


_INSTEAD: Final[dict[Place, str]] = {
    ("legacy", "format"): "expected json",
    ("rebuilt", "format"): "expected json",
    ("verdicts", "format"): "expected json",
}
