"""What a worker's log holds, however much of it is asked for."""

import io
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from cutover_app.kafka.settings import Broker
from cutover_app.runtime.app import CutoverApp, settings, spare_the_logs


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """Return the root logger; it and that of aiokafka are as before afterwards."""
    kept = {logger: logger.level for logger in (logging.getLogger(), logging.getLogger("aiokafka"))}
    yield logging.getLogger()
    for logger, level in kept.items():
        logger.setLevel(level)


@pytest.mark.parametrize("level", [logging.NOTSET, logging.DEBUG, logging.INFO, logging.WARNING])
def test_no_log_level_has_aiokafka_show_records(root: logging.Logger, level: int) -> None:
    """Its debug lines hold whole records, with the plaintext of what is sealed; other levels mean what they say."""
    root.setLevel(level)
    spare_the_logs()
    sending = logging.getLogger("aiokafka.producer.producer")
    assert not sending.isEnabledFor(logging.DEBUG)
    assert sending.isEnabledFor(logging.INFO) == (level <= logging.INFO)


@pytest.mark.parametrize("is_terminal", [False, True])
def test_a_spinner_turns_only_on_a_terminal(is_terminal: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log has no escape codes."""
    app = CutoverApp("spinning", **settings(Broker.parse("kafka://127.0.0.1:1"), datadir=tmp_path))
    stdout = io.StringIO()
    monkeypatch.setattr(stdout, "isatty", lambda: is_terminal, raising=False)
    assert (app.conf.Worker(app, stdout=stdout).spinner is not None) == is_terminal
