"""The fault matrix: what is done to machines, brokers, topics and input, and what must come out all the same.

    make faults                       every row, a seed of its own for each run
    make faults ROWS=1,2,30-33        some of them
    make faults SEED=7                what seed 7 does

A row injects its fault into a run of real workers on a real cluster (`ground.py`), makes sure that the fault was
reached, and ends, like every run of the lab, with the oracle, the ledger, the books and the replay. What a row expects
beyond that is in its own words beside it. Rows are functions, by what they are done to: `workers.py`, `brokers.py`,
`sources.py`, `clocks.py`, `state.py`, `outputs.py`, `load.py`. Rows that a test of its own shows are in `shown.py`.

Numbers are those of the matrix by which the project was planned; they have no other meaning, and gaps are rows that
nothing of this application is concerned with.
"""
