"""Where staff and operators are told that the record is not sealed any more."""

from datetime import timedelta
from io import StringIO

import pytest
import time_machine
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from apps.audit.models import Seal
from apps.audit.moving.mover import move_batch
from apps.audit.proving.seals import seal
from tests import factories
from tests.admin.conftest import browser_of
from tests.audit.test_evidence import KEY, as_setting
from tests.audit.test_mover import make_record

TOLD = "is no longer in the database."


@pytest.fixture
def sealed(settings, tmp_path, wcs):
    """A record that was sealed just now, on a machine that keeps its seals."""
    settings.SEAL_KEYS, settings.SPOOL = [as_setting(KEY)], str(tmp_path / "spool")
    make_record()
    move_batch()
    with time_machine.travel(timezone.now() - timedelta(seconds=5)):
        return seal(timezone.now())


def test_the_overview_says_what_keeps_the_record_from_being_sealed(root, sealed):
    assert TOLD not in root.get("/admin/").content.decode()
    Seal.objects.all().delete()
    overview = root.get("/admin/").content.decode()
    assert TOLD in overview
    assert "manage.py verify_audit" in overview


def test_auditors_are_told_until_when_the_record_is_sealed(audrey, sealed):
    told = f"What came into the audit log until {timezone.localtime(sealed.made_at):%Y-%m-%d %H:%M:%S} is sealed"
    for address in ("/admin/", reverse("missing_hooks")):
        assert told in audrey.get(address).content.decode()
    assert "is sealed" not in browser_of(factories.make_user("sam", is_staff=True)).get("/admin/").content.decode()


def test_readyz_and_metrics_say_it_also_where_there_is_no_key(settings, sealed):
    settings.SEAL_KEYS = []
    assert Client().get("/readyz").json()["seal_trouble"] is None
    text = Client().get("/metrics").content.decode()
    assert "\nwcsgate_seal_trouble 0.0" in text
    told = float(text.partition("\nwcsgate_sealed_seconds ")[2].partition("\n")[0])
    assert told == pytest.approx(sealed.made_at.timestamp(), abs=1)
    Seal.objects.all().delete()
    said = Client().get("/readyz")
    assert (said.status_code, said.json()["seal_trouble"].endswith(TOLD)) == (200, True)
    assert "\nwcsgate_seal_trouble 1.0" in Client().get("/metrics").content.decode()


@pytest.mark.parametrize("page_name", ["admin:index", "missing_hooks"])
def test_while_something_is_wrong_nothing_calms_and_what_was_accepted_is_said_to_be(root, sealed, page_name):
    address = reverse(page_name)
    Seal.objects.all().delete()
    page = root.get(address).content.decode()
    assert TOLD in page
    assert "is sealed, once a day" not in page
    assert "was accepted" not in page
    call_command("seal_audit", "--accept", stdout=StringIO())
    page = root.get(address).content.decode()
    assert TOLD not in page
    assert "is sealed, once a day" in page
    assert f"The record was accepted as it was on {timezone.localtime():%Y-%m-%d}" in page
    assert "up to batch 1: so it is kept in the file of seals" in page
    assert "manage.py verify_audit</code> says whether anything had" in page
