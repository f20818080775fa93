"""Other ways to do the same work, each in the shortest form that its own documentation gives.

All of them get the same task (`job.py`): make the expected message of each legacy one, join it with the published one
by key, with a state that survives, and write a verdict for what differs, is missing or unknown. They are measured on
the same records in the same run, and their verdicts are held against the same ledger.

None of them knows when a side is complete. What has no partner is given up after `WAIT_S` of the time that each of them
offers: the clock, or the time of the records read.
"""
