"""Sentences, words and syllables of a text, as the constraints of IFEval and IFBench count them.

Rules instead of trained models, so that nothing is downloaded and a verdict does not change with a
model's version. English only, as those constraints are. A mark may end a sentence where the Punkt
tokenizer, which both benchmarks use, looks for an end (Kiss and Strunk 2006; nltk.org, Apache-2.0).
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Iterable


def _words(text: str) -> list[str]:
    return text.split()


_SHUT = re.escape("\"')]}\u201d\u2019")
_STOP = re.compile(rf"\S*[.?!](?![^\s{_SHUT}\[({{*:;@])")
_CLOSING = re.compile(rf"[{_SHUT}]+(?=--|\s|\Z)")
_ABBREVIATIONS = frozenset(
    _words(
        "mr mrs ms dr prof st jr sr vs etc e.g i.e eg ie cf al fig no vol inc ltd co corp dept "
        "est approx jan feb mar apr jun jul aug sep sept oct nov dec u.s u.k u.n a.m p.m ph.d "
        "m.d b.a m.a gen col sgt capt lt rev hon gov sen rep"
    )
)
_STARTERS = frozenset(_words("the a an he she it they we i you this that these those but and in"))


def sentences(text: str) -> list[str]:
    """The sentences of a text, each with its marks and without the space around it.

    A sentence ends at `?` or `!`, and at a full stop that does not belong to an abbreviation, an
    initial or an ellipsis that the sentence goes on from. Quotes and brackets that close right
    after it are its own. Line breaks end nothing.
    """
    found: list[str] = []
    start = 0
    for mark in _STOP.finditer(text):
        end = mark.end()
        closing = _CLOSING.match(text, end)
        after = closing.end() if closing else end
        rest = text[after:].lstrip()
        if rest and not _ends(mark[0], rest):
            continue
        found.append(text[start:after].strip())
        start = after
    found.append(text[start:].strip())
    return [s for s in found if s]


def _ends(token: str, rest: str) -> bool:
    if token[-1] in "?!":
        return True
    word = token.strip("\"'()[]{}*_\u201c\u2018").removesuffix(".").casefold()
    following = rest.lstrip("\"'([{*_\u201c\u2018")[:40].split(maxsplit=1)
    next_word = following[0] if following else ""
    capital = next_word[:1].isupper()
    if token.endswith(".."):
        return capital
    if word in _ABBREVIATIONS or re.fullmatch(r"[^\W\d_]", word) or re.fullmatch(r"\w\.\w", word):
        return capital and next_word.casefold().strip(string.punctuation) in _STARTERS
    if word.isdigit():
        return not next_word[:1].islower()
    return True


def words(text: str) -> list[str]:
    r"""Runs of letters, digits and underscores: `\w+`."""
    return re.findall(r"\w+", text)


def tokens(text: str) -> list[str]:
    """Words with their inner apostrophes and hyphens, and every mark by itself."""
    return re.findall(r"\w+(?:['\u2019-]\w+)*|[^\w\s]", text)


_APART = re.compile(
    r"\.{2,}|--|[:,](?!\d)|[]\[(){}<>;@#$%&?!*`\"\u00ab\u00bb\u201c\u201d\u201e\u2018\u2019]"
)
_SENTENCES_STOP = re.compile(r"(?<=[^.])\.([\])}>\"'\u00bb\u201d\u2019 ]*)$")
_CLITIC = re.compile(r"(?<=[^' ])('(?:s|m|d|ll|re|ve)|n't|')(?= )", re.IGNORECASE)
_JOINED = re.compile(
    r"\b(can)(not)\b|\b(gim|lem)(me)\b|\b(gon|wan)(na)\b|\b(got)(ta)\b", re.IGNORECASE
)


def treebank(text: str) -> list[str]:
    """Words and marks as the Penn Treebank cuts them, which IFEval's capital words are counted by.

    `GO/NO-GO` and `U.S.` are one word, `DON'T` and `AT&T` are more; a full stop is cut off at the
    end of a sentence alone.
    """
    found: list[str] = []
    for sentence in sentences(text):
        said = _APART.sub(lambda mark: f" {mark[0]} ", f" {sentence.strip()}")
        said = _SENTENCES_STOP.sub(r" . \1", said) + " "
        said = _JOINED.sub(lambda m: " ".join(part for part in m.groups() if part), said)
        found += _CLITIC.sub(r" \1", said).split()
    return found


_PUNCTUATION = str.maketrans("", "", string.punctuation)


def bare(text: str) -> str:
    """The text without ASCII punctuation."""
    return text.translate(_PUNCTUATION)


def trimmed(text: str) -> str:
    """The text without ASCII punctuation and blanks at its ends."""
    return text.strip(string.punctuation + " ")


def plain(text: str) -> str:
    """The text without accents."""
    return "".join(c for c in unicodedata.normalize("NFKD", text) if ord(c) < 128)


def is_emoji(character: str) -> bool:
    """Whether a character is one that is drawn as a picture."""
    code = ord(character)
    return (
        0x1F300 <= code <= 0x1FAFF
        or 0x1F1E6 <= code <= 0x1F1FF
        or 0x2600 <= code <= 0x27BF
        or 0x1F004 <= code <= 0x1F251
        or code in {0x203C, 0x2049, 0x2122, 0x2139, 0x231A, 0x231B, 0x2328, 0x23CF, 0x24C2}
        or 0x2190 <= code <= 0x21AA
        or 0x23E9 <= code <= 0x23FA
        or 0x2B05 <= code <= 0x2B55
    )


_VOWELS = re.compile(r"[aeiouy]+")


def syllables(word: str) -> int:
    """About how many syllables an English word has: groups of vowels, silent endings aside."""
    word = plain(word.casefold())
    word = "".join(c for c in word if c.isalpha())
    if not word:
        return 0
    count = len(_VOWELS.findall(word))
    if re.search(r"[^aeiouylr]e$|[^aeiouy][lr]e$", word) and not re.search(r"[^aeiouy]le$", word):
        count -= 1
    if re.search(r"[^aeiouytd]ed$|[^aeiouysxzcg]es$", word) and not re.search(r"[cs]hes$", word):
        count -= 1
    count += len(re.findall(r"i(?:a|o(?!u)|um|us\b|et)|[aeiou]ing$|eo(?!u)|ua|uou", word))
    count -= len(re.findall(r"(?:[tcs]i)(?:o|a)|qua|gua|gue$", word))
    return max(1, count)


STOP_WORDS = frozenset(
    _words(
        "a about above after again against all am an and any are as at be because been before "
        "being below between both but by can did do does doing down during each few for from "
        "further had has have having he her here hers herself him himself his how i if in into is "
        "it its itself just me more most my myself no nor not now of off on once only or other "
        "our ours ourselves out over own same she should so some such than that the their theirs "
        "them themselves then there these they this those through to too under until up very was "
        "we were what when where which while who whom why will with you your yours yourself "
        "yourselves "
        "ain aren couldn d didn doesn don hadn hasn haven isn ll m ma mightn mustn needn o re s "
        "shan shouldn t ve wasn weren won wouldn y"
    )
)
"""English stop words, then what an apostrophe leaves of contractions.

After the Snowball project's list (snowballstem.org, BSD licence), as far as IFBench counts it.
"""

_VERBS = frozenset(
    _words(
        "accept accompany achieve acknowledge act adapt add address adjust admit adopt advance "
        "advise affirm aim allow analyze analyse announce answer anticipate apologize appear "
        "apply appreciate approach argue arrange arrive ascend ask assemble assert assess "
        "assign assist assume attach attempt attend attract avoid awaken bake balance base be "
        "bear beat become beg begin behold believe bend bet blend boil bow break breathe brew "
        "bring burn buy calculate call capture care carry cast catch celebrate change charge "
        "chase check choose clarify clean climb close collect combine come command commence "
        "compare compile complete compose compute conduct confirm conjure connect consider "
        "construct consult contain continue convert cook copy count cover craft create cross "
        "cultivate cut dance dare decide declare decode dedicate deepen define delight delve "
        "deliver demonstrate depict derive describe descend design desire determine develop "
        "devise dig discover discuss display dive divide do draft drag draw dream drink drive "
        "drop eat echo edit elevate embark embody embrace emerge emphasize employ empower "
        "enable encounter encourage engage enhance enjoy ensure enter envision establish "
        "evaluate evoke examine execute exist expand expect experience experiment explain "
        "explore express extend extract face fall feel fight figure fill find finish fix float "
        "flow fly focus follow force forge forget form foster gain gather gaze generate get "
        "give glance go grab grant grasp greet grow guide handle happen harness have hear heat "
        "help hide highlight hold hope identify ignite illuminate illustrate imagine immerse "
        "implement improve include incorporate increase indulge inform initiate insert inspire "
        "install integrate introduce invent invest investigate invite involve is join journey "
        "jump keep kindle know lay lead leap learn leave lend let listen live locate look love "
        "maintain make manage map marvel master maximize measure meet mention merge mix model "
        "monitor motivate move navigate need nestle note notice nurture observe obtain offer "
        "open optimize organize outline overcome paint pay perform picture place plan play "
        "ponder possess pour practice prepare present preserve prevent proceed produce promote "
        "propose protect prove provide pull purchase pursue push put raise reach read realize "
        "recall receive recognize recommend reduce refer reflect refuse relate release remain "
        "remember remove render repeat replace reply report represent request require research "
        "resolve respect respond restore reveal review rewrite rise roam rotate run save say "
        "search see seek seem select send separate serve set shape share shift show shun "
        "simplify sing sit slice solve sort speak spend spread stand start state stay step stir "
        "stop stretch strive struggle study submit succeed suggest summarize support suppose "
        "survive sustain swim take talk teach tell tend test thank think thrive throw track "
        "trade train transform translate transport travel traverse treat try turn unfold unlock "
        "unleash unite unveil update upgrade use utilize validate venture verify view visit "
        "visualize voyage wait wake walk wander want warn watch weave welcome whisk wish "
        "witness wonder work write yield zoom"
    )
)
_IRREGULAR = frozenset(
    _words(
        "are was were been am has had did done went gone made said saw seen took taken came "
        "gave given found thought knew known told felt left kept began begun brought built held "
        "stood let's lost led read"
    )
)


_NO_PARTICIPLES = frozenset(
    _words(
        "anything bring building ceiling cling during evening everything king morning nothing ring "
        "something spring sting string thing wing wedding"
    )
)


def is_verb(word: str) -> bool:
    """Whether a tagger would take an English word that opens a text for a verb.

    By a list, its regular endings, and every participle in -ing. IFBench asks a statistical tagger,
    which misses some imperatives: `understand`, `build` and `conceive` are left out of the list for
    that reason, and on other words the two may differ.
    """
    word = word.casefold().replace("\u2019", "'")
    if word in _VERBS or word in _IRREGULAR:
        return True
    if word.endswith("ing") and len(word) > 5 and word not in _NO_PARTICIPLES:
        return True
    stems: Iterable[str] = ()
    if word.endswith("ing"):
        stem = word[:-3]
        stems = (stem, stem + "e", stem[:-1])
    elif word.endswith("ed"):
        stem = word[:-2]
        stems = (stem, stem + "e", stem[:-1], stem[:-1] + "y")
    elif word.endswith("s"):
        stems = (word[:-1], word[:-2], word[:-3] + "y")
    return any(stem in _VERBS for stem in stems)
