"""What the log of the workers says of tasks that fail."""

import logging

import psycopg
import pytest
from celery import shared_task
from django.conf import settings
from django.db import connection, connections
from django.db.utils import ConnectionHandler

NOWHERE = {"host": "127.0.0.1", "port": 1, "connect_timeout": 1}  # nobody listens at port 1


@shared_task(name="tests.asks")
def asks(how):
    """Ask Postgres in some way."""
    how()


def by_django():
    away = {**settings.DATABASES["default"], "HOST": NOWHERE["host"], "PORT": NOWHERE["port"]}
    ConnectionHandler({"default": away})["default"].cursor()


def by_psycopg():
    psycopg.connect(**NOWHERE)


def while_it_is_ended():
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")


def logged(caplog, how):
    """What is logged, as it is written."""
    with caplog.at_level(logging.ERROR, logger="celery.app.trace"):
        asks.apply((how,))
    (record,) = caplog.records
    return logging.Formatter("%(message)s").format(record)


@pytest.mark.django_db
@pytest.mark.parametrize("how", [by_django, by_psycopg])
def test_a_task_that_finds_postgres_away_is_one_line(caplog, how):
    said = logged(caplog, how)
    assert said.startswith("Task tests.asks found Postgres away, and is done when it is back: ")
    assert "Connection refused" in said
    assert len(said.splitlines()) == 1


@pytest.mark.django_db(transaction=True)
def test_so_is_one_whose_connection_is_ended(caplog):
    said = logged(caplog, while_it_is_ended)
    connection.close()
    assert "terminating connection" in said
    assert len(said.splitlines()) == 1


@pytest.mark.django_db
@pytest.mark.parametrize("sql", ["SELECT 1 / 0", "SET LOCAL statement_timeout = 10; SELECT pg_sleep(1)"])
def test_every_other_error_keeps_its_traceback(caplog, sql):
    said = logged(caplog, lambda: connection.cursor().execute(sql))
    assert "Traceback (most recent call last)" in said
    assert "tests.asks" in said
