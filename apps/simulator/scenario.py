"""Scenarios: who connects to the node and does what, read from a small YAML file (docs/simulator.md).

What cannot be read is told in sentences, before anything is sent.
"""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import yaml

from apps.simulator.actions import ACTIONS, Action
from apps.simulator.client import Person, Planned

SHIPPED = Path(__file__).parent / "scenarios"
EXPECTATIONS = ("allowed", "refused")
MOST_CLIENTS = 10_000
MOST_REPEATS = 10_000

_TOP = {"title": str, "keep-alive": float, "rounds": int, "report": str, "clients": list}
_TYPES = {str: "text (put it in quotes)", int: "a whole number", float: "a number", bool: "true or false"}
_TYPES |= {dict: "a mapping", list: "a list"}
_PERSON = {
    "name": str,
    "app": str,
    "address": str,
    "origin": str,
    "token": str,
    "login": str,
    "password": str,
    "custom": dict,
    "sip": dict,
    "start": float,
}
_CLIENT = _PERSON | {"user": object, "count": int, "steps": list}


class ScenarioError(ValueError):
    """The scenario cannot be played. The message says where and why."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario, read: its clients with their steps, counts and placeholders resolved."""

    title: str
    clients: tuple[tuple[Person, tuple[Planned, ...]], ...]
    keep_alive: float = 10.0
    rounds: int = 1
    report: str = "clients"  # or "summary"


def load(path: Path, *, clients: int | None = None, rounds: int | None = None) -> Scenario:
    """Read a file; `clients` and `rounds` replace every count and the rounds it has."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise ScenarioError(f"{path} cannot be read: {reason}.") from error
    scenario = read(text, clients=clients)
    return replace(scenario, rounds=rounds) if rounds else scenario


def read(text: str, *, clients: int | None = None) -> Scenario:
    try:
        parsed = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ScenarioError(f"The scenario is not YAML: {' '.join(str(error).split())}.") from error
    top = _mapping(parsed, "The scenario", _TOP)
    if top.get("report", "clients") not in ("clients", "summary"):
        raise ScenarioError("The scenario: report is clients or summary.")
    if top.get("rounds", 1) < 1:
        raise ScenarioError("The scenario: rounds must be at least 1.")
    entries = enumerate(top.get("clients") or [], 1)
    people = [person for number, entry in entries for person in _clients(number, entry, clients)]
    if not people:
        raise ScenarioError("The scenario has no clients.")
    if len(people) > MOST_CLIENTS:
        raise ScenarioError(f"A scenario has at most {MOST_CLIENTS} clients; this one has {len(people)}.")
    return Scenario(
        title=top.get("title", "A scenario without a title"),
        clients=tuple(_addressed(people)),
        keep_alive=float(top.get("keep-alive", 10.0)),
        rounds=top.get("rounds", 1),
        report=top.get("report", "clients"),
    )


def _clients(number: int, value: object, clients: int | None) -> Iterator[tuple[Person, tuple[Planned, ...]]]:
    """The clients of one entry: as many as its count says."""
    where = f"Client {number}"
    if isinstance(value, dict) and "name" in value:
        where += f" ({value['name']})"
    entry = _mapping(value, where, _CLIENT)
    users = entry.get("user", "")
    users = users if isinstance(users, list) and users else [users]
    if not all(isinstance(user, str) for user in users):
        raise ScenarioError(f"{where}: user must be text or a list of texts.")
    count = entry.get("count", 1)
    if "count" in entry and clients is not None:
        count = clients
    for n in range(1, min(count, MOST_CLIENTS + 1) + 1):
        known = {"{n}": str(n), "{user}": users[(n - 1) % len(users)]}
        mine = _filled(entry, known)
        name = mine.get("name") or known["{user}"] or f"client{number}"
        person = {field.name: mine[field.name] for field in fields(Person) if field.name in mine}
        steps = _filled(mine.get("steps") or [], {"{name}": name})
        yield Person(**person | {"name": name}), tuple(_steps(steps, where))


def _addressed(
    people: list[tuple[Person, tuple[Planned, ...]]],
) -> Iterator[tuple[Person, tuple[Planned, ...]]]:
    """Everyone without an address gets one of their own."""
    for index, (person, steps) in enumerate(people):
        if not person.address:
            person = replace(person, address=f"10.20.{index // 250}.{index % 250 + 1}")
        yield person, steps


def _steps(values: list[Any], where: str) -> Iterator[Planned]:
    for number, value in enumerate(values, 1):
        here = f"{where}, step {number}"
        if isinstance(value, dict) and "repeat" in value:
            yield from _repeated(value, here)
        else:
            yield _step(value, here)


def _repeated(value: dict[str, Any], where: str) -> Iterator[Planned]:
    block = _mapping(value, where, {"repeat": int, "steps": list})
    if not 1 <= block["repeat"] <= MOST_REPEATS:
        raise ScenarioError(f"{where}: repeat must be between 1 and {MOST_REPEATS}.")
    steps = list(_steps(block.get("steps") or [], where))
    for _ in range(block["repeat"]):
        yield from steps


def _step(value: object, where: str) -> Planned:
    step = {value: None} if isinstance(value, str) else value
    if not isinstance(step, dict):
        raise ScenarioError(f"{where}: a step is an action, like “connect” or “play: lobby”.")
    names = [name for name in step if name != "expect"]
    if len(names) != 1:
        raise ScenarioError(f"{where}: a step has one action; this one has {len(names)}.")
    action = ACTIONS.get(names[0])
    if action is None:
        known = ", ".join(sorted(ACTIONS))
        raise ScenarioError(f"{where}: there is no action “{names[0]}”. Actions: {known}.")
    expect = step.get("expect")
    if expect is not None and expect not in EXPECTATIONS:
        raise ScenarioError(f"{where}: expect is {' or '.join(EXPECTATIONS)}, not “{expect}”.")
    return Planned(action, _options(action, step[names[0]], f"{where} ({action.name})"), expect)


def _options(action: Action, value: object, where: str) -> dict[str, Any]:
    """The options of a step, each of the type that the action's function declares."""
    parameters = {parameter.name: parameter for parameter in action.parameters}
    takes_anything = any(parameter.annotation is object for parameter in parameters.values())
    if value is None and not takes_anything:
        given: dict[str, Any] = {}
    elif isinstance(value, dict) and not takes_anything:
        given = {str(name).replace("-", "_"): option for name, option in value.items()}
    elif parameters:
        given = {next(iter(parameters)): value}
    else:
        raise ScenarioError(f"{where}: takes no options.")
    for name, option in given.items():
        if name not in parameters:
            raise ScenarioError(f"{where}: has no option “{_dashed(name)}”{_choice(parameters)}.")
        _check(option, _type(parameters[name]), f"{where}: {_dashed(name)}")
    for name, parameter in parameters.items():
        if parameter.default is inspect.Parameter.empty and name not in given:
            raise ScenarioError(f"{where}: needs {_dashed(name)}.")
    return given


def _type(parameter: inspect.Parameter) -> type:
    """str, int, float, bool, dict, or object for anything."""
    annotation = parameter.annotation
    return annotation if isinstance(annotation, type) and annotation in (*_TYPES, object) else dict


def _mapping(value: object, where: str, members: dict[str, type]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ScenarioError(f"{where}: expected a mapping of {', '.join(members)}.")
    for name, member in value.items():
        if name not in members:
            raise ScenarioError(f"{where}: there is no “{name}” here; there are {', '.join(members)}.")
        if not (member is None and name == "origin"):
            _check(member, members[name], f"{where}: {name}")
    return value


def _check(value: object, kind: type, where: str) -> None:
    if not _is(value, kind):
        raise ScenarioError(f"{where} must be {_TYPES[kind]}.")
    if isinstance(value, int | float) and value < 0:
        raise ScenarioError(f"{where} must not be negative.")


def _is(value: object, kind: type) -> bool:
    if isinstance(value, bool):
        return kind in (bool, object)
    return isinstance(value, int | float if kind is float else kind)


def _filled(value: Any, known: dict[str, str]) -> Any:
    """The value with the placeholders {n}, {user} and {name} replaced in every text."""
    if isinstance(value, str):
        for placeholder, text in known.items():
            value = value.replace(placeholder, text)
        return value
    if isinstance(value, list):
        return [_filled(item, known) for item in value]
    if isinstance(value, dict):
        return {name: _filled(item, known) for name, item in value.items()}
    return value


def _choice(parameters: dict[str, inspect.Parameter]) -> str:
    return f"; it has {', '.join(map(_dashed, parameters))}" if parameters else ""


def _dashed(name: str) -> str:
    return name.replace("_", "-")
