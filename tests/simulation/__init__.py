"""A simulation of everything around the judge, and of the judge, in which one integer seed decides everything.

The world: two source topics in memory, with offsets, high watermark and last stable offset, transactions that stay open
or abort, partitions that are added, and retention that deletes what nobody has read yet. Two producers with every
defect that the judge must find. Per side a fleet of stage-one senders: they read, rebuild, forward in frames through
pipes that delay, send barriers, sample; their partitions move, some go on as zombies, some crash with sends in flight
and start again at the committed position under a new sender id. An intake log of several partitions, whose append
times come from broker clocks that step, or swing between two brokers. Per intake partition a judge, the real core,
that is crashed, replaced and fenced at will; only what a checkpoint committed survives. Time is a number; there are no
threads.

After each run everything is allowed to close, then:

A. the compacted verdicts equal the oracle's, over what was accepted;
B. the books balance and nothing is pending;
C. other judges that replay the same log in other chunks say the same, count the same, and forget the same;
D. everything that the topics held was accepted;
E. nothing was ever said too early: no `missing`, `unknown` or, where several messages may share a key, `mismatch`,
   not even for a moment, about a record whose partner was in its topic in time. This is measured with the true virtual
   time, which the judge never sees;
F. nothing was forgotten before its time, by an own account of judge time and frontiers.

`python -m tests.simulation --seeds N [--first S]` runs seeds and prints one line in the end; `--seed K` runs one and
prints its world:

    seed 7: 31+36 records over 2+1 partitions, 3 intake; unique tolerant; ok
            |    |                |              |       |
            |    |                |              |       properties of the contract
            |    |                |              partitions of the intake log
            |    |                partitions at the start, legacy + rebuilt
            |    rebuilt records
            legacy records

followed by the faults that were reached and how often (`faults.py` says what each means). `--mutant NAME` breaks one
rule (`mutants.py`) and prints the first seed that notices.
"""
