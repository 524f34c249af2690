"""What WCS reports, in plain words."""

from itertools import product

import pytest

from apps.protocol.methods import METHODS, POINTLESS, find
from apps.protocol.state_words import ENDS, LETS_GO, STATES, end_said, lets_go_said, state_said


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("DISCONNECTED", "the client disconnected (DISCONNECTED)"),
        ("DISCONNECTED Unknown", "the client disconnected (DISCONNECTED)"),
        ("UNPUBLISHED Stopped by user", "publishing stopped (UNPUBLISHED: Stopped by user)"),
        ("FINISH Normal call clearing.", "the call was over (FINISH: Normal call clearing)"),
        ("WCS did not ask for it again", "WCS did not ask for it again"),
        ("", ""),
    ],
)
def test_why_something_ended_is_said_in_words_beside_those_of_wcs(reason, said):
    assert end_said(reason) == said


def test_every_state_that_begins_or_ends_something_has_its_words():
    told = {(row.name, status) for row in METHODS for status in (*row.starts, *row.ends, *row.ends_session)}
    assert told - STATES.keys() == {("StreamStatusEvent", "DISCONNECTED")}  # no document shows it
    assert {status for row in METHODS for status in (*row.ends, *row.ends_session)} == ENDS.keys()


@pytest.mark.parametrize(
    ("method", "status", "who", "target", "said"),
    [
        ("sendStreamEvent", "", "ann", "", "ann sent an event along with a stream"),
        ("StreamEvent", "", "", "", "An event of a stream was delivered to a guest"),
        ("RegistrationStatusEvent", "REGISTERED", "ann", "", "The SIP account of ann is registered"),
        ("CallStatusEvent", "TRYING", "ann", "+49301", "The call of ann with “+49301” is being set up"),
        ("TransferStatusEvent", "COMPLETED", "ann", "10009", "A call of ann was transferred to “10009”"),
        ("MessageStatusEvent", "SENT", "ann", "10009", "A message of ann to “10009” was sent"),
    ],
)
def test_what_wcs_reports_is_said_in_words(method, status, who, target, said):
    assert state_said(method, status, who, target) == said


def test_whatever_lets_go_has_its_words():
    assert {row.name for row in METHODS if row.refusal is POINTLESS} == LETS_GO.keys()
    assert all(find(method).name == method for method, _ in STATES)


@pytest.mark.parametrize(("who", "target"), [*product(("ann", "{who}", ""), ("lobby", "{0}", ""))])
def test_whoever_and_whatever_it_is_about_it_is_a_sentence(who, target):
    said = [state_said(*state, who, target) for state in STATES] + [lets_go_said(one, who, target) for one in LETS_GO]
    for sentence in said:
        assert sentence[0].isupper() or sentence.startswith(("ann", "{who}"))
        assert (who or "guest") in sentence
        assert "  " not in sentence


def test_what_has_no_words_is_not_said():
    assert state_said("StreamStatusEvent", "RESIZED", "ann", "lobby") == lets_go_said("newHook", "ann", "") == ""
