"""The system checks: what they find, and what they leave in peace."""

import pytest
from django.core.management import call_command
from django.db import OperationalError

from apps.connections.models import App
from apps.hooks import checks
from tests import factories

KEY = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="


def ids(messages):
    return [message.id for message in messages]


@pytest.mark.parametrize("keys", [["short"], [KEY, "AAAA"], ["not base64 at all, but long enough to be a key!!"]])
def test_what_is_no_encryption_key_is_an_error(settings, keys):
    settings.ENCRYPTION_KEYS = keys
    assert ids(checks.encryption_keys(None)) == ["wcsgate.E001"]


@pytest.mark.parametrize("keys", [[], [KEY], [KEY, KEY]])
def test_keys_are_in_order(settings, keys):
    settings.ENCRYPTION_KEYS = keys
    assert checks.encryption_keys(None) == []


@pytest.mark.parametrize("name", ["TRUSTED_PROXIES", "METRICS_NETWORKS"])
def test_what_is_no_network_is_an_error_that_names_the_setting_and_the_value(settings, name):
    setattr(settings, name, ["10.0.0.0/8", "proxy.example.org", "10.0.0.1/8", "::1"])
    found = checks.networks(None)
    assert ids(found) == ["wcsgate.E002"] * 2
    assert [message.msg.split(",")[0] for message in found] == [
        f"WCSGATE_{name} holds “{value}”" for value in ("proxy.example.org", "10.0.0.1/8")
    ]


@pytest.mark.django_db
def test_an_app_with_neither_login_nor_networks_is_a_warning_that_names_it():
    factories.make_app("open", hook_password=None)
    factories.make_app("with-login")
    factories.make_app("with-networks", hook_password=None, networks=["10.0.0.0/8"])
    (found,) = checks.apps_that_trust_only_this_computer(None, databases=["default"])
    assert found.id == "wcsgate.W001"
    assert "“open”" in found.msg


@pytest.mark.django_db
def test_check_looks_at_the_apps_only_when_told_to_ask_the_database(capsys):
    factories.make_app("open", hook_password=None)
    call_command("check")
    assert "wcsgate.W001" not in capsys.readouterr().err
    call_command("check", databases=["default"])
    assert "wcsgate.W001" in capsys.readouterr().err


def test_a_database_without_tables_is_no_finding(monkeypatch):
    def missing():
        raise OperationalError("relation does not exist")

    monkeypatch.setattr(App.objects, "all", missing)
    assert checks.apps_that_trust_only_this_computer(None, databases=["default"]) == []


@pytest.mark.parametrize("folder", ["", "/dev/null/spool"])
def test_a_spool_that_cannot_be_written_is_a_warning(settings, folder):
    settings.SPOOL = folder
    assert ids(checks.spool(None)) == ["wcsgate.W002"]


def test_a_spool_whose_folder_is_still_to_be_made_is_in_order(settings, tmp_path):
    settings.SPOOL = str(tmp_path / "not" / "yet")
    assert checks.spool(None) == []


def test_keys_for_seals_are_keys_and_should_be_there(settings):
    settings.SEAL_KEYS = ["AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="]
    assert not checks.seal_keys(None)
    assert not checks.seals(None)
    settings.SEAL_KEYS = ["short"]
    assert ids(checks.seal_keys(None)) == ["wcsgate.E003"]
    settings.SEAL_KEYS = []
    assert ids(checks.seals(None)) == ["wcsgate.I001"]
