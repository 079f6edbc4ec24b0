"""Work that outlives its request, and work that an agent does: under the same tenant."""

from __future__ import annotations

from uuid import UUID, uuid4

from fastapi import APIRouter, BackgroundTasks, HTTPException
from sqlalchemy import select

from asgi_guard.integrations.fastapi import CurrentContext, GuardedSession
from asgi_guard.rls import require_rls, rls_enforced_session

from .agent import run_agent
from .models import Note, Report
from .notes import Writer
from .service import Service


def work_routes(service: Service) -> APIRouter:
    """Return the routes of reports and of the agent."""
    routes = APIRouter()
    engine = service.engine

    @routes.post("/api/reports", status_code=202)
    @require_rls(operation="reports.begin")
    async def begin_report(
        session: GuardedSession, context: Writer, background: BackgroundTasks
    ) -> dict[str, str]:
        report = Report(id=uuid4())
        session.add(report)
        background.add_task(make_report, report.id, context.tenant_id)
        return {"id": str(report.id)}

    async def make_report(report_id: UUID, tenant_id: str) -> None:
        async with rls_enforced_session(engine, tenant_id, "reports.make") as session:
            notes = (await session.scalars(select(Note))).all()
            report = await session.scalar(select(Report).where(Report.id == report_id))
            if report is not None:
                longest = max((len(note.text) for note in notes), default=0)
                report.text = f"{len(notes)} notes, the longest of {longest} characters."
                report.state = "done"
            await session.commit()

    @routes.get("/api/reports/{report_id}")
    @require_rls(operation="reports.read")
    async def read_report(report_id: UUID, session: GuardedSession) -> dict[str, str]:
        report = await session.scalar(select(Report).where(Report.id == report_id))
        if report is None:
            raise HTTPException(404, "no such report")
        return {"state": report.state, "text": report.text}

    @routes.post("/api/agent")
    async def agent(_context: CurrentContext) -> dict[str, list[str]]:
        return {"steps": await run_agent(engine)}

    return routes
