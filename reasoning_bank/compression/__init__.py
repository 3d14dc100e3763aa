"""Prompts within a token budget: nothing lost first, then only whole units, and a mark where something was cut.

In the order in which a prompt goes through: `compressor` (one call), `segments` (what kinds of text, by `lines`,
`instructions`, `python`), `steps` (edits that save tokens, of `structured` data, `code` by `grammars`, `blanks`,
`repeats`, `logs`), `extraction` (what stays when that is not enough: `units`, JSON's `elements`, judged by `relevance`
to the `question`, assembled by `cutting`; `telegraph` when not even one fits). `edits` and `pieces` carry what was done
and where each character comes from, `protect` what must stay, `results` what is answered. `threaded` serves an event
loop, `excerpts` cuts one memory, `lingua` wraps LLMLingua-2.
"""
