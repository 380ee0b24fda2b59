"""Statistics of results: intervals, tests of non-inferiority, comparison by test example, aggregates over data sets.

Everything here is a formula over arrays of numbers, without suites or records; `benchbench.reports` applies it.
`python -m benchbench.statistics` measures the error rates of intervals and verdicts by simulation.
"""
