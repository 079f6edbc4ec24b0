"""What is stored: notes and reports belong to a tenant; tenants and members are the directory's."""

from __future__ import annotations

import uuid
from datetime import datetime

from sqlalchemy import DateTime, ForeignKey, Text, func
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from asgi_guard.rls import TenantScoped


class Base(DeclarativeBase):
    """All tables of the demo."""


class Note(TenantScoped, Base):
    """One note. Its primary key is ``(tenant_id, id)``; the tenant comes from the transaction."""

    __tablename__ = "notes"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    text: Mapped[str] = mapped_column(Text)
    author: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.clock_timestamp()
    )


class Report(TenantScoped, Base):
    """The outcome of a background report."""

    __tablename__ = "reports"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    state: Mapped[str] = mapped_column(Text, default="running")
    text: Mapped[str] = mapped_column(Text, default="")


class TenantRow(Base):
    """The directory: which tenants there are. The app's own role cannot read it."""

    __tablename__ = "tenants"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(Text, unique=True)
    status: Mapped[str] = mapped_column(Text, default="active")


class MembershipRow(Base):
    """The directory: who is a member of which tenant, as what."""

    __tablename__ = "memberships"

    member_of: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    user_id: Mapped[str] = mapped_column(Text, primary_key=True)
    role: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(Text, default="active")
