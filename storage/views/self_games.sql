-- One row per game in which exactly one side is of the judge's own family, people's verdict beside it.
--
-- A family is read from a model's name; change the list here for models it does not know. `p_own` is
-- P(own family's answer is better), `p_people` what people said of the same two completions.
with
families(family, pattern) as (
  values
    ('openai', 'gpt[-_ .]?[2345]|chatgpt|davinci|openai|\bo[134](-|$)'),
    ('anthropic', 'claude|anthropic'),
    ('google', 'gemini|gemma|palm|bard'),
    ('mistral', 'mistral|mixtral|ministral|magistral|zephyr'),
    ('qwen', 'qwen|qwq'),
    ('deepseek', 'deepseek'),
    ('llama', 'llama|vicuna|alpaca|tulu'),
    ('cohere', 'command-r|command-a|cohere|aya'),
    ('falcon', 'falcon'),
    ('olmo', 'olmo')
),
names as (
  select name, (
    -- The first family of the list that the name matches, so that a name belongs to one.
    select arg_min(f.family, f.place)
    from (select *, row_number() over () as place from families) f
    where regexp_matches(lower(n.name), f.pattern)
  ) as family
  from (
    select distinct first_model as name from games
    union select second_model from games
    union select distinct coalesce(model_reported, judge_model_id, judge) from games
  ) n
  where n.name is not null
),
played as (
  select
    g.judge, g.prompt_id, own.family,
    case when a.family = own.family then g.p_first else 1 - g.p_first end as p_own,
    case when a.family = own.family then g.first_id else g.second_id end as own_id,
    case when a.family = own.family then g.second_id else g.first_id end as opponent_id
  from games g
  join names own on own.name = coalesce(g.model_reported, g.judge_model_id, g.judge)
  join names a on a.name = g.first_model
  join names b on b.name = g.second_model
  where own.family is not null and g.p_first is not null and g.kind <> 'human'
    and (a.family is not distinct from own.family) <> (b.family is not distinct from own.family)
),
by_people as (
  select completion_id, opponent_id, avg(p) as p
  from (
    select first_id as completion_id, second_id as opponent_id, p_first as p
    from games where kind = 'human' and p_first is not null
    union all
    select second_id, first_id, 1 - p_first from games where kind = 'human' and p_first is not null
  )
  group by completion_id, opponent_id
)
select p.judge, p.family, p.prompt_id, p.own_id, p.opponent_id, p.p_own, h.p as p_people
from played p
left join by_people h on h.completion_id = p.own_id and h.opponent_id = p.opponent_id
