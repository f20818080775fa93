"""The contract: one declared pair of topics, read from a YAML file and compiled once."""
