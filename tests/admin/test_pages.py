"""Every page of the admin, for those who may see it and those who may not."""

from datetime import timedelta

import pytest
from django.apps import apps
from django.conf import settings
from django.contrib import admin
from django.contrib.auth.models import Group
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from apps.access.models import Rule
from tests import factories
from tests.admin.conftest import make_event, make_session

LISTS = (
    "accounts_user",
    "accounts_token",
    "auth_group",
    "streams_stream",
    "connections_app",
    "connections_node",
    "connections_session",
    "access_streampermission",
    "access_callpermission",
    "audit_auditevent",
)
TO_ADD_TO = tuple(name for name in LISTS if name not in ("connections_session", "audit_auditevent"))


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
            "auth_group": group,
            "streams_stream": stream,
            "connections_app": factories.make_app(f"app-{i}"),
            "connections_node": factories.make_node(f"node-{i}", secret="node-secret"),
            "connections_session": make_session(user, node_id=f"node-{i}"),
            "access_streampermission": rule,
            "access_callpermission": rule,
            "audit_auditevent": make_event(
                username=user.username, user=user, node_id=f"node-{i}", session_id=f"session-{i}", rules=[str(rule)]
            ),
        }
    return last


def test_settings_name_our_sidebar_and_overview():
    assert settings.UNFOLD["SIDEBAR"]["navigation"] == "apps.accounts.navigation.sidebar"
    assert settings.UNFOLD["DASHBOARD_CALLBACK"] == "apps.audit.dashboard.dashboard"


@pytest.mark.parametrize("name", LISTS)
def test_staff_see_each_list_and_each_row(root, olga, name):
    row = rows(1)[name]
    for staff in (root, olga):
        assert staff.get(page(f"{name}_changelist")).status_code == 200
        assert staff.get(page(f"{name}_change", row.pk)).status_code == 200


@pytest.mark.parametrize("name", TO_ADD_TO)
def test_staff_see_each_form(root, olga, name):
    for staff in (root, olga):
        assert staff.get(page(f"{name}_add")).status_code == 200


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


@pytest.mark.parametrize("name", [name for name in LISTS if name != "audit_auditevent"])
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


def test_rules_print_as_sentences_where_they_matter(root):
    row = rows(1)
    rule = Rule.objects.get(user=row["accounts_user"])
    for name in ("accounts_user", "streams_stream"):
        assert str(rule) in root.get(page(f"{name}_change", row[name].pk)).content.decode()
    assert "Allow group “group-0”" in root.get(page("auth_group_change", row["auth_group"].pk)).content.decode()
