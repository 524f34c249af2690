"""Staff at their pages: Root may everything, Olga what her role permits, Audrey only reads the audit log."""

import os
import shutil
from datetime import timedelta

import pytest
from django.conf import settings
from django.contrib.auth.models import Group, Permission
from django.test import Client, override_settings
from django.utils import timezone

from apps.access.reasons import Reason
from apps.audit.models import AuditEvent
from apps.audit.recording.recorder import new_id
from apps.connections.models import Session
from tests import factories

PASSWORD = "correct horse battery"
MODELS = (
    "user",
    "group",
    "token",
    "apikey",
    "stream",
    "app",
    "node",
    "session",
    "sipaccount",
    "lease",
    "streampermission",
    "callpermission",
    "auditevent",
    "hold",
    "badrecord",
    "streamlink",
    "tokenissuer",
    "revocation",
)


def make_role(name, *codenames):
    role = Group.objects.create(name=name)
    role.permissions.set(Permission.objects.filter(codename__in=codenames))
    return role


def make_event(method="playStream", **fields):
    """A refused attempt of Charlie to play the lobby, unless told otherwise."""
    received_at = fields.pop("received_at", timezone.now() - timedelta(minutes=5))
    defaults = {
        "node_id": factories.NODE_ID,
        "app_key": "defaultApp",
        "session_id": factories.SESSION_ID,
        "media_session_id": "",
        "call_id": "",
        "status": "",
        "action": "play",
        "target": "lobby",
        "username": "charlie",
        "effect": "deny",
        "reason": Reason.NO_RULE,
        "revision": 1,
        "body": b"{}",
        "digest": b"",
    }
    moment = {"received_at": received_at, "last_received_at": received_at}
    return AuditEvent.objects.create(id=new_id(received_at), method=method, **moment, **{**defaults, **fields})


def make_session(user=None, **fields):
    number = Session.objects.count()
    defaults = {"node_id": factories.NODE_ID, "session_id": f"session-{number}", "app_key": "defaultApp"}
    name = user.username if user else ""
    return Session.objects.create(user=user, username=name, entered_by="token", **{**defaults, **fields})


def browser_of(user):
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    client.user = user
    return client


@pytest.fixture(scope="session", autouse=True)
def no_static_files():
    """None were collected, and WhiteNoise would warn about that."""
    with override_settings(WHITENOISE_AUTOREFRESH=True):
        yield


@pytest.fixture
def root(db):
    return browser_of(factories.make_user("root", password=PASSWORD, is_staff=True, is_superuser=True))


@pytest.fixture
def olga(db):
    """A member of staff with every permission, but no superuser."""
    every = [f"{verb}_{model}" for verb in ("view", "add", "change", "delete") for model in MODELS]
    make_role("operators", *every)
    return browser_of(factories.make_user("olga", password=PASSWORD, is_staff=True, groups=["operators"]))


@pytest.fixture
def audrey(db):
    make_role("auditors", "view_auditevent")
    return browser_of(factories.make_user("audrey", is_staff=True, groups=["auditors"]))


# A real browser


@pytest.fixture(scope="session")
def chromium():
    """Chromium without a window. Where there is none the test is skipped, or fails if one is required."""
    from playwright.sync_api import expect, sync_playwright

    if not shutil.which(settings.BROWSER or "none"):
        missing = pytest.fail if os.environ.get("WCSGATE_BROWSER_REQUIRED") == "1" else pytest.skip
        missing("There is no Chromium: WCSGATE_BROWSER does not name one.")
    with sync_playwright() as playwright, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")  # Playwright has a loop in this thread, Django does not mind
        browser = playwright.chromium.launch(executable_path=settings.BROWSER, args=["--no-sandbox"])
        expect.set_options(timeout=20_000)
        yield browser
        browser.close()


@pytest.fixture
def context(chromium, live_server):
    """A browser that knows nothing yet."""
    context = chromium.new_context(base_url=live_server.url)
    context.set_default_timeout(30_000)
    yield context
    context.close()


def at_the_admin(context):
    window = context.new_page()
    window.goto("/admin/")
    return window


@pytest.fixture
def window(context):
    """A window of a browser, at the admin's login."""
    return at_the_admin(context)


def log_in(window, username="root", password=PASSWORD):
    window.get_by_label("Username").fill(username)
    window.get_by_label("Password").fill(password)
    window.get_by_role("button", name="Log in").click()


def desk_of(user, context, live_server):
    """The window of somebody who has logged in before."""
    name = settings.SESSION_COOKIE_NAME
    context.add_cookies([{"name": name, "value": browser_of(user).cookies[name].value, "url": live_server.url}])
    return at_the_admin(context)


@pytest.fixture
def desk(context, live_server):
    """The window of Root."""
    return desk_of(factories.make_user("root", is_staff=True, is_superuser=True), context, live_server)
