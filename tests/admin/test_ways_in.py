"""Links, issuers of signed tokens, tokens for single use and revoking: what staff do with them."""

import json
import re
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.urls import reverse
from django.utils import timezone

from apps.access.models import AccessRevision
from apps.accounts.models import Revocation, Token, User
from apps.connections.models import TokenIssuer
from apps.connections.sealing import unseal
from apps.streams.models import StreamLink
from tests import factories
from tests.access import signed
from tests.admin.conftest import browser_of, make_role
from tests.admin.test_people import issue, run, user_page
from tests.connections.test_fetching import serving

LINK_ADD = "admin:streams_streamlink_add"


def in_the_form(**fields):
    """Fields as a browser sends them, with moments in two parts."""
    data = {}
    for name, value in fields.items():
        if hasattr(value, "year"):
            local = timezone.localtime(value)
            data |= {f"{name}_0": f"{local:%Y-%m-%d}", f"{name}_1": f"{local:%H:%M:%S}"}
        else:
            data[name] = value
    return data


def errors_of(response):
    return {name: list(errors) for name, errors in response.context["adminform"].form.errors.items()}


# Links


def make_link(browser, **fields):
    ends_at = timezone.now() + timedelta(hours=2)
    defaults = {"label": "press", "stream": "opening night", "action": "play", "ends_at": ends_at}
    return browser.post(reverse(LINK_ADD), in_the_form(**{**defaults, **fields}))


def test_a_link_is_made_and_shown_once_with_how_to_pass_it(olga):
    factories.make_app("myApp", token_name="aclAuth")
    response = make_link(olga)
    link = StreamLink.objects.get()
    assert (link.stream, link.action, link.made_by, link.active) == ("opening night", "play", olga.user, True)
    page = response.content.decode()
    assert link.token in page
    assert (
        f"https://wcs.example.org:8445/opening%20night/opening%20night.m3u8?appKey=myApp&amp;aclAuth={link.token}"
        in page
    )
    assert f"custom: {{aclAuth: &quot;{link.token}&quot;}}" in page
    assert "no-store" in response["Cache-Control"]
    for name in ("change", "history"):
        assert (
            link.token.split(".")[2]
            not in olga.get(reverse(f"admin:streams_streamlink_{name}", args=[link.pk])).content.decode()
        )


def test_a_link_to_publish_is_not_offered_to_players(olga):
    page = make_link(olga, action="publish").content.decode()
    assert ".publish()" in page
    assert "m3u8" not in page


def test_a_link_that_would_never_work_is_not_made(olga, settings):
    past = make_link(olga, ends_at=timezone.now() - timedelta(minutes=1))
    assert errors_of(past) == {"ends_at": ["This moment has passed, so the link would never work."]}
    assert list(errors_of(make_link(olga, label="", stream=""))) == ["label", "stream"]
    settings.ENCRYPTION_KEYS = []
    assert "WCSGATE_ENCRYPTION_KEYS is not set" in str(errors_of(make_link(olga)))
    assert not StreamLink.objects.exists()


def test_of_a_link_its_end_can_be_changed_but_not_what_it_is_for(olga):
    link = factories.make_link()
    token, sooner = link.token, timezone.now().replace(microsecond=0)
    data = in_the_form(label="other", stream="attic", action="publish", ends_at=sooner, active="on")
    olga.post(reverse("admin:streams_streamlink_change", args=[link.pk]), data)
    link.refresh_from_db()
    assert (link.label, link.stream, link.action, link.ends_at) == ("other", "lobby", "play", sooner)
    assert link.token == token


def test_links_are_switched_off_together_and_the_history_says_so(olga):
    links = [factories.make_link(label=label) for label in ("a", "b")]
    run(olga, "streams_streamlink", "switch_off", links)
    assert not StreamLink.objects.filter(active=True).exists()
    assert LogEntry.objects.filter(change_message="Switched off.").count() == 2
    page = olga.get(reverse("admin:streams_streamlink_changelist"), {"state": "off"}).content.decode()
    assert page.count("lobby") >= 2


def test_who_may_make_links_is_a_permission_of_its_own(db):
    make_role("linkers", "add_streamlink", "view_streamlink")
    linda = browser_of(factories.make_user("linda", is_staff=True, groups=["linkers"]))
    make_role("others", "add_stream", "change_stream", "add_streampermission")
    otto = browser_of(factories.make_user("otto", is_staff=True, groups=["others"]))
    assert make_link(otto).status_code == 403
    assert make_link(linda).status_code == 200
    link = StreamLink.objects.get()
    assert linda.post(reverse("admin:streams_streamlink_delete", args=[link.pk]), {"post": "yes"}).status_code == 403


# Issuers


ISSUER_ADD = "admin:connections_tokenissuer_add"


def make_issuer(browser, **fields):
    defaults = {
        "issuer": signed.ISSUER,
        "active": "on",
        "audience": "wcs",
        "algorithms": ["HS256"],
        "leeway": "30",
        "user_claim": "sub",
    }
    return browser.post(reverse(ISSUER_ADD), {**defaults, **fields})


def test_an_issuer_with_a_shared_secret_which_is_sealed_and_never_shown(olga):
    assert make_issuer(olga, new_secret=factories.SHARED_SECRET).status_code == 302
    issuer = TokenIssuer.objects.get()
    assert [unseal(secret) for secret in issuer.secrets] == [factories.SHARED_SECRET]
    page = olga.get(reverse("admin:connections_tokenissuer_change", args=[issuer.pk])).content.decode()
    assert factories.SHARED_SECRET not in page
    assert issuer.secrets[0] not in page


def test_two_secrets_are_valid_during_a_change(olga):
    make_issuer(olga, new_secret=factories.SHARED_SECRET)
    issuer = TokenIssuer.objects.get()
    address = reverse("admin:connections_tokenissuer_change", args=[issuer.pk])
    data = {"issuer": issuer.issuer, "algorithms": ["HS256"], "leeway": "30", "user_claim": "sub"}
    olga.post(address, {**data, "new_secret": "n" * 32, "secrets_set": "keep"})
    issuer.refresh_from_db()
    assert [unseal(secret) for secret in issuer.secrets] == ["n" * 32, factories.SHARED_SECRET]
    assert not issuer.active
    response = olga.post(address, {**data, "secrets_set": "none"})
    assert errors_of(response) == {"new_secret": ["HS256 needs a shared secret."]}


def test_an_issuer_with_keys_that_are_pasted_or_in_a_file(olga):
    make_issuer(olga, algorithms=["RS256", "ES256"], jwks=signed.KEY_SET)
    file = SimpleUploadedFile("keys.json", signed.KEY_SET.encode())
    make_issuer(olga, issuer="https://other.example.org/", algorithms=["RS256"], key_file=file)
    assert {issuer.jwks for issuer in TokenIssuer.objects.all()} == {signed.KEY_SET}
    page = olga.get(reverse("admin:connections_tokenissuer_change", args=[TokenIssuer.objects.first().pk]))
    assert "rsa (RS256), ec (ES256)" in page.content.decode()


def test_an_issuer_with_keys_at_an_address_which_are_fetched_on_saving(olga):
    with serving() as (address, asked):
        make_issuer(olga, algorithms=["RS256"], jwks_url=address)
        issuer = TokenIssuer.objects.get()
        assert (issuer.jwks, issuer.jwks_url, len(asked)) == (signed.KEY_SET, address, 1)
        assert issuer.fetched_at
        run(olga, "connections_tokenissuer", "fetch_keys", [issuer])
        assert len(asked) == 2
    page = run(olga, "connections_tokenissuer", "fetch_keys", [issuer]).content.decode()
    assert "Not fetched: 1. Their pages say why; the keys they had stay in use." in page
    issuer.refresh_from_db()
    assert (issuer.jwks, bool(issuer.fetch_problem)) == (signed.KEY_SET, True)


@pytest.mark.parametrize(
    ("fields", "field", "says"),
    [
        ({}, "new_secret", "HS256 needs a shared secret."),
        ({"new_secret": "short"}, "new_secret", "at least 32 characters"),
        ({"algorithms": []}, "algorithms", "required"),
        ({"algorithms": ["none"]}, "algorithms", "not one of the available choices"),
        ({"algorithms": ["RS256"]}, "jwks", "RS256 needs its public keys, or their address."),
        ({"algorithms": ["RS256"], "jwks": "<html>"}, "jwks", "This is not JSON"),
        ({"algorithms": ["RS256"], "jwks": json.dumps({"keys": [{"kty": "RSA", "d": "x"}]})}, "jwks", "private"),
        ({"algorithms": ["RS256"], "jwks_url": "http://10.0.0.5/"}, "jwks_url", "by https only"),
        ({"issuer": ""}, "issuer", "required"),
        ({"leeway": "301"}, "leeway", "less than or equal to 300"),
        ({"user_claim": ""}, "user_claim", "required"),
    ],
)
def test_bad_input_is_answered_at_its_field(olga, fields, field, says):
    secret = {} if field == "new_secret" or "algorithms" in fields else {"new_secret": factories.SHARED_SECRET}
    assert says in " ".join(errors_of(make_issuer(olga, **{**secret, **fields}))[field])
    assert not TokenIssuer.objects.exists()


def test_a_file_that_holds_no_keys_says_so(olga):
    file = SimpleUploadedFile("keys.json", b"\xff\xfe nothing")
    assert "This is not JSON" in errors_of(make_issuer(olga, algorithms=["RS256"], key_file=file))["key_file"][0]


def test_its_secrets_are_resealed_with_the_others(db, settings):
    issuer = factories.make_issuer()
    (old,) = settings.ENCRYPTION_KEYS
    settings.ENCRYPTION_KEYS = ["AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=", old]
    call_command("reseal_secrets")
    settings.ENCRYPTION_KEYS = settings.ENCRYPTION_KEYS[:1]
    issuer.refresh_from_db()
    assert unseal(issuer.secrets[0]) == factories.SHARED_SECRET


# Tokens for single use


def test_a_token_for_single_use_is_issued_and_its_page_says_who_used_it(olga):
    alice = factories.make_user()
    issue(olga, alice, single_use="on")
    token = Token.objects.get()
    assert token.single_use
    assert "for single use, never used" in olga.get(user_page(alice)).content.decode()
    Token.objects.update(used_at=timezone.now(), used_node_id="n", used_session_id="the very session")
    assert "the very session" in olga.get(reverse("admin:accounts_token_change", args=[token.pk])).content.decode()
    assert "used up" in olga.get(reverse("admin:accounts_token_changelist")).content.decode()
    assert "used up on" in olga.get(user_page(alice)).content.decode()


# Revoking


def test_people_are_logged_out_everywhere_and_the_history_says_so(olga):
    alice, bob = factories.make_user(), factories.make_user("bob")
    factories.make_token(alice)
    page = run(olga, "accounts_user", "log_out", [alice]).content.decode()
    assert "Logged out everywhere: 1. They need new tokens." in page
    alice.refresh_from_db()
    bob.refresh_from_db()
    assert timezone.now() - alice.revoked_before < timedelta(minutes=1)
    assert bob.revoked_before is None
    assert LogEntry.objects.get().change_message == "Logged out everywhere."
    assert state_in_list(olga, "accounts_token") == "revoked"


def state_in_list(browser, kind, **query):
    """What the list says of its one row; None where it has none."""
    page = browser.get(reverse(f"admin:{kind}_changelist"), query).content.decode()
    found = re.search(r"(?s)<tbody.*?\b(works|revoked|expired|used up|off)\s*<", page)
    return found and found[1]


@pytest.mark.parametrize(
    "revoke",
    [
        lambda owner, now: User.objects.filter(pk=owner.pk).update(revoked_before=now),
        lambda owner, now: Revocation.objects.create(before=now),
    ],
    ids=["all of the owner's", "everything"],
)
def test_lists_say_of_tokens_and_links_that_they_are_revoked(olga, revoke):
    alice, now = factories.make_user(), timezone.now()
    factories.make_token(alice)
    factories.make_link(made_by=alice)
    lists = ("accounts_token", "streams_streamlink")
    revoke(alice, now - timedelta(days=1))
    assert [state_in_list(olga, kind) for kind in lists] == ["works", "works"]
    assert "revoked" not in olga.get(user_page(alice)).content.decode().split("Tokens")[-1].split("SIP account")[0]
    Revocation.objects.all().delete()
    revoke(alice, now + timedelta(minutes=1))
    assert [state_in_list(olga, kind) for kind in lists] == ["revoked", "revoked"]
    assert "revoked" in olga.get(user_page(alice)).content.decode().split("Tokens")[-1].split("SIP account")[0]
    assert state_in_list(olga, "streams_streamlink", state="works") is None
    assert state_in_list(olga, "streams_streamlink", state="revoked") == "revoked"


def test_only_superusers_log_other_staff_out_and_they_are_out_of_the_admin_too(olga, root):
    stan = browser_of(factories.make_user("stan", is_staff=True))
    page = run(olga, "accounts_user", "log_out", [stan.user]).content.decode()
    assert "Left as they are: 1. Only superusers log staff out." in page
    assert stan.get("/admin/").status_code == 200
    run(root, "accounts_user", "log_out", [stan.user])
    assert stan.get("/admin/").status_code == 302
    assert browser_of(User.objects.get(username="stan")).get("/admin/").status_code == 200


def test_everything_is_revoked_on_a_page_of_its_own(olga):
    listed = olga.get(reverse("admin:accounts_revocation_changelist"))
    address = reverse("admin:accounts_revocation_change", args=[1])
    assert listed.url == address
    assert olga.get(address).status_code == 200
    moment = timezone.now().replace(microsecond=0)
    olga.post(address, in_the_form(before=moment))
    assert Revocation.objects.get().before == moment
    raised = AccessRevision.objects.get().revision
    olga.post(address, {"before_0": "", "before_1": ""})
    assert Revocation.objects.get().before is None
    assert AccessRevision.objects.get().revision == raised + 1


def test_a_moment_to_come_is_refused(olga):
    Revocation.objects.create()
    address = reverse("admin:accounts_revocation_change", args=[1])
    response = olga.post(address, in_the_form(before=timezone.now() + timedelta(minutes=5)))
    assert errors_of(response) == {"before": ["This moment is yet to come. Choose now, or earlier."]}


def test_revoking_everything_is_a_permission_of_its_own(audrey, root):
    address = reverse("admin:accounts_revocation_changelist")
    assert audrey.get(address).status_code == 403
    assert root.get(address).status_code == 302
    assert audrey.post(reverse("admin:accounts_revocation_change", args=[1])).status_code == 403
    assert root.get(reverse("admin:accounts_revocation_change", args=[1]) + "../delete/").status_code in (403, 404)
    assert not re.search("revocation/add", root.get("/admin/").content.decode())
