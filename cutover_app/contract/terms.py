"""What a judge needs to know of a contract, in the core's own terms."""

from cutover_app.contract.compile import Compiled
from cutover_app.contract.models import Contract
from cutover_app.core.decide import JudgeTerms


def judge_terms(contract: Contract, compiled: Compiled) -> JudgeTerms:
    """Return the terms under which every judge of this run works."""
    timing = contract.timing
    return JudgeTerms(
        contract=contract.contract,
        run=contract.run,
        rules=compiled.rules,
        partitions=contract.intake.partitions,
        grace_ms=timing.grace,
        remember_ms=timing.remember,
        problems_ms=timing.problems_ms,
        interval_ms=timing.barrier,
        edge_ms=timing.edge_ms,
        unique=contract.match.unique,
        diff=compiled.diff,
        matches=contract.verdicts.matches,
        tolerant=compiled.tolerant,
        shown_key=compiled.shown_key,
        late_ms=timing.late_ms,
        order_apart=contract.order_apart,
    )
