"""What tables may claim: intervals, tests of non-inferiority, comparison by test example, aggregates over data sets.

Everything here is a formula over arrays of numbers and knows nothing of suites or records; `benchbench.reports` applies
it. `python -m benchbench.statistics` measures by simulation what the intervals and the verdicts are worth.
"""
