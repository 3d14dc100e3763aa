"""Why a search answered what it did, for people: what it read, how it searched, what became of each memory."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from reasoning_bank.records import Considered, Explanation, Strategy

if TYPE_CHECKING:
    from reasoning_bank.cli.opened import OpenBank

TITLE = 48
"""Characters of a title in a table."""
_COLUMNS = ("memory", "title", "decision", "relevance", "fused")


def print_explanation(bank: "OpenBank", workspace: str, explanation: Explanation) -> None:
    """Print the plan, then a line for each memory that was looked at, best first."""
    from reasoning_bank.cli.output import print_table

    click.echo()
    lines = {**_read_as(explanation.intent), **_plan(explanation.plan)}
    width = max(map(len, lines))
    for name, line in lines.items():
        click.echo(f"{name.ljust(width)}  {line}")
    considered = explanation.considered
    if not considered:
        return
    titles = _titles(bank, workspace, [each.id for each in considered])
    strategies: dict[Strategy, None] = {name: None for each in considered for name in each.standings}
    rows = [_row(each, titles[each.id], list(strategies)) for each in considered]
    click.echo()
    print_table(rows, headers=(*_COLUMNS, *strategies, "moved by"))
    click.echo(
        "fused: all strategies together and what moved it, in standard deviations of the candidates; under each "
        "strategy: the memory's place in it, and its score there"
    )


def _read_as(intent: Mapping[str, Any]) -> dict[str, str]:
    named = [*intent["entities"].items(), ("times", [time["phrase"] for time in intent["times"]])]
    told = [f"{kind} {', '.join(map(str, names))}" for kind, names in named if names]
    return {"read as": "; ".join([f"{intent['kind']}: {intent['main_line'][:100]}", *told])}


def _plan(plan: Mapping[str, Any]) -> dict[str, str]:
    lines = {
        "searched": f"{plan['candidates']} candidates by {', '.join(plan['strategies']) or 'nothing'}",
        "vectors": f"{plan['path']}; weight of meaning {plan['meaning']} (likeness to code {plan['code_degree']})",
    }
    return lines | {f"not by {name}": reason for name, reason in plan["skipped"].items()}


def _titles(bank: "OpenBank", workspace: str, ids: Sequence[str]) -> dict[str, str]:
    items = {each.memory.id: each.memory.item for each in bank.call(bank.bank.get_memories, workspace, ids)}
    lines = {id_: (item.title or item.text).strip().partition("\n")[0] for id_, item in items.items()}
    return {id_: line if len(line) <= TITLE else f"{line[: TITLE - 1]}…" for id_, line in lines.items()}


def _row(each: Considered, title: str, strategies: Sequence[Strategy]) -> list[str | None]:
    score = each.fused + sum(each.adjustments.values())
    moved = ", ".join(f"{name} {value:+.2f}" for name, value in each.adjustments.items())
    return [
        each.id,
        title,
        each.decision,
        f"{each.relevance:.2f}",
        f"{score:+.2f}",
        *(_standing(each, name) for name in strategies),
        moved or None,
    ]


def _standing(each: Considered, strategy: Strategy) -> str | None:
    standing = each.standings.get(strategy)
    return f"{standing.rank} ({standing.score:.3g})" if standing else None
