"""Settings as the environment gives them; what is wrong is answered with a sentence."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_docs import documented_variables

ROOT = Path(__file__).resolve().parent.parent
KEYS = "WCSGATE_ENCRYPTION_KEYS"


def python(code, **environment):
    """Run this with exactly these variables; gives what it prints, or the last line of its complaint."""
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


def setting(expression, **environment):
    return python(f"from wcsgate import settings; print(settings.{expression})", **environment)


def manage(*arguments, tmp_path, **environment):
    own = {"WCSGATE_NO_BOOTSTRAP": "1", "WCSGATE_DATA": str(tmp_path)}
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(command, cwd=ROOT, env=own | environment, capture_output=True, text=True)


def test_defaults_of_numbers_are_the_documented_ones():
    for name in ("HOOK_TIME_LIMIT", "REPEAT_WINDOW"):
        assert float(setting(name)) == float(documented_variables()[f"WCSGATE_{name}"])


@pytest.mark.parametrize("value", ["0,8", "soon", "nan", "inf", "0", "-1", "60"])
def test_a_number_that_is_none_or_out_of_range_is_a_sentence(value):
    said = setting("HOOK_TIME_LIMIT", WCSGATE_HOOK_TIME_LIMIT=value)
    assert said.endswith(f"WCSGATE_HOOK_TIME_LIMIT must be a number from 0.05 to 10, not “{value}”.")


def test_commands_answer_a_wrong_setting_with_its_sentence_alone(tmp_path):
    done = manage("check", tmp_path=tmp_path, WCSGATE_HOOK_TIME_LIMIT="soon")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "WCSGATE_HOOK_TIME_LIMIT must be a number from 0.05 to 10, not “soon”.\n"


def test_without_a_secret_key_each_process_signs_with_its_own():
    keys = {setting("SECRET_KEY") for _ in range(2)}
    assert len(keys) == 2
    assert all(len(key) >= 64 for key in keys)
    assert setting("SECRET_KEY", WCSGATE_SECRET_KEY="kept") == "kept"


def test_without_encryption_keys_sealing_says_what_to_set():
    code = "import django; django.setup(); from apps.connections.sealing import {0}; print({0}('x'))"
    environment = {"DJANGO_SETTINGS_MODULE": "wcsgate.settings"}
    assert f"set {KEYS}. docs/operations.md says how to make one." in python(code.format("seal"), **environment)
    assert "CannotUnseal: A stored secret cannot be read" in python(code.format("unseal"), **environment)


CONNECT = """
from kombu.exceptions import OperationalError
from wcsgate.celery import app
with app.connection_for_write(connect_timeout=1) as connection:
    try:
        connection.ensure_connection(max_retries=1, interval_start=0)
    except OperationalError as error:
        print(connection.transport.driver_name, type(error.__cause__).__name__, connection.transport_options)
"""


def test_rabbitmq_is_spoken_to_without_options_of_redis():
    """As far as that goes without one: the library is there, takes our options, and finds nobody at that port."""
    assert python(CONNECT, BROKER_URL="amqp://gate:x@127.0.0.1:1/gate") == "py-amqp ConnectionRefusedError {}"


def test_redis_gets_its_options():
    said = python(CONNECT, BROKER_URL="redis://:x@127.0.0.1:1/0")
    assert said.startswith("redis ")
    assert "'visibility_timeout': 60" in said


# Who we are to Postgres: only what the service does by itself is put down to it


@pytest.mark.parametrize(
    ("argv", "name"),
    [
        (["manage.py", "createsuperuser"], "wcsgate createsuperuser"),
        (["/opt/wcsgate/manage.py", "runserver", "8000"], "wcsgate"),
        (["manage.py"], "wcsgate unknown manage.py"),
        (["/bin/celery", "-A", "wcsgate", "worker", "-c", "1"], "wcsgate"),
        (["/lib/celery/__main__.py", "-q", "-A", "wcsgate", "beat"], "wcsgate"),
        (["/bin/celery", "-A", "wcsgate", "shell"], "wcsgate unknown celery"),
        (["/lib/django/__main__.py", "createsuperuser"], "wcsgate unknown django"),
        (["/bin/django-admin", "shell"], "wcsgate unknown django-admin"),
        (["-c"], "wcsgate unknown -c"),
        ([""], "wcsgate unknown"),
        (["/opt/tools/worker.py", "worker"], "wcsgate unknown worker.py"),
    ],
)
def test_what_is_not_the_service_is_not_taken_for_it(argv, name):
    assert python(f"from wcsgate import settings; print(settings.program({argv}))") == name


def test_web_is_the_service_by_its_application(tmp_path):
    asked = "import wcsgate.wsgi, os; from django.conf import settings; print(settings.APPLICATION, flush=True)"
    assert python(f"{asked}; os._exit(0)", WCSGATE_STATIC_ROOT=str(tmp_path)) == "wcsgate"
    assert python("import django; from wcsgate import settings; print(settings.APPLICATION)") == "wcsgate unknown -c"
