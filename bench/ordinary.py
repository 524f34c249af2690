"""The same decision as most would write it: an ordinary DRF view, ORM queries, and a Celery task for the record.

Never stale and never wrong, like ours, but neither durable before the answer nor explained. Only for comparison.
"""

from celery import shared_task
from django.db.models import Q
from django.urls import path
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.access.models import Rule
from apps.connections.models import App, Session


@shared_task(name="bench.record_hook", ignore_result=True)
def record_hook(method, body, allowed):
    """Would write the record; nobody works on the queue during the benchmark."""


class HookAuthentication(BaseAuthentication):
    def authenticate(self, request):
        if not get_authorization_header(request).startswith(b"Basic "):
            raise AuthenticationFailed
        return


class PublishStream(APIView):
    authentication_classes = [HookAuthentication]
    permission_classes = []

    def post(self, request):
        app = App.objects.get(key=request.data["appKey"])
        session = Session.objects.select_related("user").get(
            node_id=request.data["nodeId"], session_id=request.data["sessionId"], app_key=app.key, ended_at=None
        )
        now = timezone.now()
        who = Q(who="everyone") | Q(user=session.user) | Q(group__in=session.user.groups.all())
        period = (Q(starts_at=None) | Q(starts_at__lte=now)) & (Q(ends_at=None) | Q(ends_at__gt=now))
        target = Q(target_kind="any") | Q(target_kind="exact", target=request.data["name"])
        rules = Rule.objects.filter(who, period, target, actions__contains=["publish"], enforced=True)
        effects = set(rules.values_list("effect", flat=True))
        allowed = session.user.is_active and effects == {"allow"}
        record_hook.delay("publishStream", request.data, allowed)
        return Response(request.data if allowed else {"detail": "refused"}, status=200 if allowed else 403)


urlpatterns = [path("hooks/publishStream", PublishStream.as_view())]
