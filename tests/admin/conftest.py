"""Staff at their pages: Root may everything, Olga what her role permits, Audrey only reads the audit log."""

import uuid
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group, Permission
from django.test import Client
from django.utils import timezone

from apps.access.reasons import Reason
from apps.audit.models import AuditEvent
from apps.connections.models import Session
from tests import factories

PASSWORD = "correct horse battery"
MODELS = (
    "user",
    "group",
    "token",
    "stream",
    "app",
    "node",
    "session",
    "streampermission",
    "callpermission",
    "auditevent",
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
    return AuditEvent.objects.create(id=uuid.uuid4(), method=method, **moment, **{**defaults, **fields})


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


@pytest.fixture(autouse=True)
def no_static_files(settings):
    """None were collected, and WhiteNoise would warn about that."""
    settings.WHITENOISE_AUTOREFRESH = True


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
