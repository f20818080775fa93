"""Where a worker keeps its local state."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cutover_app.contract.models import Contract
from cutover_app.kafka.topics import app_id_of

DATADIR_ENV: Final = "CUTOVER_DATADIR"


def datadir_of(contract: Contract, environ: Mapping[str, str] = os.environ) -> Path:
    """Return the directory that the environment names, else one named like the run in the working directory."""
    return Path(environ.get(DATADIR_ENV) or f"{app_id_of(contract)}-data")
