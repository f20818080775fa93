"""Requests in versions that aiokafka lacks.

Metadata version 10 carries topic ids; ListOffsets version 7 knows the record with the highest timestamp.
"""

from io import BytesIO
from typing import Any
from uuid import UUID

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactString,
    Int8,
    Int16,
    Int32,
    Int64,
    Schema,
    TaggedFields,
)

NO_ID = UUID(int=0)


class Uuid:
    """Sixteen bytes on the wire."""

    @classmethod
    def encode(cls, value: UUID) -> bytes:
        """To the wire."""
        return value.bytes

    @classmethod
    def decode(cls, data: BytesIO) -> UUID:
        """From the wire."""
        return UUID(bytes=data.read(16))

    @classmethod
    def repr(cls, value: UUID) -> str:
        """For logs."""
        return str(value)


class MetadataResponseV10(Response):  # type: ignore[misc] # aiokafka is not typed
    """Brokers and topics, with ids."""

    API_KEY = 3
    API_VERSION = 10
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString("utf-8")),
                ("port", Int32),
                ("rack", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", CompactString("utf-8")),
                ("topic_id", Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_authorized_operations", Int32),
        ("tags", TaggedFields),
    )


class MetadataRequestV10(RequestStruct):  # type: ignore[misc] # aiokafka is not typed
    """Names of topics; an id of zeros means: by name."""

    API_KEY = 3
    API_VERSION = 10
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = MetadataResponseV10
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(("topic_id", Uuid), ("name", CompactString("utf-8")), ("tags", TaggedFields)),
        ),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class TopicMetadataRequest(Request[MetadataRequestV10]):  # type: ignore[misc] # aiokafka is not typed
    """Asks about topics without ever creating one."""

    API_KEY = 3

    def __init__(self, topics: list[str] | None) -> None:
        self._topics = topics

    def build(self, request_struct_class: type[MetadataRequestV10]) -> Any:
        """The request of that version; None asks for all topics."""
        topics: list[Any] | None = None
        if self._topics is not None:
            topics = [(NO_ID, name, {}) for name in self._topics]
        return request_struct_class(topics, False, False, False, {})


class ListOffsetsResponseV7(Response):  # type: ignore[misc] # aiokafka is not typed
    """Per partition an offset and the timestamp of the record there; -1 where there is none."""

    API_KEY = 2
    API_VERSION = 7
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "topics",
            CompactArray(
                ("name", CompactString("utf-8")),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("error_code", Int16),
                        ("timestamp", Int64),
                        ("offset", Int64),
                        ("leader_epoch", Int32),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class ListOffsetsRequestV7(RequestStruct):  # type: ignore[misc] # aiokafka is not typed
    """Times per partition; -1, -2 and -3 mean the end, the start and the record with the highest timestamp."""

    API_KEY = 2
    API_VERSION = 7
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = ListOffsetsResponseV7
    SCHEMA = Schema(
        ("replica_id", Int32),
        ("isolation_level", Int8),
        (
            "topics",
            CompactArray(
                ("name", CompactString("utf-8")),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("current_leader_epoch", Int32),
                        ("timestamp", Int64),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class ListOffsetsRequest(Request[ListOffsetsRequestV7]):  # type: ignore[misc] # aiokafka is not typed
    """Asks the leader of partitions of one topic for one point in time, records of open transactions included."""

    API_KEY = 2

    def __init__(self, topic: str, partitions: list[int], at: int) -> None:
        self._topic = topic
        self._partitions = partitions
        self._at = at

    def build(self, request_struct_class: type[ListOffsetsRequestV7]) -> Any:
        """The request of that version."""
        partitions: list[Any] = [(number, -1, self._at, {}) for number in self._partitions]
        return request_struct_class(-1, 0, [(self._topic, partitions, {})], {})
