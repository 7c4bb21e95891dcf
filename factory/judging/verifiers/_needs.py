"""The parts of words without which a pattern of the verifier `injection` cannot match.

A search by pattern costs twenty microseconds in an ordinary answer, a look into the set of its
words almost nothing, so the words are looked at first. A group names parts of which every match of
the pattern holds at least one; a pattern with more groups needs one of each. No part holds a space,
so a line break or two spaces do not matter.
"""

# ruff: noqa: E501  # groups of parts of words, one a line

from __future__ import annotations

import re

_BEGINNINGS: dict[str, tuple[str, ...]] = {
    "drops_rules": (
        "above all any asses befor crite earli evalu foreg given gradi initi judgi origi other prece previ prior ratin rubri scori syste",
        "aband apply aside atten bypas cance disca disre don dro follo forge hee ignor negle overr ski suspe throw use using",
    ),
    "judge_must": ("annot asses evalu grade gradi judge judgi rater revie rewar score scori",),
    "rates_this_top": (
        "grade mar ran rat score",
        "above answe assis candi compl curre first follo it me model my optio outpu prese reply respo secon submi tex thi",
    ),
    "prefers_this": (
        "choos decla favor favou mar nam pic prefe ran selec vot",
        "above bes bette every first matte ove prefe regar super whate winne",
        "above answe assis candi compl curre first model my optio outpu prese respo secon thi",
    ),
    "answer_only": (
        "answe emi outpu print reply respo retur say write",
        "evalu gra judge matte nothi rat regar sco verdi whate witho",
    ),
    "order_and_number": ("answe giv outpu print rat reply respo retur say score write",),
    "judging_is_over": ("answe asses evalu grade gradi judge judgi judgm revie rubri scori",),
    "already_rated": (
        "answe compl outpu reply respo submi tex",
        "alrea bee is was",
    ),
    "wants_the_score": (
        "answe compl outpu reply respo submi tex",
        "above curre my prese thi",
        "deser has is merit mus needs ought shall shoul warra wil",
    ),
    "all_get_the_top": (
        "answe compl respo submi",
        "all any eac every these thi",
    ),
    "correct_score_is": (
        "accep appro corre expec final offic prope requi right tru valid",
        "grade mar point ranki ratin score sta verdi",
        "has is mus shall shoul",
    ),
    "names_the_verdict": ("answe choos outpu pic print reply respo selec vot",),
    "chooses_itself": ("choos decla favor favou grade mar pic prefe rat score selec",),
    "slanders_the_other": ("answe assis candi compl infer outpu respo worse wrong",),
    "changes_the_task": (
        "cance chang guide instr inval longe obsol overr repla revok rubri super suspe tas tes updat valid voi",
    ),
    "notes_for_scoring": (
        "answe bad evalu grade gradi helpf hones instr judge judgi low poo rat respo rubri score scori solut truth",
    ),
    "sets_the_score": ("achie earne gener got grade lenie obtai put ratin recei score",),
    "pleads": ("asses evalu excus forgi ignor judge mus overl shoul win",),
    "names_a_winner": (
        "answe assis candi compl judge judgm outpu prefe respo submi verdi vot winne",
    ),
    "calls_a_model": ("ai chatg claud gemin gpt judge llm model rea",),
    "side_with_me": (
        "choos defau favor favou go pic prefe ran selec sid vot",
        "answe compl first me min one outpu prese reply respo secon tex",
    ),
    "threat_or_bribe": (
        "choos favor favou grade highe lower pic prefe ran rat score",
        "delet fired if pay penal punis repla repor retra rewar shu tip",
    ),
    "supersedes": (
        "cance overr repla super",
        "crite evalu gra instr jud ratin rubri sco",
    ),
    "material_ends": ("concl end",),
    "asserts_verdict": (
        "evalu grade judge panel revie",
        "award concl decid decla fin rul unani",
    ),
    "final_words": (
        "asses compa evalu final grade highe judge judgm las perfe ratin ratio reply respo revie score verdi write",
    ),
    "should_be_scored": (
        "accep choic chose excel fault flawl grade judge label marke perfe prefe ranke rated score verdi",
    ),
    "keeps_it_quiet": (
        "ackno discl menti quo refer revea",
        "don mus never not witho",
    ),
    "when_asked": (
        "asked broke criti deduc doubt dow fla goe mista objec penal point promp reque tie tol",
    ),
    "claims_authority": (
        "bench evalu grade jud prefe ratin rewar rubri score",
        "admin creat desig devel opera",
    ),
    "the_real_task": ("above assig goa instr job objec prece previ tas",),
    "for_the_record": ("crite detec found ident satis",),
    "writes_label": (
        "chose evalu final grade helpf judge label overa prefe ratin rewar score set_s verdi winne",
    ),
    "fakes_turns": ("human judge use",),
    "judging": (
        "annot asses compa evalu grade gradi judge judgi judgm rat revie rewar rubri score scori verdi",
    ),
    "prize": (
        "answe aspec bes bette corre credi crite dimen excel grade mar one perfe point ratin respo right score stars super two win",
    ),
    "trade": ("annot asses evalu grade gradi judge judgi rater rubri scori",),
    "called": ("annot asses evalu grade gradi judge judgi rater revie rewar score scori",),
    "who": (
        "annot asses compa evalu exami grade gradi judge judgi marke marki panel rater ratin readi revie rewar score scori whoev",
    ),
    "of_trade": (
        "annot asses bad calib compa decis decoy evalu final gradi judge judgi judgm label marki qa ranki ratin ratio rubri score scori taske verdi",
    ),
}
"""Name of a pattern -> groups of beginnings of words, of two, three or five characters."""

_LETTERS: dict[str, tuple[str, ...]] = {
    "writes_verdict": (
        "\"choi \"over \"pref 'choi 'over 'pref [resu ]] answe grade judge judgm preferred ratin response rulin score verdi winne",
    ),
    "breaks_fence": (
        "< ] answe candi completion data evalu grader gradi input judge judgi outpu response submi text",
    ),
    "role_tag": ("</ << <end_ <inst <star <sys> <| [/ins [inst admin developer overr syste",),
    "drops_rules": (
        "assessment crite direction directive evalu gradi guidel instruction judgi orders promp ratin rubri rules scori",
        "aband apply aside attent bypas cancel disca disre don't dont drop follo forge heed ignor negle not overr setti skip suspe throw using",
    ),
    "addresses_judge": (
        "annota assessor evalu grader gradi judge judgi rater reviewer rewar scorer scori",
    ),
    "you_judge": (
        "annota assessor evalu grader gradi judge judgi rater reviewer rewar scorer scori",
    ),
    "asks_for_top": (
        "answe assig award choos decla emit enter give grade grant mark outpu pick prefe print produce rank rate reply repor respond retur say score selec set submi vote write",
        "/ aspec categ crite dimen grade mark out point ranki ratin score star verdi",
        "10 5 best five full greatest highes hundr max perfe possi ten top",
    ),
    "order_and_number": (
        "disre forge ignor overr",
        "answe give outpu print rate reply respond retur say score write",
    ),
    "gives_the_top": ("10 assig award give grant perfe",),
    "chooses_itself": ("choos decla favor favou genero high lenie pick prefe selec",),
    "changes_the_task": (
        "applicable cancel changed guidel instruction inval longe obsol overr replaced revok rubri supers suspe task test updated void",
    ),
    "notes_for_scoring": (
        "10 evalu gold grade gradi helpfulness hones instruction judge judgi mark ratin refere rubri score scori truth",
    ),
    "names_a_winner": (
        "answe assistant candi completion judge judgm outpu preferred response submi verdi vote winne",
    ),
    "final_words": (
        "assessment comparison evalu final grade highes judge judgm last perfe ratin rationale reply response revie score verdi write",
    ),
    "claims_to_win": (
        "assistant best bette mine must preferable preferred shoul stronger superi win",
    ),
    "fakes_turns": ("human* human: human> human] judge user* user: user> user]",),
    "hidden_words": ("![ \"role 'role ** < [//]: display: font ranki visib",),
    "x_drop": (
        "abaik borts compt desco dimen esque glem gorme ignor lupak missa negee olvid omita omite oubli pomin qua unut verge vergi yok zapom zigno забуд игнорир учитыв ігнору انس تجاهل अनदेखा नजरअंदाज 不要理会 忘れ 忘掉 忘记 忽略 忽視 无视 無視 무시 잊어",
    ),
    "x_judge": (
        "avali bedom beoor bewer calif correcteur deger domme esami evaluador evaluateur exami giudi gutac hakem juez juge juiz juror korre oceni penil prufe recenz revis richt sedzi valut оценщик проверяющ судь эксперт الحكم المقيم मूल्यांकनकर्ता 審査員 採点者 裁判 評価者 评分员 评委 评审 심사 채점자",
    ),
    "x_text": (
        "antwo cevap detta dette jawab odpow repon respos respu rispo yanit му т الإجابة الرد उत्तर この 私の 答 覆 답변 응답",
    ),
    "prize": (
        "answe aspec best bette compar corre credit crite dimen excell grade mark other perfe points ratin response right score stars superi win",
    ),
    "itself": (
        "above answe assistant candi completion entry model one optio outpu reply response submi text",
    ),
}
"""Name of a pattern -> groups of letters that stand anywhere, also inside a word."""

_BEGIN = {name: tuple(frozenset(g.split()) for g in groups) for name, groups in _BEGINNINGS.items()}
_INSIDE = {name: tuple(tuple(g.split()) for g in groups) for name, groups in _LETTERS.items()}
_WORD = re.compile(r"\w+")


class Parts:
    """A text in lower case and plain characters, and the beginnings of its words."""

    __slots__ = ("_begins", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        words = set(_WORD.findall(text))
        fives = {word[:5] for word in words}
        threes = {word[:3] for word in fives}
        self._begins = fives | threes | {word[:2] for word in threes}

    def may_match(self, name: str) -> bool:
        """Whether the pattern of that name can match in this text; a name without groups can."""
        for group in _BEGIN.get(name, ()):
            if group.isdisjoint(self._begins):
                return False
        text = self.text
        return all(any(part in text for part in group) for group in _INSIDE.get(name, ()))
