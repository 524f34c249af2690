"""Postgres takes no connection more, or goes away in the midst of a page: staff are told so, as where it is away."""

import logging
from contextlib import contextmanager

import psycopg
import pytest
from django.db import connection

from apps.database.hook_path import expect_an_answer
from tests.hooks.processes import conninfo
from wcsgate.logs import OneLineWhereAway

PAGES = ("/admin/", "/admin/login/", "/admin/audit/auditevent/", "/admin/access/file/", "/api/v1/audit")


@pytest.fixture
def desk(transactional_db, root):
    """Root, whose browser shows errors as they are sent."""
    root.raise_request_exception = False
    expect_an_answer(5)  # hooks have their connection
    return root


def run(*statements):
    """By somebody who has a connection of their own, to another database."""
    with psycopg.connect(conninfo(), dbname="postgres", autocommit=True) as somebody:
        for statement in statements:
            somebody.execute(statement)


@contextmanager
def no_connection_left():
    name = connection.settings_dict["NAME"]
    connection.close()
    run(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
    try:
        yield
    finally:
        run(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')


@contextmanager
def ends_whoever_reads(table):
    """As a restart of Postgres does just then."""
    with psycopg.connect(conninfo(), autocommit=True) as somebody:
        somebody.execute(f"ALTER TABLE {table} RENAME TO kept_away")
        ends = "(SELECT pg_terminate_backend(pg_backend_pid()))"
        somebody.execute(f"CREATE VIEW {table} AS SELECT * FROM kept_away WHERE {ends}")
        try:
            yield
        finally:
            connection.close()  # as the next request does; those of tests do not
            somebody.execute(f"DROP VIEW {table}")
            somebody.execute(f"ALTER TABLE kept_away RENAME TO {table}")


def is_notice(response):
    text = response.content.decode()
    return response.status_code == 503 and response["Retry-After"] and "The database does not answer just now" in text


@pytest.mark.parametrize("page", PAGES)
def test_where_no_connection_is_left_a_page_says_so(desk, page):
    with no_connection_left():
        assert is_notice(desk.get(page))
        sent = desk.post(page)
    assert is_notice(sent)
    assert "Nothing was changed." in sent.content.decode()
    assert desk.get(page).status_code in (200, 302)


@pytest.mark.parametrize("table", ["django_session", "audit_outage"])
def test_where_postgres_goes_in_the_midst_of_a_page_it_says_so(desk, table):
    """Before anything is known of who asks, and while the page is made."""
    with ends_whoever_reads(table):
        assert is_notice(desk.get("/admin/"))
    assert desk.get("/admin/").status_code == 200


def test_who_sent_something_is_not_told_that_nothing_was_changed(desk):
    with ends_whoever_reads("django_session"):
        response = desk.post("/admin/streams/stream/add/", {"name": "lobby"})
    assert is_notice(response)
    assert "Look whether it was saved before you send it again." in response.content.decode()


def test_another_error_is_an_error(desk):
    """A table that is gone is no Postgres that is away."""
    with psycopg.connect(conninfo(), autocommit=True) as somebody:
        somebody.execute("ALTER TABLE audit_outage RENAME TO kept_away")
        try:
            response = desk.get("/admin/")
        finally:
            somebody.execute("ALTER TABLE kept_away RENAME TO audit_outage")
    assert (response.status_code, "does not answer" in response.content.decode()) == (500, False)


def test_it_is_one_line_of_the_log(desk, caplog):
    assert any(isinstance(found, OneLineWhereAway) for found in logging.getLogger("django.request").filters)
    with ends_whoever_reads("django_session"):
        desk.get("/admin/")
    (said,) = [record for record in caplog.records if record.name == "django.request"]
    assert said.getMessage().startswith("A page found Postgres away: ")
    assert said.exc_info is None
