"""The reference door: a DRF view that gives the same answers as the fast one, with a schema."""

from datetime import UTC, datetime
from typing import ClassVar

from django.http import HttpRequest, HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.views import APIView

from apps.hooks.answer import answer
from apps.hooks.door import wire_name

_PROBLEM = {
    "type": "object",
    "properties": {"error": {"type": "string"}, "detail": {"type": "string"}},
    "required": ["error", "detail"],
}


class HookView(APIView):
    """One hook of WCS. The caller is authenticated by the flow itself, on the raw bytes."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    parser_classes = ()
    throttle_classes = ()
    default_response_headers: ClassVar[dict[str, str]] = {}

    def initial(self, request: Request, *args: object, **kwargs: object) -> None:
        """Nothing: whom to let in, and what to read, is for the flow."""

    def perform_content_negotiation(self, request: Request, force: bool = False) -> tuple[JSONRenderer, str]:
        """JSON, whatever the caller would rather have: so does the fast door."""
        return JSONRenderer(), JSONRenderer.media_type

    @extend_schema(
        summary="Answer one hook of WCS",
        description="The last segment of the address is the method, in any letter case. "
        "200 mirrors the body as it came; `connect` adds restClientConfig.",
        parameters=[OpenApiParameter("method", OpenApiTypes.STR, OpenApiParameter.PATH)],
        request={"application/json": {"type": "object"}},
        responses={
            200: OpenApiResponse({"type": "object"}, "Go on."),
            **{
                code: OpenApiResponse(_PROBLEM, words)
                for code, words in {
                    400: "The body cannot be read.",
                    401: "The app's HTTP Basic login is missing or wrong.",
                    403: "Refused; `error` is the reason.",
                    405: "Not POST.",
                    413: "Too large or too deep.",
                    415: "Not JSON.",
                    503: "Could not be decided and recorded in time.",
                }.items()
            },
        },
    )
    def post(self, request: Request, method: str) -> HttpResponse:
        return _answered(request._request)

    def http_method_not_allowed(self, request: Request, *args: object, **kwargs: object) -> HttpResponse:
        return _answered(request._request)

    options = http_method_not_allowed


def _answered(request: HttpRequest) -> HttpResponse:
    result = answer(wire_name(request.path_info), request.META, request.read, now=datetime.now(UTC))
    headers = {"Content-Length": str(len(result.body)), **dict(result.headers)}
    return HttpResponse(result.body, status=result.status, content_type="application/json", headers=headers)
