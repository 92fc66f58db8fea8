"""Ratios against named peers and floors, measured side by side in one run. ``python -m benchmarks``.

How to add a question:

1. A module of its own (``growth_rows.py``) has ``def report(rounds: int, short: bool) -> Report``. It starts
   what it measures (`serving.serving`: an orchestrator in a process of its own), measures it, ends it, and
   returns a `Report`: a heading, what the rows mean, tables, answers and plots.
2. Times are taken by `measure.measured`, from functions that each do the thing once and return the time of
   each step. It mixes the order, counts failures and has one round more, for warming up. The aim of a series
   is set in the table that it returns.
3. A table is a `TimesTable` with its floor, a `RatesTable`, or an `AnswersTable` for what are not times.
4. An `Answer` is a line of the table of questions at the top of RESULTS.md: question, figure and aim.
5. A plot is data: `Bars`, `Stacks` (where the time goes) or `Lines` (how cost grows). `plots.draw` draws it.
6. A row in `parts.PARTS` names it, with the rounds of a whole run, all of which together take less than 15
   minutes, and what it needs of the host (`engines.lacks_docker`, ...).
7. ``short`` asks for small numbers of everything (10 sandboxes in place of 1,000, seconds for minutes). The
   tests run that, and hold it to having measured every row with success.
8. What is too long for a whole run is a row in `parts.ALONE`, and measured by ``--only``.
9. A peer that cannot be in this interpreter is a program in ``programs/``, run by `peers.Worker`.
"""
