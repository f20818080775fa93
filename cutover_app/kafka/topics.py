"""The topics of a run: what they are called, and what each must be like.

One place for start-up, `plan` and `reset`, so that they cannot disagree.
"""

from cutover_app.contract.models import Contract


def app_id_of(contract: Contract) -> str:
    """Return the name that everything of a run begins with; also its consumer group."""
    return f"cutover-{contract.contract}-{contract.run}"


def intake_of(contract: Contract) -> str:
    """Return the name of the intake topic."""
    return f"{app_id_of(contract)}-intake"


def changelog_of(contract: Contract, table: str) -> str:
    """Return the name of a table's changelog topic."""
    return f"{app_id_of(contract)}-{table}-changelog"


def checkpoint_id_of(contract: Contract, partition: int) -> str:
    """Return the transactional id under which an intake partition is checkpointed."""
    return f"{app_id_of(contract)}-checkpoint-{partition}"
