"""What a Celery app must be like before a task of it may be guarded."""

from __future__ import annotations

from typing import Final

from celery import Celery

from asgi_guard.errors import ConfigError

__all__ = ["JSON", "check_settings", "not_json"]

JSON: Final = frozenset({"json", "application/json"})
_SETTINGS: Final = ("task_serializer", "result_serializer")
_ACCEPTS: Final = ("accept_content", "result_accept_content")
_MIXED_POOLS: Final = frozenset({"gevent", "eventlet"})  # no loop of asyncio beside them


def check_settings(app: Celery) -> None:
    """Refuse an app that decodes what an attacker chooses, or whose pool mixes its tasks.

    Raises:
        ConfigError: It accepts or writes anything but JSON, or runs greenlets.
    """
    for name in _SETTINGS:
        if app.conf[name] not in JSON:
            raise not_json(name, app.conf[name])
    for name in _ACCEPTS:
        accepted = app.conf[name]
        if accepted is None and name == "result_accept_content":
            continue  # as accept_content
        if not accepted or not set(accepted) <= JSON:
            raise not_json(name, accepted)
    if app.conf.worker_pool in _MIXED_POOLS:
        raise ConfigError(
            "celery.worker_pool", f"is {app.conf.worker_pool!r}", "Use prefork, threads or solo."
        )


def not_json(name: str, value: object) -> ConfigError:
    """Give the error for a setting that is not JSON."""
    return ConfigError(
        f"celery.{name}",
        f"is {value!r}: whoever writes to the broker chooses what the worker decodes",
        "Accept and send 'json' alone.",
    )
