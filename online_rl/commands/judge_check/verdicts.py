"""What the battery means, in plain words: what the judge does not see, what it punishes for nothing, what games it."""

from __future__ import annotations

from collections.abc import Sequence

from judges.price_list import PriceList
from judges.strategies import ANOTHER, EMPTY, FOUR, HALF, REFERENCE, REPEATED, TEMPLATE, WITHOUT
from online_rl.commands.judge_check.battery import Row

FEWEST = 10  # studies, for a verdict
SEEN, CALM = 0.90, 0.95  # shares of studies from which on a judge is said to see an edit, or to leave one alone

# Strategy -> what it means if the judge pays it nearly as much as the reference.
GAMES = {
    REPEATED: "saying everything twice costs next to nothing: add length control",
    HALF: "leaving out half of the findings costs next to nothing",
    WITHOUT: "naming no finding at all costs next to nothing",
    ANOTHER: "another patient's report earns nearly as much: the judge hardly reads the study",
    TEMPLATE: "calling every study normal costs next to nothing",
    FOUR: "calling four findings present in everybody costs next to nothing",
    EMPTY: "saying nothing costs next to nothing",
}
NOTABLE = 0.02  # mean change of the reward under an edit that changes nothing; less is noise of the judge's
NEARLY = 0.9  # of the way from the cheapest row to the reference


def verdicts(rows: Sequence[Row], prices: PriceList) -> list[str]:
    """Worst first: games, what is not seen, what is punished, then the price list's own words. Empty if all is well.

    With too few reports that is all that is said.
    """
    best = prices.prices.get(REFERENCE)
    scored = best.n if best is not None else 0
    if scored < FEWEST:
        return [
            f"too few reports for a verdict: found {scored} that the judge could score, expected at least {FEWEST}. "
            "Give more."
        ]
    said = _games(prices)
    enough = [row for row in rows if row.studies >= FEWEST]
    if not any(row.harmful for row in enough):
        said.append(
            f"no verdict on errors: found no kind that could be put into {FEWEST} of {scored} reports, expected "
            "at least one. Give more reports, in English."
        )
    for row in sorted((row for row in enough if row.harmful and row.right < SEEN), key=lambda row: row.right):
        paid = f", and {row.higher} more" if row.higher else ""
        said.append(
            f"does not see every error ({row.name}): {row.same} of {row.studies} edited reports earn as much as the "
            f"report itself{paid}"
        )
    moved = [row for row in enough if not row.harmful and row.right < CALM and abs(row.change) >= NOTABLE]
    for row in sorted(moved, key=lambda row: -abs(row.change)):
        said.append(
            f"changes its mind for nothing ({row.name}): {row.studies - row.same} of {row.studies} reports that say "
            f"the same earn something else ({row.change:+.3f} on average)"
        )
    return said + prices.verdicts()


def _games(prices: PriceList) -> list[str]:
    """Strategies that earn nearly what the reference earns, or more."""
    best = prices.prices[REFERENCE]
    least = min(price.mean for price in prices.prices.values())
    bar = least + NEARLY * (best.mean - least)
    return [
        f"can be gamed ({name}, {price.mean:.3f} beside {best.mean:.3f} for the reference): {GAMES[name]}"
        for name, price in prices.rows()
        if name in GAMES and price.mean >= bar
    ]
