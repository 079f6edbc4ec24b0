"""A Django host: sync views in threads, and neither lifespan nor WebSockets."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path as route
from django.views.decorators.http import require_POST

from tests.support.hosts_pages import PAGES, Lives, posted

__all__ = ["django_app"]

_URLS = "tests_hosts_django_urls"


def django_app(_lives: Lives) -> Any:
    """Build the app; Django has one set of URLs a process."""
    if not settings.configured:
        urls: Any = ModuleType(_URLS)
        urls.urlpatterns = [route(path[1:], _page(fn)) for path, fn in PAGES.items()]
        urls.urlpatterns.append(route("only-post", require_POST(_page(posted))))
        sys.modules[_URLS] = urls
        settings.configure(ROOT_URLCONF=_URLS, ALLOWED_HOSTS=["*"], LOGGING_CONFIG=None)
        django.setup()
    return get_asgi_application()


def _page(fn: Callable[[], str]) -> Any:
    def view(_request: HttpRequest) -> HttpResponse:
        return HttpResponse(fn())

    return view
