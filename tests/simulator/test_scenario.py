"""Reading scenarios: what they mean, and what is said about those that cannot be read."""

import json

import pytest

from apps.simulator.scenario import SHIPPED, ScenarioError, load, read


def client(**members):
    return json.dumps({"clients": [{"name": "bob", "steps": ["connect"]} | members]})


def step(value):
    return client(steps=[value])


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.yaml")), ids=lambda path: path.name)
def test_what_we_ship_can_be_read(path):
    assert load(path).clients


def test_the_demo_tells_of_about_thirty_clients():
    assert 25 <= len(load(SHIPPED / "demo.yaml").clients) <= 40


def test_a_count_makes_clients_with_numbers_and_users():
    text = """
    clients:
    - {name: "load{n}", user: [ann, ben], token: "demo-{user}", count: 3,
       steps: [connect, publish: "{user}-{n}-{name}"]}
    """
    people = [(person.name, person.token, steps[1].options["stream"]) for person, steps in read(text).clients]
    assert people == [
        ("load1", "demo-ann", "ann-1-load1"),
        ("load2", "demo-ben", "ben-2-load2"),
        ("load3", "demo-ann", "ann-3-load3"),
    ]


def test_everyone_has_an_address_of_their_own_unless_given():
    scenario = read("clients: [{name: a, count: 2}, {name: b, address: 192.0.2.7}]")
    assert [person.address for person, _ in scenario.clients] == ["10.20.0.1", "10.20.0.2", "192.0.2.7"]


def test_a_repeat_is_unrolled():
    scenario = read("clients: [{name: a, steps: [{repeat: 2, steps: [connect, disconnect]}]}]")
    assert [planned.action.name for planned in scenario.clients[0][1]] == ["connect", "disconnect"] * 2


def test_clients_and_rounds_can_be_replaced():
    scenario = load(SHIPPED / "load.yaml", clients=3, rounds=7)
    assert (len(scenario.clients), scenario.rounds) == (3, 7)


def test_a_person_does_not_show_a_token():
    assert "abc" not in repr(read(client(token="abc")).clients[0][0])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: [", "The scenario is not YAML"),
        ("- connect", "The scenario: expected a mapping of title, keep-alive, rounds, report, clients."),
        ("title: x", "The scenario has no clients."),
        ("{title: 3, clients: []}", "The scenario: title must be text (put it in quotes)."),
        ("{report: long, clients: []}", "The scenario: report is clients or summary."),
        ("{rounds: 0, clients: []}", "The scenario: rounds must be at least 1."),
        ("{speed: 3}", "The scenario: there is no “speed” here"),
        ("clients: [bob]", "Client 1: expected a mapping of name"),
        (client(tokn="x"), "Client 1 (bob): there is no “tokn” here"),
        (client(count=True), "Client 1 (bob): count must be a whole number."),
        (client(count=-1), "Client 1 (bob): count must not be negative."),
        (client(count=10**9), "A scenario has at most 10000 clients"),
        (client(user=[1]), "Client 1 (bob): user must be text or a list of texts."),
        (step("plya"), "Client 1 (bob), step 1: there is no action “plya”. Actions: answer, "),
        (step(7), "Client 1 (bob), step 1: a step is an action, like “connect” or “play: lobby”."),
        (step({"play": "a", "publish": "b"}), "Client 1 (bob), step 1: a step has one action; this one has 2."),
        (step({"expect": "allowed"}), "Client 1 (bob), step 1: a step has one action; this one has 0."),
        (step({"play": "a", "expect": "maybe"}), "expect is allowed or refused, not “maybe”."),
        (step({"play": {"name": "a"}}), "(play): has no option “name”; it has stream, token, custom, lose-answers."),
        (step("play"), "Client 1 (bob), step 1 (play): needs stream."),
        (step({"call": 4930123456}), "(call): callee must be text (put it in quotes)."),
        (step({"wait": "long"}), "(wait): seconds must be a number."),
        (step({"wait": -1}), "(wait): seconds must not be negative."),
        (step({"disconnect": "now"}), "(disconnect): takes no options."),
        (step({"repeat": 0, "steps": []}), "step 1: repeat must be between 1 and 10000."),
        (step({"repeat": 2, "steps": ["x"]}), "step 1, step 1: there is no action “x”"),
    ],
)
def test_what_cannot_be_read_is_told_in_a_sentence(text, sentence):
    with pytest.raises(ScenarioError) as error:
        read(text)
    assert sentence in str(error.value)


def test_a_missing_file_is_a_sentence(tmp_path):
    with pytest.raises(ScenarioError, match=r"none\.yaml cannot be read: No such file or directory\."):
        load(tmp_path / "none.yaml")
