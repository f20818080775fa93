"""The two producers: a script of stories, each a few legacy records and what the rebuilt producer makes of them."""

import zlib
from collections.abc import Callable
from typing import Any

from cutover_app.core.frames import LEGACY, REBUILT
from tests.simulation.rules import APPENDED, TOLERATED, encode
from tests.simulation.setting import Setting
from tests.simulation.timeline import EPOCH_MS
from tests.simulation.topics import Record, Transaction

Message = dict[str, Any]


class Traffic:
    """Everything that is published."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._rng = setting.rng
        self._timeline = setting.timeline
        self._keys: list[str] = []
        self._numbers = 0
        self._open: list[Transaction | None] = [None, None]
        self._skew = (self._rng.randint(-50, 50), self._rng.randint(-50, 50))
        self.end_ms = 0
        """When the last record is published."""

    def start(self) -> None:
        """Write the script."""
        plan, rng = self._setting.plan, self._rng
        stories: list[Callable[[int], None]] = [
            self._several if rng.random() < 0.2 else self._plain for _ in range(plan.stories)
        ]
        stories += [
            rng.choice((self._twins, self._busy, self._echo, self._stranger, self._broken, self._nothing))
            for _ in range(plan.stories // 2 + 2)
        ]
        if plan.crowd:
            stories.append(self._crowd)
        for story in stories:
            story(rng.randint(0, plan.span_ms))

    # -- publishing ----------------------------------------------------------------------------------------------------

    def publish(
        self,
        when: int,
        side: int,
        key: str,
        value: bytes,
        then: Callable[[Record], None] | None = None,
        timestamp: int | None = None,
    ) -> None:
        """Publish a record at `when`; `then` is told of it."""
        self.end_ms = max(self.end_ms, when)

        def act() -> None:
            record = self._publish(side, key, value, timestamp)
            if then is not None:
                then(record)

        self._timeline.at(when, act)

    def _publish(self, side: int, key: str, value: bytes, timestamp: int | None) -> Record:
        topic, now = self._setting.published(side), self._timeline.now
        count = len(topic.partitions)
        if self._setting.plan.scattered:
            number = self._rng.randrange(count)
        else:
            number = zlib.crc32(f"{side}{key}".encode()) % count
        stamp = EPOCH_MS + now + self._skew[side] if timestamp is None else timestamp
        transaction = self._transaction(side)
        return topic.append(number, value, timestamp=stamp, now=now, transaction=transaction)

    def _transaction(self, side: int) -> Transaction | None:
        """Return the transaction to publish in: the open one, a new one, or none."""
        plan, rng = self._setting.plan, self._rng
        open_now = self._open[side]
        if open_now is not None and rng.random() < 0.5:
            return open_now
        if open_now is not None or rng.random() >= plan.transactions:
            return None
        started = self._open[side] = Transaction()
        duration = rng.choice((plan.interval_ms, 2 * plan.grace_ms, 3 * plan.grace_ms))
        state = "aborted" if rng.random() < 0.25 else "committed"

        def finish() -> None:
            self._open[side] = None
            self._setting.published(side).finish(started, state)
            self._setting.reached["aborted transaction"] += state == "aborted"

        self.end_ms = max(self.end_ms, self._timeline.now + duration)
        self._timeline.after(duration, finish)
        return started

    # -- the words of the stories --------------------------------------------------------------------------------------

    def _key(self) -> str:
        if self._keys and self._rng.random() < 0.25:
            return self._rng.choice(self._keys)
        self._keys.append(f"k{len(self._keys)}")
        return self._keys[-1]

    def _order(self, key: str) -> str:
        """Return the order key of a match key; now and then one that is another's."""
        return f"o{(zlib.crc32(key.encode()) if self._rng.random() < 0.97 else self._rng.randrange(99)) % 5}"

    def _number(self) -> int:
        self._numbers += 1
        return self._numbers

    def _message(self, key: str, *, twin: bool = False) -> Message:
        rng = self._rng
        message = {
            "k": key,
            "o": self._order(key),
            "a": rng.randint(0, 3),
            "b": rng.choice("xyz"),
            "c": rng.randint(0, 2),
        }
        if self._setting.plan.tolerant:
            message[TOLERATED] = rng.randint(0, 40)
        if not twin:
            message["n"] = self._number()
        return message

    def _delay(self) -> int:
        """Return how long after its legacy record a rebuilt record comes; now and then before it."""
        rng, plan = self._rng, self._setting.plan
        grace = plan.grace_ms
        kind = rng.random()
        if kind < 0.5:
            return rng.randint(0, plan.interval_ms)
        if kind < 0.75:
            return rng.randint(0, grace)
        if kind < 0.85:
            return rng.randint(grace * 8 // 10, grace * 13 // 10)
        if kind < 0.92:
            return -rng.randint(0, grace * 11 // 10)
        return rng.randint(grace * 3 // 2, 3 * grace + plan.remember_ms)

    def _legacy(self, when: int, outs: list[Message], then: Callable[[Record], None] | None = None) -> None:
        value = encode({"n": self._number(), "outs": outs})
        self.publish(when, LEGACY, outs[0]["k"] if outs else "", value, then)

    def _rebuilt(self, when: int, message: Message) -> None:
        shown = {name: value for name, value in message.items() if name != "hole"}
        if self._rng.random() < self._setting.plan.appended:
            shown[APPENDED] = 1
        self.publish(max(0, when), REBUILT, message["k"], encode(shown), None)

    def _with_defect(self, message: Message) -> Message:
        """Return the message with one or two fields wrong."""
        wrong = dict(message)
        for _ in range(self._rng.choice((1, 1, 2))):
            kind = self._rng.randrange(5)
            if kind == 0:
                wrong.pop("b", None)
            elif kind == 1:
                wrong["extra"] = self._rng.randint(0, 3)
            elif kind == 2 and TOLERATED in wrong:
                wrong[TOLERATED] += self._rng.choice((3, 30))
            else:
                wrong[self._rng.choice("ac")] = self._rng.randint(4, 9)
        return wrong

    def _answer(self, when: int, message: Message) -> None:
        """Have the rebuilt producer publish a message that is expected, as well as it can."""
        kind = self._rng.random()
        at = when + self._delay()
        if kind < 0.10:
            return
        if kind < 0.28:
            self._rebuilt(at, self._with_defect(message))
            if self._rng.random() < 0.2:
                self._rebuilt(at + self._rng.randint(1, self._setting.plan.grace_ms), message)
            return
        if kind < 0.32 and TOLERATED in message:
            message = {**message, TOLERATED: message[TOLERATED] + self._rng.randint(-9, 9)}
        self._rebuilt(at, message)
        if kind > 0.93:
            again = self._rng.randint(1, 2 * self._setting.plan.grace_ms)
            self._rebuilt(at + again, message)

    # -- stories -------------------------------------------------------------------------------------------------------

    def _plain(self, when: int) -> None:
        """One legacy record, one message."""
        message = self._message(self._key())
        if self._rng.random() < 0.08:
            message["hole"] = True
        self._legacy(when, [message])
        self._answer(when, message)

    def _several(self, when: int) -> None:
        """One legacy record that makes several messages, of one key or of several."""
        key = self._key()
        outs = [self._message(key if self._rng.random() < 0.6 else self._key()) for _ in range(self._rng.randint(2, 4))]
        self._legacy(when, outs)
        for message in outs:
            self._answer(when, message)

    def _twins(self, when: int) -> None:
        """Several legacy records of one key with one content, and about as many messages."""
        message = self._message(self._key(), twin=True)
        expected = self._rng.randint(2, 4)
        spread = self._setting.plan.grace_ms * self._rng.choice((1, 3, 6))
        for _ in range(expected):
            self._legacy(when + self._rng.randint(0, spread), [message])
        for _ in range(expected + self._rng.choice((-2, -1, 0, 0, 1, 2))):
            self._rebuilt(when + self._rng.randint(0, spread), message)
        if self._rng.random() < 0.5:
            self._rebuilt(when + self._rng.randint(0, spread), self._with_defect(message))

    def _busy(self, when: int) -> None:
        """A key with many messages, many of them wrong."""
        key, rng = self._key(), self._rng
        grace = self._setting.plan.grace_ms
        for _ in range(rng.randint(2, 5)):
            message = self._message(key)
            if rng.random() < 0.5:
                message.pop("n")
            start = when + rng.randint(0, grace)
            self._legacy(start, [message])
            kind = rng.random()
            if kind < 0.6:
                self._rebuilt(start + self._delay(), self._with_defect(message))
            elif kind < 0.85:
                self._answer(start, message)

    def _echo(self, when: int) -> None:
        """A legacy record that the mirror sends again, byte for byte, at another offset."""
        message = self._message(self._key())
        later = self._rng.randint(1, 3 * self._setting.plan.grace_ms)

        def again(record: Record) -> None:
            self.publish(self._timeline.now + later, LEGACY, message["k"], record.value, None, record.timestamp)

        self._legacy(when, [message], again)
        self.end_ms = max(self.end_ms, when + later)
        self._answer(when, message)

    def _stranger(self, when: int) -> None:
        """A rebuilt message that nothing accounts for."""
        self._rebuilt(when, self._message(self._key()))

    def _broken(self, when: int) -> None:
        """A record without a message in it, on either side."""
        unkeyed = self._message("")
        legacy = (
            b"\xff%d" % self._number(),
            encode({"n": self._number(), "fail": True}),
            encode({"n": self._number(), "outs": [unkeyed]}),
        )
        rebuilt = (b"\xff%d" % self._number(), encode(unkeyed))
        side = self._rng.choice((LEGACY, REBUILT))
        self.publish(when, side, "", self._rng.choice(rebuilt if side else legacy))

    def _nothing(self, when: int) -> None:
        """A legacy record that makes no message."""
        self._legacy(when, [])

    def _crowd(self, when: int) -> None:
        """More leftovers of one key than can be compared each with each."""
        key = self._key()
        messages = [self._message(key) for _ in range(20)]
        for message in messages:
            self._legacy(when, [message])
            if self._rng.random() < 0.9:
                self._rebuilt(when + self._delay() // 4, self._with_defect(message))
