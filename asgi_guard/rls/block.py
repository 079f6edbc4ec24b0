"""A block of work that is entered once, with ``async with`` or with ``with``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from types import TracebackType
from typing import ClassVar, Generic, TypeVar

from asgi_guard.errors import ConfigError

__all__ = ["EitherBlock"]

A = TypeVar("A")
S = TypeVar("S")


class EitherBlock(ABC, Generic[A, S]):
    """Enters what a subclass makes, in whichever way it is entered.

    A subclass says in ``_run_async`` and ``_run_sync`` what happens around the block, and in
    ``name`` what its user called.
    """

    name: ClassVar[str]

    def __init__(self) -> None:
        self._async: AbstractAsyncContextManager[A] | None = None
        self._sync: AbstractContextManager[S] | None = None

    @abstractmethod
    def _run_async(self) -> AbstractAsyncContextManager[A]:
        """Make what is entered with ``async with``."""

    @abstractmethod
    def _run_sync(self) -> AbstractContextManager[S]:
        """Make what is entered with ``with``."""

    async def __aenter__(self) -> A:
        self._refuse_second_entry()
        self._async = self._run_async()
        return await self._async.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._async is not None:
            await self._async.__aexit__(kind, error, trace)

    def __enter__(self) -> S:
        self._refuse_second_entry()
        self._sync = self._run_sync()
        return self._sync.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._sync is not None:
            self._sync.__exit__(kind, error, trace)

    def _refuse_second_entry(self) -> None:
        # One ending would be lost, and its tenant left behind.
        if self._async is not None or self._sync is not None:
            raise ConfigError(self.name, "this block was entered before", "Call it for each block.")
