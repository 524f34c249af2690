"""Every page of the admin, for those who may see it and those who may not."""

from datetime import timedelta

import pytest
from django.apps import apps
from django.conf import settings
from django.contrib import admin
from django.contrib.auth.models import Group
from django.db import connection
from django.http import QueryDict
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from django.utils.text import capfirst

from apps.access.models import Rule
from apps.access.reasons import STAFF_ACTION
from apps.accounts import pages
from apps.accounts.pages import UnknownFilter, parameters_of
from apps.audit.models import ChangeRecord, Hold, HookRecord, SavedView
from apps.audit.recording.recorder import new_id
from tests import factories
from tests.admin.conftest import browser_of, make_event, make_role, make_session
from tests.audit.test_mover import make_record

LISTS = (
    "accounts_user",
    "accounts_token",
    "accounts_apikey",
    "auth_group",
    "streams_stream",
    "streams_streamlink",
    "connections_tokenissuer",
    "connections_app",
    "connections_node",
    "connections_session",
    "live_lease",
    "access_streampermission",
    "access_callpermission",
    "audit_auditevent",
    "audit_hold",
    "audit_savedview",
)
TO_ADD_TO = tuple(name for name in LISTS if name not in ("connections_session", "live_lease", "audit_auditevent"))


def page(name, *args):
    return reverse(f"admin:{name}", args=args)


def rows(number, start=0):
    """So many rows of everything; gives the last one of each list."""
    for i in range(start, start + number):
        user = factories.make_user(f"user-{i}", groups=[f"group-{i}"])
        group = Group.objects.get(name=f"group-{i}")
        stream = factories.make_stream(f"stream-{i}", owner=user)
        rule = factories.make_rule("publish", "call", user=user, stream=stream)
        factories.make_rule("play", "connect", group=group)
        last = {
            "accounts_user": user,
            "accounts_token": factories.make_token(user, networks=["10.0.0.0/8"]),
            "accounts_apikey": factories.make_key(user, networks=["10.0.0.0/8"])[1],
            "auth_group": group,
            "streams_stream": stream,
            "streams_streamlink": factories.make_link(f"stream-{i}", made_by=user),
            "connections_tokenissuer": factories.make_issuer(f"https://issuer-{i}.example.org/"),
            "connections_app": factories.make_app(f"app-{i}"),
            "connections_node": factories.make_node(f"node-{i}", secret="node-secret"),
            "connections_session": make_session(user, node_id=f"node-{i}"),
            "live_lease": factories.make_lease(user, f"session-{i}", rules=[rule]),
            "access_streampermission": rule,
            "access_callpermission": rule,
            "audit_hold": Hold.objects.create(name=f"Case {i}", made_by="root"),
            "audit_savedview": SavedView.objects.create(
                name=f"View {i}", search="q=user%3Aann", shared=True, owner=user
            ),
            "audit_auditevent": make_event(
                username=user.username, user=user, node_id=f"node-{i}", session_id=f"session-{i}", rules=[str(rule)]
            ),
        }
    return last


@pytest.mark.parametrize("name", LISTS)
def test_the_tab_of_a_list_says_what_is_listed(root, name):
    title = root.get(page(f"{name}_changelist")).context["title"]
    app, _, model = name.partition("_")
    assert title == (
        "Audit log" if model == "auditevent" else capfirst(apps.get_model(app, model)._meta.verbose_name_plural)
    )


def test_settings_name_our_sidebar_and_overview():
    assert settings.UNFOLD["SIDEBAR"]["navigation"] == "apps.accounts.navigation.sidebar"
    assert settings.UNFOLD["DASHBOARD_CALLBACK"] == "apps.audit.dashboard.dashboard"


@pytest.mark.parametrize("name", LISTS)
def test_staff_see_each_list_and_each_row(transactional_db, root, olga, name):
    row = rows(1)[name]
    for staff in (root, olga):
        assert staff.get(page(f"{name}_changelist")).status_code == 200
        assert staff.get(page(f"{name}_change", row.pk)).status_code == 200


@pytest.mark.parametrize("name", TO_ADD_TO)
def test_staff_see_each_form(root, olga, name):
    for staff in (root, olga):
        assert staff.get(page(f"{name}_add")).status_code == 200


@pytest.mark.parametrize("address", ["audit_hold_add", "access_streampermission_add", "accounts_token_add"])
@pytest.mark.parametrize("moment", ["2026-01-01T12:00:00-23:59", "9999-12-31T23:59:59-23:59", "soon"])
def test_a_form_begins_with_the_moment_of_its_address(root, address, moment):
    given = dict.fromkeys(("starts_at", "ends_at", "expires_at"), moment)
    response = root.get(reverse(f"admin:{address}"), given)
    assert response.status_code == 200
    assert ("2026-01-02" in response.content.decode()) == moment.startswith("2026")


@pytest.mark.parametrize("name", LISTS)
def test_an_empty_list_says_what_to_do(root, name):
    text = root.get(page(f"{name}_changelist")).content.decode()
    hint = admin.site._registry[apps.get_model(*name.split("_"))].empty_hint
    assert hint
    if name != "accounts_user":  # Root is in it
        assert hint[:40] in text


@pytest.mark.parametrize("name", LISTS)
def test_a_search_that_finds_nothing_says_so(root, name):
    rows(1)
    response = root.get(page(f"{name}_changelist"), {"q": "no such thing"})
    assert "Nothing matches" in response.content.decode()


@pytest.mark.parametrize("name", LISTS)
def test_a_list_costs_the_same_queries_however_long(root, name, django_assert_num_queries):
    rows(1)
    address = page(f"{name}_changelist")
    root.get(address)
    with CaptureQueriesContext(connection) as one:
        root.get(address)
    rows(19, start=1)
    with django_assert_num_queries(len(one)):
        root.get(address)


def filters_of(name):
    """Every parameter that the filters of a list read."""
    model_admin = admin.site._registry[apps.get_model(*name.split("_"))]
    return [parameter for accepted in model_admin.list_filter for parameter in parameters_of(accepted)]


@pytest.mark.parametrize("name", LISTS)
def test_no_list_trips_over_a_nul(root, name):
    rows(1)
    address = page(f"{name}_changelist")
    assert root.get(address, {"q": "\0"}).status_code == 200
    for parameter in filters_of(name):
        for value in ("\0", "a\0b"):
            response = root.get(address, {parameter: value})
            assert (response.status_code, response["Location"]) == (302, f"{address}?e=1"), parameter
    assert root.get(address, {"\0": "1"}).status_code == 400


@pytest.mark.parametrize("field", ["user", "group", "stream"])
def test_completing_a_name_with_a_nul_finds_nothing(root, field):
    rows(1)
    asked = {"app_label": "access", "model_name": "rule", "field_name": field}
    assert root.get(page("autocomplete"), {**asked, "term": "\0"}).json()["results"] == []
    assert root.get(page("autocomplete"), {**asked, "term": "0"}).json()["results"]


@pytest.mark.parametrize("name", LISTS)
def test_what_is_no_filter_is_no_condition(root, name):
    rows(1)
    model = apps.get_model(*name.split("_"))
    parameters, unknown = set(filters_of(name)), ""
    request = root.get(page(f"{name}_changelist")).wsgi_request
    for field in model._meta.get_fields():
        for lookup in ("", "__startswith", "__contains", "__0__startswith", "__regex", "__isnull", "__in"):
            if field.name + lookup not in parameters:
                unknown = field.name + lookup
                request.GET = QueryDict(f"{unknown}=1")
                with pytest.raises(UnknownFilter):
                    admin.site.get_model_admin(model).get_changelist_instance(request)
    assert root.get(page(f"{name}_changelist"), {unknown: "1"}).status_code == 400


@pytest.mark.parametrize(
    ("name", "lookup"),
    [
        ("accounts_token", "token_hash__startswith"),
        ("accounts_token", "user__password__startswith"),
        ("accounts_user", "password__startswith"),
        ("accounts_user", "tokens__token_hash__startswith"),
        ("connections_app", "hook_passwords__0__startswith"),
        ("connections_app", "hook_passwords__contains"),
        ("connections_node", "secrets__0__startswith"),
        ("connections_session", "token__token_hash__startswith"),
        ("access_streampermission", "user__password__startswith"),
    ],
)
def test_no_secret_is_read_bit_by_bit(db, name, lookup):
    make_role("readers", f"view_{name.partition('_')[2]}")
    reader = browser_of(factories.make_user("reader", is_staff=True, groups=["readers"]))
    rows(1)
    assert reader.get(page(f"{name}_changelist")).status_code == 200
    assert reader.get(page(f"{name}_changelist"), {lookup: "a"}).status_code == 400


def test_filters_by_field_still_filter(root):
    row = rows(2)
    group, user = row["auth_group"], row["accounts_user"]

    def listed(name, **query):
        return list(root.get(page(f"{name}_changelist"), query).context["cl"].result_list)

    assert listed("accounts_user", groups__id__exact=group.pk) == [user]
    assert listed("accounts_user", is_staff__exact="1") == [root.user]
    assert listed("accounts_user", groups__isnull="True") == [root.user]
    assert len(listed("access_streampermission", who__exact="user", enforced__exact="1")) == 2
    assert listed("access_streampermission", effect__exact="deny") == []
    assert listed("connections_app", guests__exact="1") == []


# Long lists


@pytest.mark.parametrize("name", LISTS)
def test_no_list_is_counted_to_its_end(root, name):
    rows(1)
    table = apps.get_model(*name.split("_"))._meta.db_table
    for query in ({}, {"q": "user"}):
        with CaptureQueriesContext(connection) as queries:
            root.get(page(f"{name}_changelist"), query)
        counts = [row["sql"] for row in queries if "COUNT(" in row["sql"] and f'"{table}"' in row["sql"]]
        assert len(counts) <= 1
        assert all("LIMIT 1001" in sql for sql in counts)


def test_a_short_list_says_how_many_there_are(root):
    rows(3)
    address = page("access_streampermission_changelist")
    text = root.get(address).content.decode()
    assert "6 stream permissions" in " ".join(text.split())
    assert "Show all" not in text
    filtered = " ".join(root.get(address, {"q": "user-1"}).content.decode().split())
    assert "1 stream permission " in filtered
    assert "Show all" in filtered


def test_a_long_list_says_that_there_are_more_and_can_be_turned(root, monkeypatch):
    monkeypatch.setattr(pages, "COUNTED", 60)
    for i in range(61):
        factories.make_user(f"user-{i:02}")
    address = page("accounts_user_changelist")
    response = root.get(address)
    text = " ".join(response.content.decode().split())
    assert "more than 60 users" in text
    assert "Select all more than 60 users" in text
    assert "1000000" not in text
    assert len(response.context["cl"].result_list) == 50
    last = root.get(address, {"p": 2})
    assert [user.username for user in last.context["cl"].result_list][-1] == "user-60"
    assert "p=2" in text
    assert "p=3" not in last.content.decode()
    assert root.get(address, {"p": 3}).status_code == 200
    assert root.get(address, {"p": 99_999_999}).status_code == 302
    asked = {"app_label": "access", "model_name": "rule", "field_name": "user"}
    pages_of_names = [root.get(page("autocomplete"), {**asked, "page": number}).json() for number in (1, 4)]
    assert [len(names["results"]) for names in pages_of_names] == [20, 2]


@pytest.mark.parametrize("name", [name for name in LISTS if name not in ("audit_auditevent", "audit_savedview")])
def test_an_auditor_sees_nothing_but_the_log(audrey, name):
    row = rows(1)[name]
    assert audrey.get(page(f"{name}_changelist")).status_code == 403
    assert audrey.get(page(f"{name}_change", row.pk)).status_code == 403


def test_an_auditor_reads_the_log_without_links_that_lead_nowhere(audrey):
    event = rows(1)["audit_auditevent"]
    assert audrey.get(page("audit_auditevent_changelist")).status_code == 200
    text = audrey.get(page("audit_auditevent_change", event.pk)).content.decode()
    assert "All hooks of this session" in text
    assert page("accounts_user_changelist") not in text
    assert page("connections_session_changelist") not in text


def test_the_sidebar_shows_only_what_one_may_see(audrey, root):
    assert page("accounts_user_changelist") in root.get(page("index")).content.decode()
    text = audrey.get(page("index")).content.decode()
    assert page("audit_auditevent_changelist") in text
    assert page("accounts_user_changelist") not in text


def test_people_without_staff_status_see_the_login(client, db):
    client.force_login(factories.make_user("alice"), backend="django.contrib.auth.backends.ModelBackend")
    assert client.get(page("index")).status_code == 302


def test_the_overview_says_how_to_begin_until_a_hook_has_come(root):
    make_event("", reason=STAFF_ACTION, effect="allow", action="add", target="user “alice”")
    text = root.get(page("index")).content.decode()
    assert "No hook has come yet" in text
    assert "update app -l http://testserver/hooks defaultApp" in text
    make_event()
    assert "No hook has come yet" not in root.get(page("index")).content.decode()


def test_the_overview_counts_refusals_of_the_last_day(root, django_assert_max_num_queries):
    for _ in range(3):
        make_event()
    make_event(reason="bad-token", method="connect", action="connect")
    make_event(received_at=timezone.now() - timedelta(days=2))
    make_session()
    with django_assert_max_num_queries(15):
        context = root.get(page("index")).context
    assert [count for _, count, _ in context["refused"]] == ["3", "1"]
    assert context["running"] == "1"
    assert len(context["latest"]) == 4
    assert "asked to play “lobby” and was refused: no rule allows it." in context["latest"][-1][1]


def wait(what, minutes):
    """Records of these kinds have waited that long."""
    at = timezone.now() - timedelta(minutes=minutes)
    ChangeRecord.objects.update(changed_at=at if "changes" in what else timezone.now())
    HookRecord.objects.update(waits_since=at if "hooks" in what else timezone.now())
    return f"{timezone.localtime(at):%Y-%m-%d %H:%M:%S}"


def test_the_overview_says_what_waits_for_the_workers_and_nothing_while_they_run(root):
    make_record()
    wait((), 0)
    assert "to be moved" not in root.get(page("index")).content.decode()
    since = wait(("changes",), 2)
    said = f"Changes by staff have waited since {since} to be moved into the audit log. They are not lost"
    assert said in root.get(page("index")).content.decode()
    since = wait(("hooks",), 3)
    assert f"Hooks have waited since {since} to be moved" in root.get(page("index")).content.decode()
    since = wait(("hooks", "changes"), 4)
    assert f"Changes by staff and hooks have waited since {since} " in root.get(page("index")).content.decode()


def test_what_has_just_come_from_a_spool_does_not_wait_for_workers(root):
    """Nor does what is tried again: both are of hooks that came long ago."""
    wait((), 0)
    long_ago = timezone.now() - timedelta(minutes=30)
    make_record(id=new_id(long_ago), received_at=long_ago, while_away=True)
    assert "to be moved" not in root.get(page("index")).content.decode()


def test_whoever_may_not_see_the_audit_log_is_not_told_what_waits(db):
    make_role("helpers", "view_user")
    helper = browser_of(factories.make_user("helper", is_staff=True, groups=["helpers"]))
    wait(("changes",), 2)
    assert "to be moved" not in helper.get(page("index")).content.decode()


def test_rules_print_as_sentences_where_they_matter(root):
    row = rows(1)
    rule = Rule.objects.get(user=row["accounts_user"])
    for name in ("accounts_user", "streams_stream"):
        assert str(rule) in root.get(page(f"{name}_change", row[name].pk)).content.decode()
    assert "Allow group “group-0”" in root.get(page("auth_group_change", row["auth_group"].pk)).content.decode()


def test_who_may_not_read_the_log_is_told_nothing_of_it(db):
    make_role("helpers", "view_user", "add_user")
    helper = browser_of(factories.make_user("helper", is_staff=True, groups=["helpers"]))
    text = helper.get(page("index")).content.decode()
    assert "To begin:" in text
    assert "No hook has come" not in text
    factories.make_user("alice")
    assert "To begin:" not in helper.get(page("index")).content.decode()


def test_the_overview_has_one_table_of_refusals(root):
    make_event()
    text = root.get(page("index")).content.decode()
    assert text.count("Refused in the last 24 hours</h2>") == 1
    assert text.count("?last=24h&amp;effect=deny&amp;reason=no-rule") == 2
