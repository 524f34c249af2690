"""System checks: what must be set before hooks can be trusted to it."""

import os
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet
from django.conf import settings
from django.core import checks
from django.db import DatabaseError

from apps.audit.proving.seals import private_keys
from apps.connections.models import App


@checks.register(checks.Tags.security)
def encryption_keys(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """WCSGATE_ENCRYPTION_KEYS must hold only keys. (Without any, production does not start: see settings.py.)"""
    if all(map(_is_key, settings.ENCRYPTION_KEYS)):
        return []
    hint = "Make one with: python3 -c 'import base64, os; print(base64.urlsafe_b64encode(os.urandom(32)).decode())'"
    message = "WCSGATE_ENCRYPTION_KEYS holds something that is not a key."
    return [checks.Error(message, hint=hint, id="wcsgate.E001")]


@checks.register(checks.Tags.security)
def seal_keys(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """WCSGATE_SEAL_KEYS must hold only keys."""
    try:
        private_keys()
    except ValueError:
        hint = "They are made as those of WCSGATE_ENCRYPTION_KEYS are: 32 random bytes in base64."
        message = "WCSGATE_SEAL_KEYS holds something that is not a key."
        return [checks.Error(message, hint=hint, id="wcsgate.E003")]
    return []


@checks.register(checks.Tags.security, deploy=True)
def seals(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """Without a key nobody can tell a record that was replaced as a whole."""
    if settings.SEAL_KEYS:
        return []
    hint = "Set it to 32 random bytes in base64, and keep it away from whoever can write to the database."
    message = "WCSGATE_SEAL_KEYS is not set: the record is chained, but not sealed."
    return [checks.Info(message, hint=hint, id="wcsgate.I001")]


@checks.register(checks.Tags.security)
def networks(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """Settings that list networks must list networks."""
    return [
        checks.Error(
            f"{name} holds “{value}”, which is not a network.",
            hint="Write networks like 10.0.0.0/8, separated by commas.",
            id="wcsgate.E002",
        )
        for name, values in (
            ("WCSGATE_TRUSTED_PROXIES", settings.TRUSTED_PROXIES),
            ("WCSGATE_METRICS_NETWORKS", settings.METRICS_NETWORKS),
        )
        for value in values
        if not _is_network(value)
    ]


@checks.register(checks.Tags.security, deploy=True)
def spool(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """Without a spool, events of the time in which Postgres is away are lost."""
    folder = Path(settings.SPOOL)
    there = next((place for place in (folder, *folder.parents) if place.exists()), folder)
    if settings.SPOOL and there.is_dir() and os.access(there, os.W_OK | os.X_OK):
        return []
    problem = f"“{folder}” cannot be written" if settings.SPOOL else "is not set"
    return [
        checks.Warning(
            f"WCSGATE_SPOOL {problem}: while Postgres is away, events are answered with 503.",
            hint="Name a folder on a disk of this machine that web and workers can write: /var/lib/wcsgate/spool.",
            id="wcsgate.W002",
        )
    ]


@checks.register(checks.Tags.database)
def apps_that_trust_only_this_computer(
    app_configs: Any, databases: Any = None, **kwargs: Any
) -> list[checks.CheckMessage]:
    """An app without login and networks accepts hooks from loopback only, which is seldom what is meant."""
    if not databases:
        return []
    try:
        open_apps = [app.key for app in App.objects.all() if not app.hook_passwords and not app.networks]
    except DatabaseError:
        return []  # not migrated yet
    return [
        checks.Warning(
            f"The WCS app “{key}” has neither a hook password nor networks: hooks are accepted from this computer "
            "only, or signed by nodes that have a signing secret.",
            hint="Set a hook password, the same as restPassword in WCS, on the app's page in the admin.",
            id="wcsgate.W001",
        )
        for key in open_apps
    ]


def _is_key(value: str) -> bool:
    try:
        Fernet(value)
    except ValueError:
        return False
    return True


def _is_network(value: str) -> bool:
    try:
        ip_network(value)
    except ValueError:
        return False
    return True
