"""Signed tokens, links and revoking, as WCS and people meet them; each change works with the next hook, everywhere."""

import json
from datetime import timedelta

import pytest
from django.utils import timezone

from apps.accounts.models import Revocation, Token, User
from apps.connections.models import Session, TokenIssuer
from apps.streams.models import StreamLink
from tests import factories
from tests.access import signed
from tests.hooks.processes import recorded, the_record


def bearing(subject="alice", **claims):
    """The members of a hook with a signed token that is good now."""
    return {"custom": {"token": signed.web_token(subject, now=timezone.now(), **claims)}}


@pytest.fixture
def everywhere(wcs, another_process):
    """Asks in two processes; gives the reason of both, which must be the same."""

    def ask(method, **members):
        (reason,) = {process.reason(method, **members) for process in (wcs, another_process)}
        return reason

    return ask


# Signed tokens


def test_a_signed_token_opens_a_session_that_keeps_what_it_said(wcs, school, everywhere):
    factories.make_issuer(groups_claim="groups")
    assert wcs.reason("connect", **bearing(groups=["x"])) == ""
    session = Session.objects.get()
    assert (session.user, session.username, session.entered_by) == (school["alice"], "alice", "jwt")
    assert json.loads(session.granted)["groups"] == ["x"]
    assert everywhere("publishStream", name="lobby") == ""
    assert everywhere("publishStream", name="attic") == "no-rule"
    assert {record.username for record in recorded()} == {"alice"}


def test_nothing_of_the_token_is_kept(wcs, school):
    factories.make_issuer()
    members = bearing()
    wcs.hook("connect", **members)
    wcs.hook("playHLS", name="lobby", **members)
    wcs.hook("playRTSP", name=f"rtsp://n/lobby?token={members['custom']['token']}")
    for part in members["custom"]["token"].split("."):
        assert not any(part.encode() in bytes(record.body) or part in record.target for record in recorded())
        assert part not in Session.objects.get().granted


def test_somebody_without_a_row_is_known_from_the_token_alone(wcs, school, everywhere):
    factories.make_issuer(accepts_unknown=True, groups_claim="groups")
    factories.make_rule("publish", group="crew")
    assert wcs.reason("connect", **bearing("zoe", groups=["crew"])) == ""
    session = Session.objects.get()
    assert (session.user_id, session.username) == (None, "zoe")
    assert everywhere("publishStream", name="anything") == ""
    assert the_record(method="connect").user_id is None
    assert {record.username for record in recorded()} == {"zoe"}
    TokenIssuer.objects.update(accepts_unknown=False)
    assert everywhere("publishStream", name="anything") == "unknown-subject"


def test_an_issuer_that_is_removed_or_changes_its_secret_counts_at_once(school, everywhere):
    issuer = factories.make_issuer()
    members = bearing()
    assert everywhere("connect", **members) == ""
    issuer.secrets = []
    issuer.set_secret("another secret of 32 characters!")
    issuer.save()
    assert everywhere("connect", **members, sessionId="other") == "bad-signature"
    assert everywhere("publishStream", name="lobby") == ""
    issuer.delete()
    assert everywhere("publishStream", name="lobby") == "unknown-issuer"


def test_public_keys_check_its_signatures(school, everywhere):
    factories.make_issuer(secret=None, algorithms=["RS256", "ES256"], jwks=signed.KEY_SET)
    for algorithm, reason in {"RS256": "", "ES256": "", "HS256": "bad-signature"}.items():
        token = signed.web_token("alice", algorithm, now=timezone.now())
        assert everywhere("connect", custom={"token": token}) == reason


def test_keys_or_secrets_that_cannot_be_read_let_nobody_in(school, everywhere):
    factories.make_issuer(secret=None, secrets=["not sealed"], jwks="{}")
    assert everywhere("connect", **bearing()) == "bad-signature"


# Links


def test_whoever_holds_a_link_watches_its_stream_and_does_nothing_else(wcs, school, everywhere):
    link = factories.make_link()
    holding = {"custom": {"token": link.token}}
    assert wcs.reason("connect", **holding) == ""
    session = Session.objects.get()
    assert (session.user_id, session.username, session.entered_by, session.granted) == (None, "", "link", link.code)
    assert everywhere("playStream", name="lobby") == ""
    assert everywhere("playHLS", name="lobby", **holding) == ""
    assert everywhere("playRTSP", name=f"rtsp://n/lobby?token={link.token}") == ""
    for method, members in {
        "playStream": {"name": "attic"},
        "publishStream": {"name": "lobby"},
        "call": {"callee": "+49"},
        "OnDataEvent": {},
    }.items():
        assert everywhere(method, **members) == "token-not-for-this"
    allowed = recorded(effect="allow")
    assert {(record.reason, record.username, record.user_id) for record in allowed} == {("allowed-by-link", "", None)}


def test_a_link_counts_in_a_stream_of_somebody_elses_session(wcs, school):
    wcs.hook("connect", custom={"token": "tok-charlie"})
    assert wcs.reason("playStream", name="lobby") == "no-rule"
    assert wcs.reason("playStream", name="lobby", custom={"token": factories.make_link().token}) == ""


def test_what_is_denied_to_guests_is_denied_to_holders_of_links(school, everywhere):
    holding = {"custom": {"token": factories.make_link().token}}
    factories.make_rule("play", effect="deny")
    assert everywhere("playHLS", name="lobby", **holding) == ""
    factories.make_rule("play", effect="deny", guests=True)
    assert everywhere("playHLS", name="lobby", **holding) == "denied-by-rule"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda links: links.update(active=False), "revoked"),
        (lambda links: links.update(ends_at=timezone.now()), "expired-token"),
        (lambda links: links.update(stream="attic"), "token-not-for-this"),
        (lambda links: links.all().delete(), "bad-token"),
    ],
)
def test_a_link_that_changes_counts_at_once_in_what_it_opened(wcs, school, everywhere, change, reason):
    wcs.hook("connect", custom={"token": factories.make_link().token})
    assert everywhere("playStream", name="lobby") == ""
    change(StreamLink.objects)
    assert everywhere("playStream", name="lobby") == reason


def test_a_token_is_no_longer_good_for_a_link_that_was_made_one_to_another_stream(school, everywhere):
    link = factories.make_link()
    token = link.token
    StreamLink.objects.update(stream="attic")
    assert everywhere("playHLS", name="attic", custom={"token": token}) == "bad-token"
    link.refresh_from_db()
    assert everywhere("playHLS", name="attic", custom={"token": link.token}) == ""


def test_keys_can_be_rotated_under_a_link(school, start_process, settings):
    factories.make_app("plain", hook_password=None)
    token = factories.make_link().token
    (old,) = settings.ENCRYPTION_KEYS
    new = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI="
    for keys, reason in (([new, old], ""), ([new], "bad-token"), ([], "bad-token")):
        settings.ENCRYPTION_KEYS = keys
        assert start_process().reason("playHLS", name="lobby", custom={"token": token}, appKey="plain") == reason


# Revoking


def now():
    return timezone.now()


@pytest.mark.parametrize(
    "revoke",
    [
        lambda: User.objects.filter(username="alice").update(revoked_before=now()),
        lambda: Revocation.objects.create(before=now()),
    ],
    ids=["all of a user", "everything"],
)
def test_what_is_revoked_is_refused_with_the_next_hook_in_every_process(wcs, school, everywhere, revoke):
    factories.make_issuer()
    school["alice"].set_password("pw-alice")
    school["alice"].save()
    link = factories.make_link(made_by=school["alice"])
    ways = {
        "token": {"token": "tok-alice"},
        "jwt": bearing(iat=int(now().timestamp()) - 5)["custom"],
        "password": {"login": "alice", "password": "pw-alice"},
        "link": {"token": link.token},
    }
    for name, custom in ways.items():
        assert wcs.reason("connect", custom=custom, sessionId=name) == ""
        assert everywhere("playStream", name="lobby", sessionId=name) == ("" if name == "link" else "no-rule")
    revoke()
    for name, custom in ways.items():
        assert everywhere("playStream", name="lobby", sessionId=name) == "revoked"
        assert everywhere("playHLS", name="lobby", custom=custom) == ("no-rule" if name == "password" else "revoked")
    factories.make_token(school["alice"], "issued after it", label="new")
    later = bearing(iat=int(now().timestamp()) + 1)["custom"]
    for custom in ({"token": "issued after it"}, later, ways["password"], {"token": factories.make_link().token}):
        assert everywhere("connect", custom=custom) == ""
        assert everywhere("OnDataEvent") in ("no-rule", "token-not-for-this")


def test_one_token_is_revoked_alone(wcs, school, everywhere):
    factories.make_token(school["alice"], "other", label="other")
    wcs.hook("connect", custom={"token": "tok-alice"})
    Token.objects.get(user=school["alice"], label="laptop").delete()
    assert everywhere("publishStream", name="lobby") == "bad-token"
    assert everywhere("connect", custom={"token": "other"}) == ""


def test_what_was_revoked_can_be_allowed_again(school, everywhere):
    revocation = Revocation.objects.create(before=now() + timedelta(seconds=1))
    assert everywhere("connect", custom={"token": "tok-alice"}) == "revoked"
    revocation.before = None
    revocation.save()
    assert everywhere("connect", custom={"token": "tok-alice"}) == ""
