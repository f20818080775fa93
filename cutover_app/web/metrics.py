"""Every metric, as data: what is exported, what the documentation says and what a test holds a scrape against.

Base units; `_total` on what only grows; labels with few values only. A label never holds a key, a path, a topic or
anything else that comes out of a message. Counters begin at 0 with the process, unless their help says that they are of
the run: those move with their intake partition from worker to worker, and start where they were.

    python -m cutover_app.web.metrics         prints the table as Markdown
"""

from typing import Final, Literal, NamedTuple

Kind = Literal["counter", "gauge", "histogram", "info"]

PREFIX: Final = "cutover_"


class Metric(NamedTuple):
    """One metric. The name is the one in a scrape, a histogram's without its suffix."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    unit: str
    help: str


LABELS: Final = {
    "side": "legacy or rebuilt",
    "outcome": "of a verdict, or of a record in the books",
    "kind": "of a finding",
    "partition": "intake partition; the series is there only while this worker owns it",
    "state": "of the worker, one of a fixed few",
}
"""What each label holds; those of the two info metrics (versions, names of contract and run) explain themselves."""

METRICS: Final = (
    Metric("cutover_build_info", "info", ("version", "faust", "python"), "", "What is running; always 1."),
    Metric("cutover_run_info", "info", ("contract", "run", "rules"), "", "What is being verified; always 1."),
    Metric("cutover_worker_state", "gauge", ("state",), "", "1 for the state that the worker is in, 0 for all others."),
    Metric("cutover_verdicts_total", "counter", ("outcome",), "verdicts", "Verdicts published, revisions included."),
    Metric("cutover_findings_total", "counter", ("kind",), "findings", "Findings of the verdicts published."),
    Metric(
        "cutover_accepted_records_total",
        "counter",
        ("side", "partition"),
        "records",
        "Records that the judge accepted, since the run began.",
    ),
    Metric(
        "cutover_redelivered_records_total",
        "counter",
        ("side", "partition"),
        "records",
        "Records that came again after a restart and were dropped, since the run began.",
    ),
    Metric(
        "cutover_judged_records",
        "gauge",
        ("side", "outcome", "partition"),
        "records",
        "Accepted records by what became of them; with the pending ones they add up to the accepted ones.",
    ),
    Metric(
        "cutover_pending_records",
        "gauge",
        ("side", "partition"),
        "records",
        "Accepted records that are not judged yet.",
    ),
    Metric(
        "cutover_oldest_pending_seconds",
        "gauge",
        ("side", "partition"),
        "seconds",
        "Age, in judge time, of the oldest record not closed and without an equal partner; in a backlog up to a grace "
        "more; 0 where none is pending.",
    ),
    Metric(
        "cutover_frontier_lag_seconds",
        "gauge",
        ("side", "partition"),
        "seconds",
        "Judge time by which the side is not proven complete; absent while some source partition is not vouched for.",
    ),
    Metric(
        "cutover_frontier_proven",
        "gauge",
        ("side", "partition"),
        "",
        "0 while a mirror is ahead of what is proven of it: what has no partner ends as indeterminate; else 1.",
    ),
    Metric(
        "cutover_vouched_partitions",
        "gauge",
        ("side", "partition"),
        "partitions",
        "Source partitions of the side that are vouched for; fewer than there are: nothing can be closed.",
    ),
    Metric(
        "cutover_source_partitions",
        "gauge",
        ("side", "partition"),
        "partitions",
        "Source partitions of the side, as its barriers say.",
    ),
    Metric(
        "cutover_books_balanced",
        "gauge",
        ("partition",),
        "",
        "1 while the books balance; 0: no verdict can be trusted.",
    ),
    Metric(
        "cutover_quarantined",
        "gauge",
        ("partition",),
        "",
        "1 while a defect of this program keeps the partition from being judged; the log and `status` say which.",
    ),
    Metric(
        "cutover_imbalances_total",
        "counter",
        ("partition",),
        "imbalances",
        "Times that the books did not balance, since the run began.",
    ),
    Metric(
        "cutover_source_lag_records",
        "gauge",
        ("side",),
        "records",
        "Offsets to the end of the source partitions that this worker reads; absent while not known.",
    ),
    Metric("cutover_barriers_total", "counter", ("side",), "barriers", "Barriers that all of intake acknowledged."),
    Metric(
        "cutover_barrier_age_seconds",
        "gauge",
        ("side",),
        "seconds",
        "Time since the last barrier; absent while this worker reads no partition of the side.",
    ),
    Metric(
        "cutover_intake_flight_bytes",
        "gauge",
        ("side",),
        "bytes",
        "Bytes sent to intake and not acknowledged yet.",
    ),
    Metric(
        "cutover_checkpoint_seconds", "histogram", (), "seconds", "How long checkpoints took, from transaction to disk."
    ),
    Metric("cutover_checkpoint_rows_total", "counter", (), "rows", "Table rows written by checkpoints."),
    Metric(
        "cutover_checkpoint_bytes_total",
        "counter",
        (),
        "bytes",
        "Bytes of rows and verdicts written by checkpoints, before compression.",
    ),
    Metric(
        "cutover_recovery_seconds",
        "histogram",
        (),
        "seconds",
        "How long recoveries took, from the assignment to the first record read.",
    ),
    Metric(
        "cutover_recovery_remaining_records",
        "gauge",
        (),
        "records",
        "Changelog offsets that are still to be read before the worker works.",
    ),
)
"""All of them, in the order in which they are exported."""


def markdown() -> str:
    """Return the table for the documentation."""
    rows = [
        f"| `{each.name}` | {each.kind} | {', '.join(each.labels)} | {each.unit} | {each.help} |" for each in METRICS
    ]
    labels = [f"- `{name}`: {text}" for name, text in LABELS.items()]
    return "\n".join(["| metric | type | labels | unit | meaning |", "|---|---|---|---|---|", *rows, "", *labels])


if __name__ == "__main__":
    print(markdown())
