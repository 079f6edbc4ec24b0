"""LangGraph: checkpoints that answer their own user only.

A checkpointer finds a run by its ``thread_id``, which usually comes from the caller. Whoever sends
somebody else's reads their conversation, resumes their interrupted run, or rewinds it::

    graph = builder.compile(checkpointer=OwnedCheckpointer(saver), store=OwnedStore(store))

Needs the ``langgraph`` extra. The store is in `asgi_guard.integrations.langgraph_store`.
"""

from __future__ import annotations

from collections.abc import (
    AsyncIterator,
    Callable,
    Collection,
    Coroutine,
    Iterator,
    Mapping,
    Sequence,
)
from typing import Any

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard._internal.extras import require_extra
from asgi_guard.errors import ConfigError
from asgi_guard.protocols import Clock
from asgi_guard.tenancy.context import UserExecutionContext
from asgi_guard.tenancy.current import current_context, require_context, use_context
from asgi_guard.tenancy.ownership import OwnedBy, check_owned_by, not_owned, owner_label

require_extra("langgraph.checkpoint", feature=__name__, extra="langgraph")

from langchain_core.runnables import RunnableConfig  # noqa: E402 - a missing extra is named first
from langgraph.checkpoint.base import (  # noqa: E402 - as above
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
)

from asgi_guard.integrations.langgraph_threads import (  # noqa: E402 - as above
    OPERATION,
    OWNER,
    before_inwards,
    config_inwards,
    config_outwards,
    contaminated,
    found_outwards,
    marked,
    resumes,
    root_of,
    thread_inwards,
)

__all__ = ["OwnedCheckpointer"]


class OwnedCheckpointer(BaseCheckpointSaver[Any]):
    """Any LangGraph checkpointer, with each thread inside its owner's own name space.

    The same ``thread_id`` in the hands of two users is two threads. Nothing of another user is
    read, listed, resumed, rewound, copied or deleted, whichever id, checkpoint id, filter or
    ``checkpoint_ns`` is named; a stored id that carries another owner's label is refused with the
    event ``AGENT_ACCESS_REFUSED``. Every call needs a context that has not expired, so a run that
    outlives its credential saves nothing further.

    Threads that were stored without it belong to nobody and are not found.

    Args:
        inner: The checkpointer that stores; set it up first (``inner.setup()``).
        owned_by: ``"user"``: threads are of one user; ``"tenant"``: all users of a tenant share
            them.
        clock: Tells whether the context has expired.

    Raises:
        ConfigError: *inner* is no checkpointer, or *owned_by* is unknown.

    ``delete_for_runs`` is refused: run ids do not say whose they are.
    """

    def __init__(
        self,
        inner: BaseCheckpointSaver[Any],
        *,
        owned_by: OwnedBy = "user",
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        if not isinstance(inner, BaseCheckpointSaver):
            raise ConfigError(
                "OwnedCheckpointer(inner)",
                f"a {type(inner).__name__} is no checkpointer",
                "Pass a BaseCheckpointSaver, e.g. InMemorySaver().",
            )
        check_owned_by("OwnedCheckpointer(owned_by)", owned_by)
        super().__init__(serde=inner.serde)
        self._inner = inner
        self._owned_by = owned_by
        self._clock = clock

    @property
    def config_specs(self) -> list[Any]:
        """The inner checkpointer's."""
        return self._inner.config_specs

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Fetch a checkpoint of the caller's own thread."""
        label = self._label()
        found = self._inner.get_tuple(config_inwards(config, label))
        return None if found is None else found_outwards(found, label)

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Fetch a checkpoint of the caller's own thread."""
        label = self._label()
        found = await self._inner.aget_tuple(config_inwards(config, label))
        return None if found is None else found_outwards(found, label)

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 - LangGraph's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """List the caller's own checkpoints; without *config*, those of all their threads."""
        label = self._label()
        found = self._inner.list(
            None if config is None else config_inwards(config, label),
            filter={**(filter or {}), OWNER: label},
            before=before_inwards(before, label),
            limit=limit,
        )
        return self._steps(found, label)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 - LangGraph's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """List the caller's own checkpoints; without *config*, those of all their threads."""
        label = self._label()
        found = self._inner.alist(
            None if config is None else config_inwards(config, label),
            filter={**(filter or {}), OWNER: label},
            before=before_inwards(before, label),
            limit=limit,
        )
        async for each in found:
            self._check_still(label)
            yield found_outwards(each, label)

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint in the caller's own thread."""
        label = self._label()
        stored = self._inner.put(
            config_inwards(config, label), checkpoint, marked(metadata, label), new_versions
        )
        return config_outwards(stored, label)

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint in the caller's own thread."""
        label = self._label()
        stored = await self._inner.aput(
            config_inwards(config, label), checkpoint, marked(metadata, label), new_versions
        )
        return config_outwards(stored, label)

    @property
    def put_writes(self) -> Callable[..., None]:
        """Store a step's writes in the thread of the run that took hold of this method.

        A run takes it when it begins, and calls it from done-callbacks of its thread pool as
        well, where Python has no context.
        """
        begun = current_context(clock=self._clock)

        def write(
            config: RunnableConfig,
            writes: Sequence[tuple[str, Any]],
            task_id: str,
            task_path: str = "",
        ) -> None:
            inner = config_inwards(config, self._label_of_run(begun))
            if resumes(writes) and self._inner.get_tuple(root_of(inner)) is None:
                raise not_owned("nothing_to_resume", OPERATION)
            self._inner.put_writes(inner, writes, task_id, task_path)

        return write

    @property
    def aput_writes(self) -> Callable[..., Coroutine[Any, Any, None]]:
        """Store a step's writes in the thread of the run that took hold of this method."""
        begun = current_context(clock=self._clock)

        async def write(
            config: RunnableConfig,
            writes: Sequence[tuple[str, Any]],
            task_id: str,
            task_path: str = "",
        ) -> None:
            inner = config_inwards(config, self._label_of_run(begun))
            if resumes(writes) and await self._inner.aget_tuple(root_of(inner)) is None:
                raise not_owned("nothing_to_resume", OPERATION)
            await self._inner.aput_writes(inner, writes, task_id, task_path)

        return write

    def delete_thread(self, thread_id: str) -> None:
        """Delete the caller's own thread."""
        self._inner.delete_thread(thread_inwards(thread_id, self._label()))

    async def adelete_thread(self, thread_id: str) -> None:
        """Delete the caller's own thread."""
        await self._inner.adelete_thread(thread_inwards(thread_id, self._label()))

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy one of the caller's own threads to another one of theirs."""
        label = self._label()
        source, target = (
            thread_inwards(each, label) for each in (source_thread_id, target_thread_id)
        )
        self._inner.copy_thread(source, target)

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy one of the caller's own threads to another one of theirs."""
        label = self._label()
        source, target = (
            thread_inwards(each, label) for each in (source_thread_id, target_thread_id)
        )
        await self._inner.acopy_thread(source, target)

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Prune the caller's own threads."""
        label = self._label()
        self._inner.prune([thread_inwards(each, label) for each in thread_ids], strategy=strategy)

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Prune the caller's own threads."""
        label = self._label()
        threads = [thread_inwards(each, label) for each in thread_ids]
        await self._inner.aprune(threads, strategy=strategy)

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, Any]:
        """Collect a channel's writes along the caller's own thread."""
        inner = config_inwards(config, self._label())
        return self._inner.get_delta_channel_history(config=inner, channels=channels)

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, Any]:
        """Collect a channel's writes along the caller's own thread."""
        inner = config_inwards(config, self._label())
        return await self._inner.aget_delta_channel_history(config=inner, channels=channels)

    def get_next_version(self, current: Any, channel: None) -> Any:
        """The inner checkpointer's next version."""
        return self._inner.get_next_version(current, channel)

    def with_allowlist(self, extra_allowlist: Collection[tuple[str, ...]]) -> OwnedCheckpointer:
        """Return this one over an inner checkpointer that reads those types as well."""
        inner = self._inner.with_allowlist(extra_allowlist)
        if inner is self._inner:
            return self
        return OwnedCheckpointer(inner, owned_by=self._owned_by, clock=self._clock)

    def _label(self) -> str:
        return owner_label(require_context(OPERATION, clock=self._clock), self._owned_by)

    def _label_of_run(self, begun: UserExecutionContext | None) -> str:
        if begun is None:
            return self._label()
        with use_context(begun):
            label = self._label()
        if current_context(clock=self._clock) is not None:
            self._check_still(label)
        return label

    def _steps(self, found: Iterator[CheckpointTuple], label: str) -> Iterator[CheckpointTuple]:
        for each in found:
            self._check_still(label)
            yield found_outwards(each, label)

    def _check_still(self, label: str) -> None:
        # A list is read step by step, a run writes as it goes: both may have been handed on.
        if self._label() != label:
            raise contaminated("handed_on", "this list or run of checkpoints is another user's")
