"""A shop whose order service is being rebuilt: what its two producers publish, and what is wrong.

Everything follows from a seed, message by message, without a state that runs along: message n of a
scenario can be made at any time, in any process, as often as wanted. So one side can be played
before the other and both still fit.

The rebuilt message is written here by hand, from the same drawn facts as the legacy one. Nothing of
the contract or of the core takes part: if both come to the same bytes, they came there separately.

Shapes (L legacy, R rebuilt):

    L  ordId 1000001        R  order_id "1000001"
    L  rev 0                R  revision 0
    L  st "P"               R  status "PAID"
    L  custNm, telNo        R  customer.name, customer.phone
    L  items[sku,qty,price] R  lines[sku,quantity,unit_price]
    L  total "59.80"        R  total 59.8
    L  regDt 20260314153000 R  created_at 2026-03-14T15:30:00+09:00  (Seoul)
    L  memo                 R  note
    L  addr{zip,city,line}  R  shipping{zip,city,line}               (messages from 400 bytes on)
    L  chnl "WEB"           R  channel "WEB"                         (likewise)
    -                       R  schema_version 2, trace_id (new)

Where a scenario is `sealed`, customer.phone is encrypted; where it has `headers`, both sides have some.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from random import Random
from typing import Final, NamedTuple

from cutover_app.lab.errors import LabError
from cutover_app.lab.faults import (
    ALL_KINDS,
    DEFAULT_RATES,
    UNMAPPED_STATUS,
    change,
    damage,
    leak,
    lonely,
    timed,
    unmapped,
)
from cutover_app.lab.ledger import Entry
from cutover_app.lab.sealing import FORMS, Form, Headers, seal

FIRST_ORDER: Final = 1_000_001
STATUSES: Final = (
    ("P", "PAID"),
    ("R", "READY"),
    ("S", "SHIPPED"),
    ("D", "DELIVERED"),
    ("C", "CANCELLED"),
)
REVISION_GAP: Final = 500
"""Orders between two messages of the same order."""
FULL_SHAPE_BYTES: Final = 400
POOL: Final = 1024
TALE_BYTES: Final = 1 << 18
SIZE_MAX: Final = TALE_BYTES // 2

_REBUILT_HEADERS: Final[Headers] = (("content-type", b"application/json"),)
_SEOUL: Final = timezone(timedelta(hours=9))
_MASK: Final = (1 << 64) - 1
_NAMES: Final = ("김민준", "이서연", "박지후", "최수아", "Ana María", "O'Neill", "Jo", "정하은")
_CITIES: Final = ("Seoul", "부산", "Incheon", "대구", "Daejeon")
_CHANNELS: Final = ("WEB", "APP", "POS")
_WORDS: Final = ("leave", "at", "the", "door", "call", "before", "gift", "wrap", "조심히", "문앞")


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What is played.

    Attributes:
        count: Legacy messages, planted ones included.
        seed: Makes every choice.
        rates: Faults per legacy message, by kind; kinds left out are not planted.
        per_key: Messages of each order (its changes of status).
        size: Bytes of a legacy message, about.
        start_ms: Timestamp of the first message.
        pace: Messages per second according to the timestamps.
        text_only: Damage records only in ways that a text file can hold.
        sealed: How the rebuilt producer encrypts the phone; None leaves it as it is.
        headers: Whether records have headers.
        late_ms: By how much a late message is late, by its timestamp and by the clock.
    """

    count: int = 100_000
    seed: int = 1
    rates: Mapping[str, float] = field(default_factory=lambda: dict(DEFAULT_RATES))
    per_key: int = 1
    size: int = 800
    start_ms: int = 1_773_469_800_000
    pace: float = 2000.0
    text_only: bool = False
    sealed: Form | None = None
    headers: bool = False
    late_ms: int = 4_000

    def __post_init__(self) -> None:
        if foreign := set(self.rates) - set(ALL_KINDS):
            raise LabError(f"no such fault: {', '.join(sorted(foreign))}; there are {ALL_KINDS}")
        if sum(self.rates.values()) * self.per_key > 1 or min(self.rates.values(), default=0) < 0:
            raise LabError("the rates of all faults, times messages per key, must be 0 to 1")
        if min(self.count, self.per_key, self.size) < 1 or self.pace <= 0:
            raise LabError("count, per_key, size and pace must be positive")
        if self.size > SIZE_MAX:
            raise LabError(f"messages have at most {SIZE_MAX} bytes")
        if self.sealed is None and self.rates.get("unsealed"):
            raise LabError(f"nothing can be unsealed where nothing is sealed; forms are {FORMS}")
        if self.rates.get("out_of_order") and (self.per_key < 2 or self.count % self.per_key):
            raise LabError("out of order needs several messages per key, and a count that is a multiple of it")

    @property
    def orders(self) -> int:
        """Different match keys of the legacy side."""
        return -(-self.count // self.per_key)


class Publication(NamedTuple):
    """What the rebuilt producer publishes in one record; a value of None is a tombstone."""

    value: bytes | None
    timestamp: int
    headers: Headers = ()
    key: bytes | None = None
    """The Kafka key where it is not the event's, which chooses the partition all the same."""
    held_ms: int = 0
    """By how much it is held back."""


class Event(NamedTuple):
    """One legacy message and what became of it on the rebuilt side."""

    key: bytes
    """The Kafka key of all of them."""
    legacy_ms: int
    legacy: bytes | None
    legacy_headers: Headers
    rebuilt: tuple[Publication, ...]
    """What is published, in order."""
    entry: Entry | None


class _Facts(NamedTuple):
    """What a message says, drawn from the seed."""

    key: bytes
    draw: int
    revision: int
    legacy_ms: int

    @property
    def rebuilt_ms(self) -> int:
        return self.legacy_ms + 5 + self.draw % 200


class _Part(NamedTuple):
    """A piece of a message in both formats."""

    legacy: bytes
    rebuilt: bytes
    phone: str = ""
    """What in it the rebuilt producer encrypts."""


def mix(number: int) -> int:
    """Scatter a number over 64 bits (splitmix64): the scenario's only source of chance."""
    number = (number + 0x9E3779B97F4A7C15) & _MASK
    number = (number ^ number >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    number = (number ^ number >> 27) * 0x94D049BB133111EB & _MASK
    return number ^ number >> 31


class Shop:
    """Plays a scenario."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        random = Random(scenario.seed)
        self._customers = [_customer(random) for _ in range(POOL)]
        self._baskets = [_basket(random, scenario.size) for _ in range(POOL)]
        tale = _tale(random)
        self._notes = [_note(random, scenario.size, tale) for _ in range(POOL)]
        self._salt = mix(scenario.seed)
        self._faults = _thresholds(scenario)
        self._second = -1
        self._times = (b"", b"")

    def events(self) -> Iterator[Event]:
        """Yield all messages in the order in which the legacy producer publishes them.

        The messages of one order stand REVISION_GAP orders apart.
        """
        orders, per_key = self.scenario.orders, self.scenario.per_key
        left = self.scenario.count
        number = 0
        for step in range(orders + REVISION_GAP * (per_key - 1)):
            for revision in range(per_key):
                order = step - revision * REVISION_GAP
                if 0 <= order < orders and left:
                    yield self.event(order, revision, number)
                    number += 1
                    left -= 1

    def number(self, order: int, revision: int) -> int:
        """Return the number of a message in the order of publication."""
        orders = self.scenario.orders
        step = order + revision * REVISION_GAP
        begun = [step - each * REVISION_GAP for each in range(self.scenario.per_key)]
        return sum(min(orders, max(0, at)) for at in begun) + sum(0 <= at < orders for at in begun[:revision])

    def event(self, order: int, revision: int, number: int) -> Event:
        """Make one message: a revision of an order, `number` in the order of publication."""
        facts = self._facts(order, revision, number)
        legacy, rebuilt = self._pair(facts, STATUSES[revision % 5])
        entry = None
        key = facts.key
        value: bytes | None = legacy
        published: tuple[Publication, ...] = (self._publication(facts, rebuilt),)
        if self._faults and (kind := self._fault(facts.draw, revision)) is not None:
            value, published, entry = self._planted(kind, order, facts, legacy, rebuilt)
            # A message that nobody expects has a key of its own, which the legacy side never had.
            key = entry.key[0].encode() if entry is not None else key
        headers: Headers = ()
        if self.scenario.headers:
            headers = (("trace", b"%016x" % facts.draw), ("origin", b"shop"))
        return Event(key, facts.legacy_ms, value, headers, published, entry)

    def _facts(self, order: int, revision: int, number: int) -> _Facts:
        legacy_ms = self.scenario.start_ms + int(number * 1000 / self.scenario.pace)
        return _Facts(b"%d" % (FIRST_ORDER + order), mix(self._salt + order), revision, legacy_ms)

    def _publication(self, facts: _Facts, value: bytes | None) -> Publication:
        return Publication(value, facts.rebuilt_ms, _REBUILT_HEADERS if self.scenario.headers else ())

    def _fault(self, draw: int, revision: int) -> str | None:
        """Choose the fault of an order, if it has one, and only for one of its messages."""
        # The highest bits decide here, the lowest ones what the message says.
        share = draw / 2**64
        if share >= self._faults[-1][0]:
            return None
        kind = next(kind for limit, kind in self._faults if share < limit)
        last = self.scenario.per_key - 1
        if kind == "out_of_order":
            # Of the last two messages: the first is kept back, the second takes it along.
            return kind if revision >= last - 1 else None
        # What comes after a late message would have overtaken it.
        chosen = last if kind == "late" else (draw >> 30 & 0xFF) % self.scenario.per_key
        return kind if revision == chosen else None

    def _pair(self, facts: _Facts, status: tuple[str, str]) -> tuple[bytes, bytes]:
        key, draw, revision, legacy_ms = facts
        customer = self._customers[draw & 0x3FF]
        basket = self._baskets[draw >> 10 & 0x3FF]
        note = self._notes[draw >> 20 & 0x3FF]
        if legacy_ms // 1000 != self._second:
            self._second = legacy_ms // 1000
            self._times = _times(self._second)
        legacy = b'{"ordId":%b,"rev":%d,"st":"%b",%b%b,"regDt":"%b"%b}' % (
            key,
            revision,
            status[0].encode(),
            customer.legacy,
            basket.legacy,
            self._times[0],
            note.legacy,
        )
        rebuilt = (
            b'{"schema_version":2,"trace_id":"%016x","order_id":"%b","revision":%d,'
            b'"status":"%b","created_at":"%b",%b%b%b}'
        ) % (
            draw ^ revision,
            key,
            revision,
            status[1].encode(),
            self._times[1],
            self._customer(customer, facts),
            basket.rebuilt,
            note.rebuilt,
        )
        return legacy, rebuilt

    def _customer(self, customer: _Part, facts: _Facts) -> bytes:
        """Return the customer of a rebuilt message; every message has another ciphertext."""
        if self.scenario.sealed is None:
            return customer.rebuilt
        sealed = seal(self.scenario.sealed, len(customer.phone), self._salt ^ mix(facts.draw + facts.revision))
        return customer.rebuilt.replace(customer.phone.encode(), sealed.encode())

    def _planted(
        self, kind: str, order: int, facts: _Facts, legacy: bytes, rebuilt: bytes
    ) -> tuple[bytes | None, tuple[Publication, ...], Entry | None]:
        """Return what the two sides publish with a fault, and the ledger's entry."""
        name = facts.key.decode()
        chance = mix(facts.draw + self._salt)
        normal = self._publication(facts, rebuilt)
        if kind == "missing":
            return legacy, (), lonely(kind, name)
        if kind == "duplicate":
            return legacy, (normal, normal), lonely(kind, name)
        if kind == "unknown":
            foreign = facts._replace(key=b"9%b%d" % (facts.key, facts.revision))
            _, invented = self._pair(foreign, STATUSES[0])
            return None, (self._publication(foreign, invented),), lonely(kind, foreign.key.decode())
        if kind == "out_of_order":
            return legacy, *self._swapped(order, facts, normal)
        if kind == "late":
            late_ms = self.scenario.late_ms
            late = normal._replace(timestamp=normal.timestamp + late_ms, held_ms=late_ms)
            return legacy, (late,), timed(kind, name, facts.revision)
        if kind == "undecodable":
            damaged, entry = damage(rebuilt, chance, name, text_only=self.scenario.text_only)
            return legacy, (self._publication(facts, damaged),), entry
        if kind == "unsealed":
            phone = self._customers[facts.draw & 0x3FF].phone
            changed, leaked, entry = leak(rebuilt, chance, name, phone)
            return (
                legacy,
                (normal._replace(value=changed, key=leaked.key, headers=normal.headers + leaked.headers),),
                entry,
            )
        if kind == "unmapped_value":
            legacy, rebuilt = self._pair(facts, (UNMAPPED_STATUS, STATUSES[0][1]))
            changed, entry = unmapped(rebuilt, name)
        else:
            changed, entry = change(kind, rebuilt, chance, name, sealed=self.scenario.sealed is not None)
        return legacy, (self._publication(facts, changed),), entry

    def _swapped(self, order: int, facts: _Facts, normal: Publication) -> tuple[tuple[Publication, ...], Entry | None]:
        """Publish the last two messages of an order the wrong way round, both with the last of them."""
        last = self.scenario.per_key - 1
        if facts.revision < last:
            return (), None
        earlier = self._facts(order, last - 1, self.number(order, last - 1))
        _, rebuilt = self._pair(earlier, STATUSES[earlier.revision % 5])
        return (normal, self._publication(earlier, rebuilt)), timed("out_of_order", facts.key.decode(), last - 1)


def _thresholds(scenario: Scenario) -> list[tuple[float, str]]:
    """Return (upper end, kind) of each kind's share of the orders."""
    limits: list[tuple[float, str]] = []
    upper = 0.0
    for kind in ALL_KINDS:
        rate = scenario.rates.get(kind, 0.0)
        if rate > 0:
            # A fault hits one message of an order: the rate is per message.
            upper += rate * scenario.per_key
            limits.append((upper, kind))
    return limits


def _times(second: int) -> tuple[bytes, bytes]:
    local = datetime.fromtimestamp(second, UTC).astimezone(_SEOUL)
    return local.strftime("%Y%m%d%H%M%S").encode(), local.isoformat(timespec="seconds").encode()


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _number(cents: int) -> str:
    """Write an amount as a JSON number, without zeros at its end."""
    text = f"{cents // 100}.{cents % 100:02d}".rstrip("0")
    return text.removesuffix(".")


def _customer(random: Random) -> _Part:
    name = _text(f"{random.choice(_NAMES)} {random.randrange(1000)}")
    phone = f"010-{random.randrange(10_000):04d}-{random.randrange(10_000):04d}"
    return _Part(
        f'"custNm":{name},"telNo":"{phone}",'.encode(),
        f'"customer":{{"name":{name},"phone":"{phone}"}},'.encode(),
        phone,
    )


def _basket(random: Random, size: int) -> _Part:
    """Draw the items and their total."""
    legacy: list[str] = []
    rebuilt: list[str] = []
    total = 0
    for _ in range(random.randint(1, 4) if size >= FULL_SHAPE_BYTES else 1):
        sku = f"{random.choice('ABCD')}-{random.randrange(10_000):04d}"
        quantity, cents = random.randint(1, 9), random.randint(100, 99_999)
        total += quantity * cents
        price = _number(cents)
        legacy.append(f'{{"sku":"{sku}","qty":{quantity},"price":{price}}}')
        rebuilt.append(f'{{"sku":"{sku}","quantity":{quantity},"unit_price":{price}}}')
    return _Part(
        f'"items":[{",".join(legacy)}],"total":"{total // 100}.{total % 100:02d}"'.encode(),
        f'"lines":[{",".join(rebuilt)}],"total":{_number(total)}'.encode(),
    )


def _tale(random: Random) -> list[str]:
    """Draw the words, about TALE_BYTES of them with their spaces, of which memos are pieces."""
    mean = sum(len(word.encode()) + 1 for word in _WORDS) / len(_WORDS)
    return random.choices(_WORDS, k=int(TALE_BYTES / mean))


def _note(random: Random, size: int, tale: list[str]) -> _Part:
    """Draw the optional fields, and a memo that brings the message to its size."""
    legacy, rebuilt, filled = "", "", 190
    if size >= FULL_SHAPE_BYTES:
        city = _text(random.choice(_CITIES))
        code, road = f"{random.randrange(100_000):05d}", random.randrange(900)
        address = f'{{"zip":"{code}","city":{city},"line":"Road {road}"}}'
        channel = random.choice(_CHANNELS)
        legacy = f',"addr":{address},"chnl":"{channel}"'
        rebuilt = f',"shipping":{address},"channel":"{channel}"'
        filled = 360
    words = max(0, round((size - filled) * random.uniform(0.8, 1.2) * len(tale) / TALE_BYTES))
    start = random.randrange(max(1, len(tale) - words))
    memo = _text(" ".join(tale[start : start + words]))
    return _Part(f'{legacy},"memo":{memo}'.encode(), f'{rebuilt},"note":{memo}'.encode())
