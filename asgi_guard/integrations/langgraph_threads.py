"""LangGraph's configs and checkpoints, between their owner's names and those that are stored."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointMetadata, CheckpointTuple
from langgraph.checkpoint.serde.types import RESUME

from asgi_guard.errors import ConfigError, ContextContaminationError
from asgi_guard.tenancy.ownership import LABEL_LENGTH, not_owned
from asgi_guard.tenancy.reporting import report

__all__ = [
    "OPERATION",
    "OWNER",
    "before_inwards",
    "config_inwards",
    "config_outwards",
    "contaminated",
    "found_outwards",
    "marked",
    "resumes",
    "root_of",
    "thread_inwards",
]

OPERATION: Final = "langgraph.checkpoints"
OWNER: Final = "asgi_guard_owner"
_LABELLED: Final = re.compile(r"[ut][0-9a-f]{40}\.")


def thread_inwards(thread_id: object, label: str) -> str:
    """Return the id under which a thread of the owner is stored.

    Raises:
        ConfigError: It is missing.
        NotOwnedError: It is a stored id of another owner.
    """
    name = str(thread_id)
    if thread_id is None or not name:
        raise ConfigError("configurable.thread_id", "is missing", "Name the thread.")
    if _LABELLED.match(name):
        if not name.startswith(f"{label}."):
            raise not_owned("thread_of_another", OPERATION)
        return name
    return f"{label}.{name}"


def config_inwards(config: RunnableConfig, label: str) -> RunnableConfig:
    """Return *config* with the thread as it is stored."""
    named = config.get("configurable") or {}
    inner = {**named, "thread_id": thread_inwards(named.get("thread_id"), label)}
    return cast("RunnableConfig", {**config, "configurable": inner})


def resumes(writes: Sequence[tuple[str, Any]]) -> bool:
    """Tell whether *writes* answer an interrupt."""
    return any(channel == RESUME for channel, _ in writes)


def root_of(config: RunnableConfig) -> RunnableConfig:
    """The thread's newest checkpoint, outside of subgraphs."""
    thread_id = config["configurable"]["thread_id"]
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}}


def before_inwards(config: RunnableConfig | None, label: str) -> RunnableConfig | None:
    """Return *config*, of which savers read the checkpoint id, with its thread as it is stored."""
    if config is None or "thread_id" not in (config.get("configurable") or {}):
        return config
    return config_inwards(config, label)


def config_outwards(config: RunnableConfig, label: str) -> RunnableConfig:
    """Return *config* with the thread as its owner calls it.

    Raises:
        ContextContaminationError: It is another owner's.
    """
    named = config["configurable"]
    thread_id = str(named.get("thread_id"))
    if not thread_id.startswith(f"{label}."):
        raise contaminated("checkpoint_of_another", "the checkpointer gave another user's thread")
    plain = {**named, "thread_id": thread_id[LABEL_LENGTH + 1 :]}
    return cast("RunnableConfig", {**config, "configurable": plain})


def found_outwards(found: CheckpointTuple, label: str) -> CheckpointTuple:
    """Return what was *found* as its owner knows it."""
    parent = found.parent_config
    metadata = {key: value for key, value in found.metadata.items() if key != OWNER}
    return found._replace(
        config=config_outwards(found.config, label),
        metadata=cast("CheckpointMetadata", metadata),
        parent_config=None if parent is None else config_outwards(parent, label),
    )


def marked(metadata: CheckpointMetadata, label: str) -> CheckpointMetadata:
    """Return *metadata* with the owner, for lists to filter by."""
    return cast("CheckpointMetadata", {**metadata, OWNER: label})


def contaminated(reason: str, problem: str) -> ContextContaminationError:
    """Report that a run or list met what is another user's, and return the error to raise."""
    report(ContextContaminationError.code, reason=reason, operation=OPERATION)
    return ContextContaminationError(
        OPERATION, problem, remedy="Read checkpoints in the context of their own user."
    )
