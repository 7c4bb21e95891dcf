"""Cleans prompts on their way into a pool: benchmarks, lengths, languages, near-duplicates.

Benchmarks are held in memory, prompts only pass. Nothing is changed or cut: a prompt is in, or it
is a drop with a reason and the evidence for it. What filters take out is told per source, because
a source that holds much of a benchmark is one to leave out whole.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from factory.errors import UserError
from factory.prompting.cleaning.benchmarks import read_benchmark, user_turns
from factory.prompting.cleaning.conversations import Conversation, matches_of
from factory.prompting.cleaning.index import Index, Match
from factory.prompting.cleaning.language import language_of, stated
from factory.prompting.cleaning.near import SIMILARITY, NearDuplicates
from factory.prompting.cleaning.tags import Tagger, tagger_of
from factory.store import Store

TOLERATED = 0.02
"""Share of a benchmark above which a whole source is suspect (Tulu 3, arXiv 2411.15124)."""
_CHUNK = 2000

_EVERY = """
    select prompt_id, messages, constraints from prompts
    where messages is not null order by prompt_id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanSettings:
    """What is left out; by default nothing."""

    against: tuple[str, ...] = ()
    """Benchmarks: files, `hf:` names or pools."""
    near_duplicates: bool = False
    similarity: float = SIMILARITY
    """From which Jaccard similarity of word 3-grams on a prompt is a near-duplicate."""
    lang: tuple[str, ...] = ()
    """ISO 639-1 codes to keep; empty keeps all."""
    min_chars: int | None = None
    max_chars: int | None = None
    max_tokens: int | None = None
    """Most tokens of all messages, the template's own not counted, by `tokenizer`."""
    tokenizer: str | None = None
    """A model directory, or its tokenizer.json."""
    drop_tags: tuple[str, ...] = ()
    """Categories of prompts/safety.yaml that are left out."""
    licenses: tuple[str, ...] = ()
    """Licences that may stay, in any case and spelling; empty keeps all."""

    def __bool__(self) -> bool:
        """Whether anything could be left out."""
        return self != CleanSettings(similarity=self.similarity, tokenizer=self.tokenizer)


@dataclass(frozen=True, slots=True)
class Finding:
    """Why a prompt is left out: a short stable reason, and the evidence as JSON values."""

    reason: str
    facts: Mapping[str, object]


@dataclass(slots=True)
class _Tally:
    rows: int = 0
    items: set[str] = field(default_factory=lambda: set[str]())


class Cleaner:
    """Screens prompts for one pool; one cleaner sees every row of a source once."""

    def __init__(
        self,
        settings: CleanSettings,
        *,
        index: Index | None = None,
        near: NearDuplicates | None = None,
        notes: Sequence[str] = (),
        tagger: Tagger | None = None,
        count: Callable[[str], int] | None = None,
    ) -> None:
        self.settings = settings
        self.notes = list(notes)
        """What to know of the benchmarks."""
        self._index = index
        self._near = near
        self._tagger = tagger
        self._count = count
        self._allowed = {license_key(name) for name in settings.licenses}
        self._tallies: dict[tuple[str, str], _Tally] = {}

    def screen(self, prompts: Sequence[MutableMapping[str, Any]]) -> list[Finding | None]:
        """Why each row of `prompts` is left out, or None; fills in `lang` where it was asked for.

        Near-duplicates are not looked at here: see `repeats`.
        """
        found: list[Finding | None] = []
        for at in range(0, len(prompts), _CHUNK):
            chunk = prompts[at : at + _CHUNK]
            asked = [Conversation.of(prompt) for prompt in chunk]
            matches = matches_of(self._index, asked) if self._index else [[] for _ in chunk]
            for prompt, whole, match in zip(chunk, asked, matches, strict=True):
                said = whole.told
                found.append(
                    self._contaminated(prompt, match, whole)
                    or self._license(prompt)
                    or self._length(prompt)
                    or self._tokens(prompt)
                    or self._tagged([*said, *whole.later])
                    or self._language(prompt, said)
                )
        return found

    def _contaminated(
        self, prompt: Mapping[str, Any], matches: Sequence[Match], whole: Conversation
    ) -> Finding | None:
        if not matches:
            return None
        source = str(prompt["source"])
        for name in {match.benchmark for match in matches}:
            self._tallies.setdefault((source, name), _Tally()).rows += 1
        for match in matches:
            self._tallies[source, match.benchmark].items.add(match.item)
        best = matches[0]
        facts: dict[str, object] = {
            "benchmark": best.benchmark,
            "benchmark_items": self._index.sizes[best.benchmark] if self._index else None,
            "item": best.item,
            "kind": best.kind,
            "score": best.score,
            "prompt_share": best.prompt_share,
            "words": best.words,
            "span": best.span,
        }
        if whole.several:
            facts["turn"] = whole.number(best.turn)
        if len(matches) > 1:
            facts["also"] = [f"{m.benchmark}/{m.item}" for m in matches[1:6]]
        return Finding("contaminated", facts)

    def _length(self, prompt: Mapping[str, Any]) -> Finding | None:
        length = int(prompt["n_chars"])
        least, most = self.settings.min_chars, self.settings.max_chars
        if most is not None and length > most:
            return Finding("too_long", {"n_chars": length, "most": most})
        if least is not None and length < least:
            return Finding("too_short", {"n_chars": length, "least": least})
        return None

    def _license(self, prompt: Mapping[str, Any]) -> Finding | None:
        said = str(prompt["license"] or "")
        if not self._allowed or license_key(said) in self._allowed:
            return None
        return Finding("license" if said.strip() else "unlicensed", {"license": said})

    def _tokens(self, prompt: Mapping[str, Any]) -> Finding | None:
        most = self.settings.max_tokens
        if most is None or self._count is None:
            return None
        n = sum(self._count(m["content"]) for m in json.loads(prompt["messages"]))
        return Finding("too_many_tokens", {"tokens": n, "most": most}) if n > most else None

    def _tagged(self, turns: Sequence[str]) -> Finding | None:
        if self._tagger is None:
            return None
        found = self._tagger.found("\n".join(turns))
        bad = [tag for tag in self.settings.drop_tags if tag in found]
        return Finding("tagged", {"tag": bad[0], "word": found[bad[0]]}) if bad else None

    def _language(self, prompt: MutableMapping[str, Any], turns: Sequence[str]) -> Finding | None:
        if not self.settings.lang:
            return None
        code, sure = stated(prompt["lang"] or ""), 1.0
        if not code:
            told = language_of("\n".join(turns))
            if told is None:
                return None
            code, sure = told.code, told.probability
            prompt["lang"] = prompt["lang"] or code
        if code in self.settings.lang:
            return None
        return Finding("language", {"lang": code, "probability": sure})

    def repeats(self, prompt: Mapping[str, Any]) -> Finding | None:
        """Whether a new prompt nearly repeats one that was kept; else it is kept from now on."""
        if self._near is None:
            return None
        turns = user_turns(json.loads(prompt["messages"]))
        near = self._near.first(
            prompt["prompt_id"], turns, facts=str(prompt.get("constraints") or "")
        )
        if near is None:
            return None
        return Finding("near_duplicate", {"kept": near.prompt_id, "similarity": near.similarity})

    def contamination(self) -> list[dict[str, Any]]:
        """What each source holds of each benchmark, the worst first."""
        sizes = self._index.sizes if self._index else {}
        found = [
            {
                "source": source,
                "benchmark": benchmark,
                "rows": tally.rows,
                "items": len(tally.items),
                "of": sizes[benchmark],
                "share": round(len(tally.items) / sizes[benchmark], 4),
            }
            for (source, benchmark), tally in self._tallies.items()
        ]
        return sorted(found, key=lambda f: (-f["share"], f["source"], f["benchmark"]))

    def verdicts(self) -> list[str]:
        """A sentence for each source that holds more of a benchmark than is tolerated."""
        return [
            f"{100 * f['share']:.1f} % of {f['benchmark']} is in {f['source']} "
            f"({f['items']} of {f['of']} items; more than {100 * TOLERATED:.0f} % is suspect: "
            "consider leaving the source out)"
            for f in self.contamination()
            if f["share"] > TOLERATED
        ]


def open_cleaner(store: Store, settings: CleanSettings, *, pool: str) -> Cleaner | None:
    """A cleaner for prompts that go into `pool`; None when nothing is to be left out.

    Raises:
        UserError: no such benchmark, or the pool itself; a language that is no code.
    """
    if not settings:
        return None
    for code in settings.lang:
        if not re.fullmatch("[a-z]{2,3}", code):
            raise UserError(f"{code!r} is no ISO 639-1 code of a language", next="--keep-lang en")
    tagger = tagger_of(store.workspace) if settings.drop_tags else None
    if tagger is not None:
        tagger.known(settings.drop_tags, where="--drop-tag")
    notes: list[str] = []
    index: Index | None = None
    for named in settings.against:
        index = index or Index()
        name, items = read_benchmark(store, named)
        if named == pool:
            raise UserError(
                f"--against {named}: a pool cannot be kept clean of itself",
                next=f"prefactory prompts add FILE --pool {pool}-2 --against {pool}",
            )
        unread = 0
        for item in items:
            unread += not item.turns
            if item.turns:
                index.add(name, item.name, item.turns)
        if not index.sizes[name]:
            raise UserError(f"--against {named}: not one item could be read", next=f"head {named}")
        if unread:
            notes.append(f"{unread} rows of {name} could not be read and were not looked for")
    return Cleaner(
        settings,
        index=index.seal() if index else None,
        near=_near(store, settings) if settings.near_duplicates else None,
        notes=notes,
        tagger=tagger,
        count=_counter(settings),
    )


def license_key(name: str) -> str:
    """A licence's name without case, spaces and the like: `CC BY 4.0` is `cc-by-4.0`."""
    return re.sub(r"[\s_-]+", "-", name.lower()).strip("-")


def _counter(settings: CleanSettings) -> Callable[[str], int] | None:
    """Counts tokens of a text.

    Raises:
        UserError: where tokens are to be counted and no tokenizer can be read.
    """
    if settings.max_tokens is None:
        return None
    if settings.tokenizer is None:
        raise UserError(
            "tokens cannot be counted without a tokenizer", next="--tokenizer MODEL_DIR"
        )
    from tokenizers import Tokenizer

    path = Path(settings.tokenizer).expanduser()
    file = path / "tokenizer.json" if path.is_dir() else path
    if not file.is_file():
        raise UserError(f"there is no tokenizer {file}", next=f"ls {file.parent}")
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as bad:  # the library has no error class of its own
        raise UserError(f"{file} is no tokenizer: {bad}", next=f"head -c 200 {file}") from bad
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)


def _near(store: Store, settings: CleanSettings) -> NearDuplicates:
    """What the workspace holds already: a near-duplicate of a held-out prompt is one, too."""
    near = NearDuplicates(similarity=settings.similarity)
    with store.connect(mentioned_in=_EVERY) as con:
        found = con.execute(_EVERY)
        while rows := found.fetchmany(_CHUNK):
            for prompt_id, messages, constraints in rows:
                near.first(prompt_id, user_turns(json.loads(messages)), facts=constraints or "")
    return near
