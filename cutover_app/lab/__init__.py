"""The lab: real Kafka clusters from jars, and a scenario with planted faults and its ledger."""
