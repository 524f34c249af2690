"""The one app that statistics are narrowed to, where somebody chose one. Hooks are counted by app; what ran is not."""

from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import urlencode

from apps.audit.browsing.query import quoted
from apps.audit.statistics.table import Statistic
from apps.audit.statistics.tallies import KEY_TEXT
from apps.connections.models import App

OFFERED = 200
"""Apps to choose from; any other one can be given in the address."""


class BadApp(ValueError):
    """Of the app that was asked for nothing can be told. The message says why."""


def app_of(asked: Mapping[str, str]) -> str:
    """The app key that an address asks for; "" for all apps. Raises BadApp."""
    app = asked.get("app", "")
    if "\0" in app:
        raise BadApp("No app key has a NUL in it.")
    if len(app) >= KEY_TEXT:
        raise BadApp(f"Hooks are counted by app keys of less than {KEY_TEXT} characters. This one is longer.")
    return app


def address_of(app: str) -> str:
    """What an address has behind the period."""
    return f"&{urlencode({'app': app})}" if app else ""


def apps_to_choose(app: str) -> list[str]:
    """App keys as they are offered, with the one that is chosen."""
    keys = [key for key in App.objects.order_by("key").values_list("key", flat=True)[:OFFERED] if len(key) < KEY_TEXT]
    return keys if not app or app in keys else [app, *keys]


def through(app: str) -> str:
    """What is said behind a period."""
    return f" through app “{app}”" if app else ""


def search_through(app: str, words: str) -> str:
    """The words of a search, for one app; "" where that cannot be searched for."""
    if not app:
        return words
    term = quoted("app", app)
    return f"{words} {term}" if term else ""


def of_all_apps(statistic: Statistic) -> Statistic:
    """It says that no app was chosen here, as others beside it are of one."""
    sentence = f"All apps together, as this is not kept by app. {statistic.sentence}"
    return replace(statistic, title=f"{statistic.title}, all apps", sentence=sentence)
