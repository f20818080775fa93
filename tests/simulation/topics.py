"""Source topics in memory: offsets, transactions, control records, retention, growth."""

from dataclasses import dataclass, field


@dataclass
class Record:
    """A record of a source topic; `appended` is the true virtual time."""

    partition: int
    offset: int
    timestamp: int
    value: bytes
    appended: int
    transaction: "Transaction | None"

    @property
    def committed(self) -> bool:
        """Whether a committed reader may see it."""
        return self.transaction is None or self.transaction.state == "committed"


@dataclass
class Transaction:
    """Some records that become readable together, or never."""

    state: str = "open"
    touched: dict[int, int] = field(default_factory=dict)
    """Partition -> first offset."""


class Partition:
    """The log of one partition; a control record is None."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.slots: list[Record | None] = []
        self.start = 0
        self.open: list[Transaction] = []

    @property
    def end(self) -> int:
        """The high watermark."""
        return len(self.slots)

    @property
    def stable(self) -> int:
        """The last stable offset: where the oldest open transaction begins."""
        return min((each.touched[self.number] for each in self.open), default=self.end)

    def read(self, position: int, limit: int) -> tuple[list[Record], int]:
        """Return up to `limit` committed records from `position`, and the next position, behind trailing gaps."""
        records: list[Record] = []
        while position < self.stable:
            slot = self.slots[position]
            if slot is not None and slot.committed:
                if len(records) == limit:
                    break
                records.append(slot)
            position += 1
        return records, position


class Topic:
    """The topic of one side."""

    def __init__(self, name: str, partitions: int) -> None:
        self.name = name
        self.partitions = [Partition(number) for number in range(partitions)]

    def grow(self) -> Partition:
        """Add a partition."""
        self.partitions.append(Partition(len(self.partitions)))
        return self.partitions[-1]

    def append(
        self,
        number: int,
        value: bytes,
        *,
        timestamp: int,
        now: int,
        transaction: Transaction | None = None,
    ) -> Record:
        """Append a record."""
        partition = self.partitions[number]
        record = Record(number, partition.end, timestamp, value, now, transaction)
        if transaction is not None and number not in transaction.touched:
            transaction.touched[number] = partition.end
            partition.open.append(transaction)
        partition.slots.append(record)
        return record

    def finish(self, transaction: Transaction, state: str) -> None:
        """Commit or abort: a control record in every partition that was touched."""
        transaction.state = state
        for number in transaction.touched:
            partition = self.partitions[number]
            partition.open.remove(transaction)
            partition.slots.append(None)

    def records(self) -> list[Record]:
        """Return all committed records."""
        return [slot for each in self.partitions for slot in each.slots if slot and slot.committed]
