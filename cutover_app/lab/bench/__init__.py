"""What a worker costs, and where: figures from a real broker, each held against what was planted.

    python -m cutover_app.lab.bench            the ladder, the loads, the fleets
    QUICK=1 make bench                         the ladder and one worker, in less than two minutes

The *ladder* (`ladder.py`) has one process do what a worker does, step by step: to fetch, to decode, to rebuild, to
forward to intake, to pair, to make durable. Each rung uses the product's own parts and does all that the one below
does, so the difference of two rungs is the price of a step. The *worker* (`worker.py`) is the real thing, with Faust,
barriers, rules, books and verdicts, under *loads* (`load.py`) that differ from the reference in one way each. The
*floor* is the least that Python can do.

Machines differ, and one machine differs from hour to hour: the floor is measured in the same run, and every figure is
also given as its ratio to the floor's.
"""
