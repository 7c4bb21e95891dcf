"""The toy world of the quickstart: instructions whose obedience a few lines can check.

Three instructions over a list of short words, and demonstrations half of which break the
instruction they answer. A starter fine-tuned on them obeys about four times in ten, which is what
on-policy preference training needs: a skill that is there, and mistakes to tell it from. All of it
follows from seeds; nothing is downloaded.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from factory.rows import Prompt, canonical, content_id

Kind = Literal["repeat", "spell", "dot"]
KINDS: tuple[Kind, ...] = ("repeat", "spell", "dot")
TIMES = (2, 3, 4)
BROKEN_SHARE = 0.5
"""A small model obeys somewhat less often than its demonstrations do."""
POOL = "toyworld"
LICENSE = "CC0-1.0"

WORDS: tuple[str, ...] = tuple(  # split, not a list literal: 400 quoted words cannot be read
    """
    acid age aim air ant arch area arm army ash aunt away axe baby back bag bake ball band bank
    bar bark barn base bath bay bead beam bean bear bed bee beef bell belt bike bird bit blue
    boat body bolt bone book boot bowl box boy bud bug bus bush cage cake calf call camp can
    cane cap cape car card cart case cash cat cave chef chin city clam claw club coal coat cod
    coin cold comb cook cord corn cost cow crab crew crib crop crow cube cup curb dad dam dark
    dart data date day deal deck deer den desk dial dice dirt dish disk dock dog doll dome door
    dot dove drop drum duck dune dust ear east edge egg elk end exam exit eye face fact fair
    fall fan farm fast fern fig film fin fire fish fist flag flat fly foam fog foil fold food
    foot fork fort fox frog fuel fur game gap gate gear gem gift glue goal goat gold golf gown
    grid gum gym hair hall ham hand hat hawk head heat heel helm hen herd hill hip hive hole
    home hood hoof hook horn hose hour hut ice inch ink iron jam jar jaw job jug jump kale keel
    key king kite knee knob knot lab lace lake lamb lamp land lap lawn leaf leg lens lid lime
    limb line lion lip list loaf lock log loop lot lung mail map mask mast mat maze meal meat
    menu milk mill mint mist mode mole moon moth mud mug nail neck nest net news noon nose note
    nut oak oar oat odor oil oven owl pad page pail palm pan pant park path paw pea pear pen pig
    pile pill pin pine pipe plan plum poem pole pond pony pool port pot pump quiz race raft rail
    rain ramp rat rice ride ring road robe rock roof room root rope rug rule sack sail salt sand
    saw seal seat seed ship shoe shop show sign silk sink ski skin sled snow soap sock soda sofa
    soil song soup spot stem step suit sun swan swim tail tank tape taxi tea team tent test text
    tide tie tile time tin tip tire toad toe tool town toy tray tree tub tube tuna turn unit urn
    van vase vest view vine vote wall war wasp wave wax way weed week well west whip wind wine
    wing wire wolf wood wool word work worm yard yarn year yolk zone zoo
    """.split()  # noqa: SIM905 - see above
)
"""Common words of three or four letters, which a tiny model can copy; none is a person's name."""


@dataclass(frozen=True, slots=True)
class Task:
    """One instruction: what is asked, and what a checker needs to know."""

    kind: Kind
    word: str
    times: int = 1

    @property
    def text(self) -> str:
        """The user's message."""
        if self.kind == "repeat":
            return f"repeat {self.word} {self.times} times"
        if self.kind == "spell":
            return f"spell {self.word} with commas"
        return f"say {self.word} and end with a dot"

    @property
    def constraints(self) -> dict[str, object]:
        """The checker's arguments, self-describing."""
        if self.kind == "repeat":
            return {"kind": self.kind, "word": self.word, "times": self.times}
        return {"kind": self.kind, "word": self.word}

    @property
    def answer(self) -> str:
        """The completion that obeys."""
        if self.kind == "repeat":
            return " ".join([self.word] * self.times)
        return ",".join(self.word) if self.kind == "spell" else f"{self.word}."

    @property
    def prompt(self) -> Prompt:
        """As a prompt of the pool `toyworld`; the split is the caller's to give."""
        return Prompt(
            messages=({"role": "user", "content": self.text},),
            pool=POOL,
            source=POOL,
            source_id=content_id("toyworld", self.text),
            domain=self.kind,
            lang="en",
            license=LICENSE,
            constraints=canonical(self.constraints).decode(),
        )


@dataclass(frozen=True, slots=True)
class Demonstration:
    """A recorded answer to a task; `obeys` is what the generator meant, for tests and tables."""

    task: Task
    text: str
    obeys: bool


def all_tasks() -> list[Task]:
    """Every distinct task, in a fixed order."""
    repeats = [Task("repeat", word, times) for word in WORDS for times in TIMES]
    return [*repeats, *(Task(kind, word) for kind in KINDS[1:] for word in WORDS)]


def make_tasks(n: int, *, seed: int) -> list[Task]:
    """Distinct tasks, `n` of them, the three instructions in equal shares while their words last.

    Raises:
        ValueError: when there are not that many distinct tasks.
    """
    everything = all_tasks()
    if n > len(everything):
        raise ValueError(f"the toy world has {len(everything)} prompts, {n} were asked for")
    rng = random.Random(f"toyworld tasks {seed}")
    by_kind = {kind: [t for t in everything if t.kind == kind] for kind in KINDS}
    for tasks in by_kind.values():
        rng.shuffle(tasks)
    turns = itertools.chain.from_iterable(itertools.zip_longest(*by_kind.values()))
    return [task for task in turns if task is not None][:n]


def demonstrate(
    tasks: Sequence[Task], *, per_task: int, seed: int, broken_share: float = BROKEN_SHARE
) -> Iterator[Demonstration]:
    """`per_task` answers to each task, of which about `broken_share` break the instruction."""
    for task in tasks:
        rng = random.Random(f"toyworld demonstrations {seed} {task.text}")
        for _ in range(per_task):
            broken = rng.random() < broken_share
            text = _broken(task, rng) if broken else task.answer
            yield Demonstration(task, text, not broken)


def record(demonstration: Demonstration) -> Mapping[str, object]:
    """A demonstration as one JSON line of recorded completions."""
    return {
        "messages": [dict(m) for m in demonstration.task.prompt.messages],
        "completion": demonstration.text,
        "model": "toyworld-demonstrations",
        "constraints": demonstration.task.prompt.constraints,
    }


def _broken(task: Task, rng: random.Random) -> str:
    """An answer that breaks the instruction: wrong form, or chatter in front of a right one."""
    if rng.random() < 1 / 3:
        return rng.choice(("ok: ", "sure, ", "here: ")) + task.answer
    if task.kind == "repeat":
        wrong = task.times + rng.choice((-1, 1))
        return " ".join([task.word] * wrong)
    if task.kind == "dot":
        return rng.choice((task.word, task.word + "!"))
    at = rng.randrange(1, len(task.word))
    lost = ",".join(task.word[:at]) + ",".join(task.word[at:])
    return rng.choice((task.word, " ".join(task.word), lost))
