"""Bringing a schema that filters by hand under policies, step by step, while it is written to.

Protects against the half-way state: each step is planned and printed before anything runs, does
one thing, may be killed at any moment and run again, and can be taken back. Nothing is enforced
before what it would hide has been seen.
"""

from asgi_guard.rls.adoption.planning import plan_adoption
from asgi_guard.rls.adoption.runner import (
    AdoptionStatus,
    adoption_status,
    back,
    clear_findings,
    monitor_report,
    run,
)
from asgi_guard.rls.adoption.spec import STAGES, Adoption, Filling
from asgi_guard.rls.adoption.steps import Action, Check, Step

__all__ = [
    "STAGES",
    "Action",
    "Adoption",
    "AdoptionStatus",
    "Check",
    "Filling",
    "Step",
    "adoption_status",
    "back",
    "clear_findings",
    "monitor_report",
    "plan_adoption",
    "run",
]
