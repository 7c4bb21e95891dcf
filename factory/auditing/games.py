"""The comparisons of one judge, as the view `games` gives them, with what style control needs."""

from __future__ import annotations

from dataclasses import dataclass

from factory.store import Store

_GAMES = """
with
styles as (
  -- Counted only when asked for: it reads every text.
  select
    completion_id,
    len(regexp_extract_all(text, '(?m)^#{1,6}\\s')) as headers,
    len(regexp_extract_all(text, '(?m)^\\s*(?:\\d+\\.|[-*+])\\s')) as lists,
    len(regexp_extract_all(text, '\\*\\*[^*\\n]+\\*\\*|__[^_\\n]+__')) as bold
  from completions
  where $style
)
select
  g.prompt_id, coalesce(p.source_id, '') as source_id, g.first_model as first,
  g.second_model as second, g.p_first as p, g.order_known, g.first_chars, g.second_chars,
  [f.headers, f.lists, f.bold] as first_marks, [s.headers, s.lists, s.bold] as second_marks
from games g
left join prompts p on p.prompt_id = g.prompt_id
left join styles f on f.completion_id = g.first_id
left join styles s on s.completion_id = g.second_id
where g.judge = $judge and g.p_first is not null
  and g.first_model is not null and g.second_model is not null
order by g.prompt_id, g.first_id, g.second_id, g.game_id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Game:
    """One verdict, from the first shown answer's side."""

    prompt_id: str
    source_id: str
    first: str
    second: str
    p: float
    """P(first is better), in [0, 1]."""
    order_known: bool
    """Whether `first` is known to have been displayed first."""
    first_chars: int | None
    second_chars: int | None
    first_marks: list[int | None]
    """Markdown headers, list items and bold spans; nulls where they were not counted."""
    second_marks: list[int | None]


def load(store: Store, judge: str, *, style: bool = False) -> list[Game]:
    """Every verdict of a judge on two completions, in a fixed order."""
    return [Game(**row) for row in store.rows(_GAMES, {"judge": judge, "style": style})]
