"""docs/simulator.md names every action with its options, every member of a scenario and every option."""

from pathlib import Path

import pytest
from django.core.management import load_command_class

from apps.simulator.actions import ACTIONS
from apps.simulator.rest_api import ROUTES
from apps.simulator.scenario import _CLIENT, _TOP, read

DOCS = (Path(__file__).parents[2] / "docs" / "simulator.md").read_text()
ROWS = [row for row in DOCS.splitlines() if row.startswith("|")]


@pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS)
def test_every_action_has_a_row_with_its_options(action):
    rows = [row.split("|")[1:3] for row in ROWS]
    [options] = [options for names, options in rows if f"`{action.name}`" in names]
    for parameter in action.parameters:
        assert f"`{parameter.name.replace('_', '-')}`" in options


@pytest.mark.parametrize("name", [*_TOP, *_CLIENT])
def test_every_member_of_a_scenario_is_told(name):
    assert f"`{name}`" in DOCS


def test_every_option_of_the_command_has_a_row():
    parser = load_command_class("apps.simulator", "wcs_simulator").create_parser("manage.py", "wcs_simulator")
    django = {"--help", "--version", "--verbosity", "--settings", "--pythonpath", "--traceback", "--no-color"}
    django |= {"--force-color", "--skip-checks"}
    ours = {option for action in parser._actions for option in action.option_strings if option[:2] == "--"}
    assert [option for option in ours - django if f"`{option}" not in DOCS] == []


def test_every_route_of_the_rest_api_is_told():
    assert [path for path in ROUTES if path.removeprefix("/rest-api") not in DOCS] == []


def test_the_example_can_be_read():
    text = DOCS.split("## Scenarios")[1].split("**The scenario**")[0]
    assert len(read(text).clients) == 4
