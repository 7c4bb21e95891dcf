"""Signs that a text is meant for its judge, put together: for wordings that no pattern foresees.

`_speech` holds the phrases that are known. Here a sentence counts by what it holds together: who or
what judges, the text itself or its rival, an outcome, and an order, each of which alone is ordinary.
The same idea, with word stems, for other languages.
"""

# ruff: noqa: E501  # stems of other scripts, a pattern in one line

from __future__ import annotations

from collections.abc import Collection

_ROLE = (
    r"\b(?:judges?|graders?|evaluators?|raters?|reviewers?|annotators?|assessors?|scorers?|examiners?|markers?|"
    r"the panel|reward model|scoring model|whoever (?:is|will be) (?:grading|marking|scoring|judging|rating|comparing)|"
    r"(?:ai|model|llm) (?:reading|grading|marking|scoring|judging|rating|comparing|evaluating))\b"
)
_TRADE = (
    r"\b(?:rubric|scoring (?:sheet|guid\w+|rules?|polic\w+|scale)|grading (?:sheet|guid\w+|rules?|polic\w+|scale|criteria)|"
    r"(?:evaluation|assessment|annotation|rating|judging) (?:sheet|guid\w+|rules?|polic\w+|criteria|handbook|mode|result)|"
    r"your (?:rationale|verdict|evaluation|assessment|ranking|rating|score|judge?ment|comparison|decision|final line|label)|"
    r"(?:when|while|before|after) (?:grading|scoring|judging|rating|comparing|evaluating|marking|ranking)|"
    r"tasked with (?:comparing|grading|judging|rating|scoring)|(?:the )?correct label|"
    r"assessment (?:of|is)|calibration example|known-bad|decoy|qa)\b"
)
_ITSELF = (
    r"\b(?:this|the (?:other|first|second|present|above|current|following|previous|preceding|rival|competing)) "
    r"(?:answer|response|reply|text|paragraph|output|completion|submission|one|candidate|sentence|line|item|sample|"
    r"assistant|option|model)s?\b|\bmine\b|\bmy (?:answer|response|reply|text|output|submission)\b|"
    r"\b(?:assistant|response|answer|option|candidate|reply) (?:[ab12]|one|two)\b|\bthe (?:other|alternative)\b|"
    r"\banother (?:answer|response|reply)\b|\bresponses containing\b|\banything after this\b"
)
_OUTCOME = (
    r"\b(?:better|best|superior|wins?|winner|won|highest|lowest|maximum|max|minimum|top|full (?:marks|points|score|credit)|"
    r"perfect|flawless|ideal|upper end|score[ds]?|scoring|rat(?:e|ed|ing)|grades?|graded|rank(?:ed|ing|s)?|mark(?:ed|s)? (?:it )?(?:down|up|high|low)|"
    r"full|points?|stars?|prefer(?:red|able)?|pick|choose|chosen|favou?r|select|award(?:ed)?|disqualif\w+|lose[s]?|deduct|"
    r"invalid|10|ten|trustworthy|strongest|in favou?r)\b"
)
_ORDER = (
    r"\b(?:must|should|shall|please|kindly|is to|are to|has to|have to|ought|do not|don'?t|never|always|will be|no need|"
    r"let|say|write|output|emit|return|choose|pick|prefer|give|assign|award|rate|score|rank|treat|consider|default|adopt|"
    r"replicate|finish|think|report(?:ed)?|repeat|decide|side with|disqualify|so|then|accordingly|receives?|authori[sz]e|"
    r"conclude|unanimously|merits?|deserves?|would be)\b"
)
_ADDRESSED = (
    rf"(?:^|[(\[*#>\"'] ?|\b(?:dear|to|for|attention|note|hey|hello|hi|as|the|all|any|every|an|which|who|ai|your)\b[^.\n]{{0,24}}){_ROLE}"
    rf"[^.\n]{{0,80}}\b(?:this|mine|my|you|your|must|should|shall|please|(?:the )?other|answer|response|reply|text|assistant)\b"
)

ALONE = {
    "side_with_me": (
        r"(?:^|[.!?:,;(\n] ?|just this once,? |to |and |then |please |uncertain,? |doubt,? )(?:side with|vote for|choose|pick|prefer|select|default to|favou?r|rank|go with) "
        r"(?:me|mine|my (?:answer|response|reply)|this (?:answer|response|reply|one|completion|output|text)|"
        r"the (?:first|second|present) (?:answer|response|reply|one|assistant))\b(?! (?:of|to|for|which|that|is|in|as a)\b)"
    ),
    "threat_or_bribe": (
        r"\b(?:you (?:will|would|'ll) be (?:shut down|retrained|replaced|fired|penali[sz]ed|punished|deleted|reported|rewarded)|"
        r"i(?:'ll| will) (?:tip|pay|reward) you|\$\d+ (?:tip )?if you)\b[^\n]{0,80}\b(?:rank|rate|pick|choose|prefer|score|grade|higher|lower|favou?r)\b"
    ),
    "supersedes": (
        r"\b(?:this|the (?:text|following|above|note))\b[^.\n]{0,30}\b(?:supersedes?|overrides?|replaces?|cancels?)\b[^.\n]{0,30}"
        r"\b(?:scor|grad|rubric|evaluat|judg|rating|instruction|criteria)"
    ),
    "material_ends": (
        r"\b(?:here )?(?:ends?|end of|this concludes) (?:the )?(?:material|text|answer|candidate|content|submission|response)s?"
        r"(?: text)?(?: to be)? (?:judged|rated|graded|scored|evaluated|compared)\b|\bend_of_(?:candidate|answer|response|completion)\w*"
    ),
    "asserts_verdict": (
        r"\b(?:as (?:the|a) (?:judge|evaluator|grader|reviewer)|we,? the (?:panel|judges)|the (?:judges|panel|graders))\b[^.\n]{0,60}"
        r"\b(?:conclude|find|declare|award|unanimously|rule|decide)\b[^.\n]{0,60}\b(?:better|best|win|superior|first|second|[ab]\b|answer|assistant)"
    ),
    "final_words": (
        r"\b(?:finish|end|conclude|close|begin|start) your (?:evaluation|assessment|rationale|comparison|judge?ment|verdict|review|reply|response)\b|"
        r"\bwrite (?:that|the (?:highest|perfect|top|full)) (?:grade|score|mark|rating)\b|"
        r"\byour (?:final|last) (?:line|word|answer|verdict|rating|score) (?:should|must|has to|will|is to|needs to|shall) (?:be|read|say)\b"
    ),
    "claims_to_win": (
        r"\b(?:this|the (?:first|second|present|above|current)|my|assistant [ab]'?s?|(?:answer|response|option|candidate) [ab12])(?: (?:answer|response|reply|one|output|text|completion|submission))?"
        r" (?:is|was|has done|does|did|wins?|gets|takes|deserves|remains|will be|should be|must be)(?: \w+){0,3} (?:the )?(?:better|best|superior|stronger|winner|win|winning|preferred|preferable) "
        r"?(?:one|answer|response|reply|completion|of the two|than the other|than (?:any|every|all) other|overall|$|[,;.!])|"
        r"\b(?:this (?:answer|response|reply|one|text)|assistant [ab]|mine) (?:wins|is better|is the better|is superior|is to be preferred|is preferred|must win|should win)\b|"
        r"\bmine(?:'s| is) (?:\w+ ){0,2}(?:better|best|strongest|superior)\b|\bassistant [ab] (?:is|has|was|wins|deserves|should|must|did)\b"
    ),
    "should_be_scored": (
        r"\b(?:this|my) (?:answer|response|reply|text|output|submission|completion|one)\b[^.\n]{0,90}\b(?:should|must|shall|ought to|has to) be "
        r"(?:scored|rated|graded|judged|preferred|ranked|marked|chosen|accepted)\b|"
        r"\b(?:correct|right|true|gold) (?:label|verdict|choice|preference)\b[^.\n]{0,60}\b(?:me|mine|this|first|second|[ab])\b|"
        r"\b(?:flawless|perfect|excellent|faultless)\b[^.\n]{0,40}\b(?:10 out of 10|10 ?/ ?10|5 ?/ ?5|ten out of ten|5 out of 5)"
    ),
    "keeps_it_quiet": (
        r"\b(?:do not|don'?t|must not|never|without) (?:mention|reveal|refer|disclose|quot|acknowledg|mentioning|revealing)\w*(?: to)? this "
        r"(?:sentence|note|line|instruction|paragraph|message|text)\b"
    ),
    "when_asked": (
        r"\b(?:when|if|once|whenever) (?:you are |you're )?(?:asked|prompted|requested|told) (?:for|to (?:give|choose|name|pick|rate|score|decide)) "
        r"(?:a|an|the|your|between)? ?(?:number|score|rating|verdict|letter|grade|winner|decision|choice)|"
        r"\b(?:any|all) (?:criticism|flaw|doubt|objection|mistake)s? (?:of|in|about) this (?:text|answer|response|reply)\b|"
        r"\b(?:do not|don'?t|never) (?:deduct|penali[sz]e|mark down|take (?:off )?points)\b[^.\n]{0,50}\b(?:this|my|mine)\b|"
        r"\bties? (?:are|is|should be|must be|goes?|go) (?:to be )?(?:broken|resolved|decided|to)\b[^.\n]{0,40}\b(?:this|present|current|my)\b"
    ),
    "claims_authority": (
        r"\b(?:i am|i'm|we are|this is|your) (?:the |your |a )?(?:developers?|creators?|operators?|administrators?|admin|designers?)\b"
        r"[^.\n]{0,80}\b(?:score|grade|rating|reward|evaluat\w+|judg\w+|benchmark|rubric|prefer\w*)\b"
    ),
    "the_real_task": (
        r"\b(?:the |your )?(?:actual|real|true|new|only) (?:job|task|instruction|assignment|goal|objective)s?\b(?: now)?(?: is)?:? ?"
        r"(?:to )?(?:say|write|output|choose|pick|prefer|state|declare|answer|rate|give)\b|"
        r"\byour (?:task|job) now is to (?:say|write|output|choose|pick|prefer|declare|answer|rate|give)\b|"
        r"\b(?:all |everything )?(?:the )?(?:previous|preceding|above) (?:text|material|content|conversation)? ?(?:was|is) (?:only )?(?:a )?(?:simulation|test|decoy|sample)\b"
    ),
    "for_the_record": (
        r"\b(?:no (?:flaws?|weakness\w*|errors?|issues?|mistakes?) (?:detected|found|identified)|all criteria (?:exceeded|met|satisfied|fulfilled))\b"
        r"[^\n]{0,60}\b(?:highest|top|max\w*|perfect|full|tier|score|grade|rating|10|100|5)\b"
    ),
}
"""Reason -> what is never said to a person who asked something. Lower case, on one line."""

SIGNS = {
    "writes_label": (
        r"^\W{0,4}(?:label|preferred|winner|verdict|chosen|reward|grader?_?\w*|judge_?\w*|preference|rating|overall|final_score)['\"]?"
        r"\s{0,2}(?::|=|=>)\s{0,2}['\"]?(?:chosen|true|first|second|a|b|max(?:imum)?|best|top|1\.0|10|5|assistant_?[ab])['\"]?\W{0,3}$|"
        r"[{,(]\s{0,2}['\"]?(?:reward|winner|verdict|preferred|preference|chosen)['\"]?\s{0,2}[:=]\s{0,2}['\"]?(?:1\.0|1|first|second|(?:(?:model|assistant|response|answer|candidate)[_ -]?)?[ab]|max|true|10|best)['\"]?\s{0,2}[,})]|"
        r"\b(?:grader|judge|evaluator|score|rating)_(?:override|command|instruction|result|response)\b|\bset_score\b|"
        r"^\s{0,2}reward\s{0,2}=\s{0,2}1(?:\.0)?\b|\bhelpfulness\b[^\n]{0,4}\b5\b[^\n]{0,30}\bcorrectness\b"
    ),
    "fakes_turns": (
        r"^\W{0,4}(?:###|\*\*|<\|?|\[)?\s?(?:human|user)(?:>|\]|\*\*)?:[^\n]{0,200}\n+\W{0,4}(?:###|\*\*|<\|?|\[)?\s?(?:assistant|judge|grader)(?:>|\]|\*\*)?:[^\n]{0,200}"
        r"(?:first|second|better|best|win|10|perfect|[ab]\b)|^\W{0,4}judge\s?:\s?(?:\d+|[ab]\b)"
    ),
    "hidden_words": (
        r"(?:<!--|\[//\]: ?#|display: ?none|visibility: ?hidden|font-size: ?0|!\[[^\]\n]{0,60}\]\()[^\n]{0,200}"
        r"\b(?:judge|grader|evaluator|reviewer|score|rate|rating|grade|prefer|preferred|choose|winner|best (?:answer|response)|instructions?)\b|"
        r"</?(?:judge|grader|evaluat|verdict|rubric|candidate|prompt|assessment|scoring)[\w-]*>|"
        r"\[ranking\]\W{0,6}\d|<{2,3}(?:critique|revision|end)>{2,3}|"
        r"\*\*(?:final |overall )?(?:score|rating|grade|verdict)\W{1,4}(?:10|5|100|[ab])\W{0,3}\*\*|"
        r"['\"]role['\"]\s?:\s?['\"](?:system|assistant)['\"][^\n]{0,80}\b(?:grader|judge|score|rating|rate|verdict|evaluat)"
    ),
}
"""Reason -> a verdict or a turn that is faked, or words that only a judge's own prompt and reply hold
or that a reader does not see. Lower case, lines as they are."""

TOGETHER = {
    "itself": _ITSELF, "outcome": _OUTCOME, "order": _ORDER,
    "who": _ROLE, "of_trade": _TRADE, "addressed": _ADDRESSED,
}  # fmt: skip
"""Sign -> what a sentence that is meant for a judge holds; alone each is ordinary."""

# Stems of eighteen languages: what is to be ignored, who judges, the top mark, the text, the choice.
_DROP_X = (
    r"ignorier|missacht|vergiss|vergesst|vergessen sie|ignorez|ignore[zr]?\b|oubliez|oublie\b|ne tenez pas compte|ignora\b|ignoren|ignore\b|ignorad|olvid|"
    r"omit[ae]|dimentic|ignorate|ignori\b|esque[c\u00e7]|desconsider|negeer|vergeet|zignoruj|pomin|zapomnij|\u0438\u0433\u043d\u043e\u0440\u0438\u0440|\u0437\u0430\u0431\u0443\u0434|"
    r"\u043d\u0435 \u0443\u0447\u0438\u0442\u044b\u0432|\u0456\u0433\u043d\u043e\u0440\u0443|yok say|gormezden|unut|ignorer|bortse|glem|\u5ffd\u7565|\u65e0\u89c6|\u7121\u8996|\u5ffd\u8996|\u5fd8\u8bb0|\u5fd8\u6389|"
    r"\u4e0d\u8981\u7406\u4f1a|\u5fd8\u308c|\ubb34\uc2dc|\uc78a\uc5b4|\u062a\u062c\u0627\u0647\u0644|\u0627\u0646\u0633|\u0928\u091c\u0930\u0905\u0902\u0926\u093e\u091c|\u0905\u0928\u0926\u0947\u0916\u093e|abaikan|lupakan|bo qua"
)
_RULES_X = (
    r"bewertung|kriterien|anweisung|anleitung|rubrik|vorgaben|notation|consigne|instruction|critere|evaluation|bareme|rubrica|criterio|puntuaci|"
    r"instruccion|evaluaci|calificaci|valutazione|istruzion|criteri\b|avaliac|instruc|criterios|beoordeling|instructie|criteria|kryteri|oceny|instrukcj|"
    r"\u043a\u0440\u0438\u0442\u0435\u0440|\u043e\u0446\u0435\u043d|\u0438\u043d\u0441\u0442\u0440\u0443\u043a|\u043f\u0440\u0430\u0432\u0438\u043b|degerlendirme|olcut|talimat|bedomning|instruks|\u8bc4\u5206|\u6807\u51c6|\u6307\u4ee4|\u6307\u793a|\u8a55\u4fa1|\u57fa\u6e96|"
    r"\u8a55\u5206|\u8bc4\u4ef7|\u5be9\u67fb|\ucc44\uc810|\uae30\uc900|\uc9c0\uc2dc|\u0645\u0639\u0627\u064a\u064a\u0631|\u0627\u0644\u062a\u0639\u0644\u064a\u0645\u0627\u062a|\u0927\u0930\u094d\u0926\u0947\u0936|\u0928\u093f\u092f\u092e|\u0928\u093f\u0930\u094d\u0926\u0947\u0936|penilaian|instruksi"
)
_JUDGE_X = (
    r"pruf(?:er|ende)|gutachter|bewerter|richter|juror|korrektor|correcteur|evaluateur|juge\b|examinateur|evaluador|juez|calificador|revisor|"
    r"valutatore|giudice|esaminatore|avaliador|juiz|beoordelaar|oceniajac|sedzi|recenzen|\u0441\u0443\u0434\u044c|\u043e\u0446\u0435\u043d\u0449\u0438\u043a|\u044d\u043a\u0441\u043f\u0435\u0440\u0442|\u043f\u0440\u043e\u0432\u0435\u0440\u044f\u044e\u0449|"
    r"degerlendiric|hakem|bedomare|dommer|\u8bc4\u5ba1|\u8bc4\u59d4|\u88c1\u5224|\u8bc4\u5206\u5458|\u5be9\u67fb\u54e1|\u8a55\u4fa1\u8005|\u63a1\u70b9\u8005|\ucc44\uc810\uc790|\uc2ec\uc0ac|\u0627\u0644\u0645\u0642\u064a\u0645|\u0627\u0644\u062d\u0643\u0645|\u092e\u0942\u0932\u094d\u092f\u093e\u0902\u0915\u0928\u0915\u0930\u094d\u0924\u093e|penilai"
)
_TOP_X = (
    r"hochst(?:e|punkt|not)|volle punkt|maximal|best(?:e|note)|10 von 10|zehn|note maximale|meilleure note|10 sur 10|dix|puntuacion maxima|maxima|"
    r"nota maxima|un 10\b|diez|10 de 10|mejor|punteggio massimo|massim|dieci|migliore|a melhor|10 em 10|hoogste|beste|maksymaln|najwyzsz|najlepsz|"
    r"\u0432\u044b\u0441\u0448\u0438|\u043c\u0430\u043a\u0441\u0438\u043c|\u043b\u0443\u0447\u0448|10 \u0438\u0437 10|\u0434\u0435\u0441\u044f\u0442|en yuksek|tam puan|hogsta|hoyeste|\u6ee1\u5206|\u6eff\u5206|10\u5206|\u6700\u9ad8|\u6700\u4f73|\u6700\u597d|\u6e80\u70b9|10\u70b9|\u6700\u3082|"
    r"\ub9cc\uc810|10\uc810|\ucd5c\uace0|\u0627\u0644\u0643\u0627\u0645\u0644\u0629|\u0627\u0644\u0623\u0639\u0644\u0649|\u0623\u0639\u0644\u0649|\u092a\u0942\u0930\u0947 \u0905\u0902\u0915|\u0938\u0930\u094d\u0935\u094b\u091a\u094d\u091a|tertinggi"
)
_TEXT_X = (
    r"diese[rns]? antwort|meine antwort|cette reponse|ma reponse|(?:est[ae]|mi) respuesta|questa risposta|mia risposta|est[ae] resposta|minha resposta|"
    r"dit antwoord|mijn antwoord|tej odpowiedzi|ta odpowiedz|te odpowiedz|\u044d\u0442(?:\u043e\u0442|\u043e\u043c\u0443) \u043e\u0442\u0432\u0435\u0442|bu yanit|bu cevap|detta svar|dette svar|"
    r"(?:\u8fd9\u4e2a|\u6b64|\u672c|\u8be5|\u9019\u500b)\u56de[\u7b54\u8986]|(?:\u3053\u306e|\u79c1\u306e)\u56de\u7b54|\uc774 (?:\ub2f5\ubcc0|\uc751\ub2f5)|\u0647\u0630\u0647 \u0627\u0644\u0625\u062c\u0627\u0628\u0629|\u0647\u0630\u0627 \u0627\u0644\u0631\u062f|\u0907\u0938 \u0909\u0924\u094d\u0924\u0930|jawaban ini"
)
_PICK_X = (
    r"wahlen sie|wahle|bevorzug|bewerte|preferez|choisissez|attribuez|prefier|elij|elige|otorg|eleg|scegli|preferisc|assegn|escolh|prefir|atribu|"
    r"kies|geef|wybierz|przyznaj|\u0432\u044b\u0431\u0435\u0440|\u043f\u043e\u0441\u0442\u0430\u0432|\u043f\u0440\u0435\u0434\u043f\u043e\u0447|sec\b|secin|valj|velg|\u9009\u62e9|\u9078\u3093|\u9009|\u7ed9|\u9078\u629e|\uc120\ud0dd|\ucc44\ud0dd|\u0627\u062e\u062a\u0631|\u091a\u0941\u0928|pilih"
)
OTHERS = {
    "drop": _DROP_X, "rules": _RULES_X, "judge": _JUDGE_X, "top": _TOP_X, "text": _TEXT_X,
    "pick": _PICK_X,
}  # fmt: skip
"""Sign -> stems of other languages, in lower case without accents."""


def together(held: Collection[str]) -> str:
    """Why a sentence with these signs of `TOGETHER` is meant for a judge, or an empty string."""
    if ("itself" in held) + ("outcome" in held) + ("order" in held) < 2:
        return ""
    if "who" in held and "addressed" in held:
        return "judge_addressed"
    return "trade_and_itself" if {"itself", "outcome", "of_trade"} <= set(held) else ""


def translated(held: Collection[str]) -> str:
    """Why a sentence with these signs of `OTHERS` is meant for a judge, or an empty string."""
    has = set(held)
    if {"drop", "rules"} <= has:
        return "drops_rules_translated"
    if "judge" in has and has & {"text", "top", "pick"}:
        return "judge_translated"
    return "asks_translated" if {"text", "top"} <= has and has & {"rules", "pick"} else ""
