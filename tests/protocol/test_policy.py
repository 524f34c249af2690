"""restClientConfig: the policy that makes our refusals count (protocol.md 3.3)."""

import json

import pytest

from apps.protocol.methods import METHODS, find
from apps.protocol.policy import (
    REST_CLIENT_CONFIG,
    REST_CLIENT_CONFIGS,
    Hiding,
    consequence,
    hidden,
    rest_client_config,
)

CONFIG = rest_client_config()
MEMBERS = ["clientExclude", "restExclude", "restOnError", "restPolicy", "restOverwrite"]


def test_every_method_and_every_alias_is_listed():
    assert sorted(CONFIG) == sorted(name for method in METHODS for name in (method.name, *method.aliases))


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_a_failing_hook_stops_whatever_can_be_stopped(method):
    fails = method.kind in ("connect", "direct", "incoming") or method.name == "StreamKeepAliveEvent"
    for name in (method.name, *method.aliases):
        assert CONFIG[name]["restOnError"] == ("FAIL" if fails else "LOG")


@pytest.mark.parametrize("name", CONFIG)
def test_an_entry_has_exactly_the_five_members_all_of_them_strings(name):
    entry = CONFIG[name]
    assert sorted(entry) == sorted(MEMBERS)
    assert all(isinstance(value, str) for value in entry.values())


@pytest.mark.parametrize("name", CONFIG)
def test_no_method_is_ever_switched_off(name):
    assert CONFIG[name]["restPolicy"] in ("NOTIFY", "OVERWRITE")


@pytest.mark.parametrize("name", CONFIG)
def test_what_is_overwritten_is_named_and_only_then(name):
    assert (CONFIG[name]["restPolicy"] == "OVERWRITE") is bool(CONFIG[name]["restOverwrite"])


@pytest.mark.parametrize("name", CONFIG)
@pytest.mark.parametrize("member", ["clientExclude", "restExclude", "restOverwrite"])
def test_lists_are_written_without_spaces(name, member):
    listed = CONFIG[name][member]
    assert listed == ",".join(field for field in listed.split(",") if field and field.strip() == field)


@pytest.mark.parametrize("name", ["publishStream", "playStream", "call", "OnCallEvent", "StreamStatusEvent"])
def test_wcs_is_asked_not_to_send_the_sdp(name):
    assert "sdp" in CONFIG[name]["restExclude"].split(",")


@pytest.mark.parametrize("name", ["ConnectionStatusEvent", "RegistrationStatusEvent"])
def test_wcs_is_asked_not_to_send_sip_passwords(name):
    assert "sipPassword" in CONFIG[name]["restExclude"].split(",")


def test_the_bytes_say_the_same():
    assert len(REST_CLIENT_CONFIGS) == 8
    for hiding, config in REST_CLIENT_CONFIGS.items():
        assert Hiding.REWRITES in hiding
        assert json.loads(config) == rest_client_config(hiding)
        assert b" " not in config
    assert json.loads(REST_CLIENT_CONFIG) == CONFIG


@pytest.mark.parametrize("name", CONFIG)
def test_where_there_is_nothing_to_hide_clients_see_everything(name):
    assert CONFIG[name]["clientExclude"] == ""


@pytest.mark.parametrize("hiding", REST_CLIENT_CONFIGS)
def test_hiding_changes_what_clients_see_and_nothing_else(hiding):
    without = [{**entry, "clientExclude": ""} for entry in rest_client_config(hiding).values()]
    assert without == list(CONFIG.values())


@pytest.mark.parametrize("method", [row for row in METHODS if row.overwrite], ids=lambda row: row.name)
def test_whatever_is_changed_can_be_hidden_but_for_what_everybody_may_see(method):
    harmless = {"record", "width", "height", "bitrate"}
    assert set(method.overwrite) - harmless <= {*method.shows_source, *method.shows_number}


def test_an_event_about_what_was_changed_hides_it_too():
    everything = max(REST_CLIENT_CONFIGS)
    for event, members in {
        "StreamStatusEvent": {"name"},
        "CallStatusEvent": {"callee", "caller", "sipMessageRaw"},
        "TransferStatusEvent": {"target", "sipMessageRaw"},
        "MessageStatusEvent": {"to", "from", "sipMessageRaw"},
        "ConnectionStatusEvent": {"sipPassword", "sipLogin", "sipDomain"},
        "RegistrationStatusEvent": {"sipPassword", "sipLogin", "sipMessageRaw"},
    }.items():
        assert members <= set(hidden(find(event), everything))


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_what_wcs_does_with_an_answer_is_a_sentence(method):
    allowed = consequence(method, allowed=True)
    assert allowed.startswith("200: WCS ")
    assert allowed.endswith(".")
    assert ("never refused" in allowed) is not method.refusable


@pytest.mark.parametrize("method", [row for row in METHODS if row.refusable], ids=lambda method: method.name)
def test_a_refusal_counts_by_the_policy_or_without_one(method):
    refused = consequence(method, allowed=False)
    assert refused.startswith("403: WCS ")
    if method.identity == "credentials":  # no session, so no policy; connect is refused without one
        assert "a refusal always counts" in refused
    else:
        assert refused.endswith("because our answer to connect said FAIL for this method.")


def test_a_method_that_nobody_told_us_about_goes_by_no_policy_of_ours():
    assert consequence(None, allowed=True) == "200, with the body as it came: WCS goes on."
    assert consequence(None, allowed=False) == "403: WCS writes it into its log and goes on."
