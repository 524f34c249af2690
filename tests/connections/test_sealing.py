"""Secrets at rest, and changing the key they rest under."""

import pytest
from django.core.management import CommandError, call_command

from apps.connections.management.commands.reseal_secrets import sealed_columns
from apps.connections.models import App, Node, SipAccount
from apps.connections.sealing import CannotUnseal, is_sealed, seal, unseal
from tests import factories

NEW = "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBA="


def test_what_is_sealed_is_not_the_secret_and_comes_back():
    assert "hook-secret" not in seal("hook-secret")
    assert unseal(seal("hook-secret")) == "hook-secret"


def test_two_sealings_of_one_secret_differ():
    assert seal("hook-secret") != seal("hook-secret")


def test_no_other_key_reads_it(settings):
    sealed = seal("hook-secret")
    settings.ENCRYPTION_KEYS = [NEW]
    assert not is_sealed(sealed)
    with pytest.raises(CannotUnseal):
        unseal(sealed)


@pytest.mark.django_db
def test_after_resealing_the_old_key_can_go(settings):
    factories.make_app()
    factories.make_node(secret="signs")
    factories.make_sip_account(factories.make_user())
    settings.ENCRYPTION_KEYS = [NEW, *settings.ENCRYPTION_KEYS]
    call_command("reseal_secrets")
    settings.ENCRYPTION_KEYS = [NEW]
    assert unseal(App.objects.get().hook_passwords[0]) == factories.HOOK_PASSWORD
    assert unseal(Node.objects.get().secrets[0]) == "signs"
    assert unseal(SipAccount.objects.get().password) == "sip-secret"


def test_resealing_finds_every_column_with_a_secret():
    columns = {(model.__name__, name) for model, name in sealed_columns()}
    assert columns >= {("App", "hook_passwords"), ("Node", "secrets"), ("SipAccount", "password")}


@pytest.mark.django_db
def test_resealing_where_nothing_is_stored_does_nothing(capsys):
    factories.make_app(hook_password=None)
    call_command("reseal_secrets")
    assert capsys.readouterr().out.startswith("0 secrets")


@pytest.mark.django_db
def test_a_secret_that_no_key_reads_stops_resealing_before_anything_changes(settings):
    factories.make_app()
    sealed = App.objects.get().hook_passwords
    settings.ENCRYPTION_KEYS = [NEW]
    with pytest.raises(CommandError, match="A secret of defaultApp cannot be read"):
        call_command("reseal_secrets")
    assert App.objects.get().hook_passwords == sealed
