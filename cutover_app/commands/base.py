"""The form of our commands: Faust's, without a worker around them and without a traceback for what can be expected."""

import asyncio
import inspect
import logging
import signal
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, ClassVar

import click
from aiokafka.errors import KafkaConnectionError, KafkaError
from faust.cli import faust as _stock  # noqa: F401 - registers Faust's commands first: ours replace `reset`
from faust.cli.base import Command, cli

from cutover_app.commands.output import FAILED, JSON, USAGE, fail
from cutover_app.contract.errors import ComparisonError, ContractError, ImpureHookError
from cutover_app.contract.load import BROKER_ENV, LEGACY_BROKER_ENV
from cutover_app.core.state import RowError
from cutover_app.kafka.errors import AccessRefused, KafkaUnavailable, NoCoordinator, TopicsUnfit
from cutover_app.kafka.refusal import denied

INTERRUPTED = 128 + signal.SIGINT

for _name in ("send", "livecheck", "completion", "model"):
    # No use here, and one does harm: `send` writes whatever it is given into any topic, sources included.
    cli.commands.pop(_name, None)


class CutoverCommand(Command):
    """A command of ours. `run` returns the exit code; the docstring is the help text, with the examples below it."""

    abstract: ClassVar[bool] = True

    examples: ClassVar[tuple[str, ...]] = ()
    """Command lines, without the program's name."""

    @classmethod
    def as_click_command(cls) -> Callable[..., Any]:
        """Register with Faust's command line. Stock commands would swallow the exit code."""

        @click.pass_context
        @wraps(cls)
        def start(*args: Any, **kwargs: Any) -> None:
            cls(*args, **kwargs)()

        command: Any = cli.command(name=cls.__name__.lower(), help=cls._help())(start)
        for each in cls.options or []:
            command = each(command)
        return command  # type: ignore[no-any-return]

    @classmethod
    def _help(cls) -> str:
        lines = [f"  cutover {example}" for example in cls.examples]
        # The first character of a paragraph tells click to leave its lines as they are.
        return "\n\n".join(
            [inspect.cleandoc(cls.__doc__ or ""), *(["\n".join(["\b", "Examples:", *lines])] if lines else [])]
        )

    async def run(self, **options: Any) -> int:
        """Do the work and return the exit code."""
        raise NotImplementedError

    def say_aside(self, line: str) -> None:
        """Say something that is not the result."""
        print(f"cutover: {line}", file=sys.stderr, flush=True)

    def __call__(self, *_args: Any, **_options: Any) -> Any:
        """Run to the end and leave with the exit code."""
        if not self.debug:
            # What Kafka's client says about a broker that is away is said by us, in one line.
            logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
        if self.json and "output" in self.kwargs:
            self.kwargs["output"] = JSON  # Faust's own way to ask for it
        sys.exit(guarded(lambda: asyncio.run(self.run(**self.kwargs))))


def guarded(work: Callable[[], int]) -> int:
    """Return what `work` returns; what can be expected to go wrong is one line and an exit code."""
    try:
        return work()
    except ContractError as error:
        fail(USAGE, error)
    except NoCoordinator as error:
        fail(FAILED, error)
    except KafkaUnavailable as error:
        cause = error.__cause__
        known = cause is None or isinstance(cause, KafkaConnectionError)
        variable = BROKER_ENV if error.setting == "broker" else LEGACY_BROKER_ENV
        see = f"see `{error.setting}` in the contract, or {variable}"
        hint = see if known else f"{type(cause).__name__}: {cause}"
        fail(FAILED, f"no Kafka broker answers at {', '.join(error.servers)}: {hint}")
    except (AccessRefused, TopicsUnfit, ImpureHookError, ComparisonError, RowError) as error:
        fail(FAILED, error)
    except KafkaError as error:
        fail(FAILED, denied(error) or f"Kafka refused: {error}")
    except TimeoutError:
        fail(FAILED, "Kafka did not answer in time")
    except BrokenPipeError:
        # Whoever read our output has seen enough; Python would complain about it once more at exit.
        sys.stderr.close()
        return FAILED
    except OSError as error:
        fail(FAILED, f"{error.filename or 'input or output failed'}: {error.strerror or error}")
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
