"""Whatever is typed into a search box takes no time that others would wait for."""

import time

import pytest
from django.contrib import admin
from django.test import RequestFactory
from django.urls import reverse

from apps.accounts.models import User
from tests import factories

pytestmark = pytest.mark.django_db

LONG = {"quotes": '\\" ' * 7_000, "words": "a " * 30_000, "one word": "a" * 60_000, "digits": "+49 " * 15_000}
SEARCHED = sorted(
    (model for model, page in admin.site._registry.items() if page.search_fields), key=lambda model: model._meta.label
)
WORDS = 20


@pytest.mark.parametrize("model", SEARCHED, ids=lambda model: model._meta.label)
@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
def test_long_text_finds_nothing_at_once(model, text):
    request = RequestFactory().get("/", {"term": text})
    request.user = User(is_staff=True, is_superuser=True)
    began = time.thread_time()
    found, _ = admin.site.get_model_admin(model).get_search_results(request, model._default_manager.all(), text)
    assert not found[:1]
    assert time.thread_time() - began < 0.1


def test_a_list_says_what_is_too_long(root):
    factories.make_stream("lobby")
    for text in ("a" * 201, "lobby " * (WORDS + 1)):
        response = root.get(reverse("admin:streams_stream_changelist"), {"q": text})
        assert "Search for at most 200 characters and 20 words." in response.content.decode()
        assert response.context["cl"].result_count == 0


def test_what_somebody_types_is_found(root):
    factories.make_stream("l" * 200)
    factories.make_stream("lobby")
    for text in ("l" * 200, "lobby " * WORDS):
        response = root.get(reverse("admin:streams_stream_changelist"), {"q": text})
        assert response.context["cl"].result_count == 1


def test_completion_says_nothing_and_finds_nothing(root):
    factories.make_stream("lobby")
    query = {"app_label": "access", "model_name": "rule", "field_name": "stream", "term": "lobby " * (WORDS + 1)}
    assert root.get(reverse("admin:autocomplete"), query).json()["results"] == []
    assert "at most" not in root.get(reverse("admin:streams_stream_changelist")).content.decode()
