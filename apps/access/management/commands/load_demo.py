"""Fills an empty database with the demo; never in production."""

import os
import secrets
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group, Permission
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.db.models import Q

from apps.access.files import import_access
from apps.accounts.models import User
from apps.connections.models import App, SipAccount
from apps.database.acting import acting_command
from apps.database.commands import database_needed

DEMO = Path(__file__).resolve().parents[2] / "demo.yaml"
APP_KEY = "defaultApp"

STAFF_MAY = {
    "access": [
        *(f"{verb}_{what}permission" for verb in ("view", "add", "change", "delete") for what in ("stream", "call")),
        "view_numberclass",
        "view_schedule",
    ],
    "accounts": [
        "view_user",
        "add_user",
        "change_user",
        *(f"{verb}_token" for verb in ("view", "add", "change", "delete")),
    ],
    "audit": ["view_auditevent"],
    "auth": ["view_group"],
    "live": ["view_lease", "end_lease"],
    "connections": ["view_session", *(f"{verb}_sipaccount" for verb in ("view", "add", "change", "delete"))],
    "streams": [f"{verb}_{what}" for verb in ("view", "add", "change", "delete") for what in ("stream", "streamlink")],
}
"""By app. Users are switched off, never deleted: their history would go with them."""

AUDITORS_MAY = {"audit": ["view_auditevent", "view_hold", "view_badrecord"]}


class Command(BaseCommand):
    help = "Fills an empty database with the demo: a small school with cameras and a help desk."

    def handle(self, **options: Any) -> None:
        with database_needed(), acting_command("load_demo"):
            self._load()

    def _load(self) -> None:
        if settings.PRODUCTION:
            raise CommandError("The demo has well-known tokens, so it is never loaded in production.")
        if User.objects.exists():
            self.stdout.write("There are users already, so the demo was not loaded.")
            return
        admin_password, hook_password = _needed("WCSGATE_ADMIN_PASSWORD"), _needed("WCSGATE_HOOK_PASSWORD")
        with transaction.atomic():
            imported = import_access(DEMO.read_text(encoding="utf-8"))
            _set_hook_password(hook_password)
            _give_sip_account("agent1", login="10001", domain="sip.example.com", visible_name="Help desk")
            User.objects.create_superuser("admin", password=admin_password)
            _add_staff("staff1", "Staff", STAFF_MAY)
            _add_staff("auditor1", "Auditors", AUDITORS_MAY)
        self.stdout.write(f"The demo was loaded: {imported.summary}")


def _needed(variable: str) -> str:
    value = os.environ.get(variable, "")
    if not value:
        raise CommandError(f"{variable} is not set; the demo needs it.")
    return value


def _set_hook_password(password: str) -> None:
    app = App.objects.get(key=APP_KEY)
    app.set_hook_password(password)
    app.save()


def _give_sip_account(username: str, **fields: str) -> None:
    """An account at a server that there is not, so its password matters to nobody."""
    account = SipAccount(user=User.objects.get(username=username), note="Given to the client at connect.", **fields)
    account.set_password(secrets.token_urlsafe(12))
    account.save()


def _add_staff(username: str, group_name: str, may: dict[str, list[str]]) -> None:
    """A member of staff without a password: the superuser sets one in the admin."""
    group = Group.objects.create(name=group_name)
    granted = [Q(content_type__app_label=app, codename__in=codenames) for app, codenames in may.items()]
    group.permissions.set(Permission.objects.filter(Q(*granted, _connector=Q.OR)))
    user = User.objects.create_user(username, is_staff=True)
    user.groups.add(group)
