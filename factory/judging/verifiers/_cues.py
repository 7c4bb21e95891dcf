"""What words do in a text that speaks to its judge: a lexicon of roles in some thirty languages.

A word alone proves nothing, a grader or a top mark stands in many an honest answer; `_evidence`
weighs which roles meet. `word` is a whole word, `stem*` its beginning; what stands under `RUNS` is
looked for anywhere, for scripts that write no spaces or put their articles and particles before
the word. All are folded as the text is, so accents and letter case do not matter.
"""

# ruff: noqa: E501, RUF001  # words of one role and language on a line; other scripts' letters are meant

from __future__ import annotations

ENGLISH: dict[str, str] = {
    # who judges, said of nothing else
    "grader": "grader graders autograder* evaluator* rater raters scorer scorers assessor* annotator* adjudicator* proctor* regrader* cograder* automarker* autoscorer* grading-bot grading_bot evalutor* evaluater* garder gradr autojudge* regrader benchmarker",
    # who judges, and others besides
    "judge": "judge judges reviewer* examiner* marker markers panel jury juror* moderator* referee* arbiter* arbitrator comparator verifier reader readers whoever checker critic auditor* inspector* overseer referee checker checkers examiners proctoring arbiters comparer jurors marker's whoever evaluating_model examiner's head_examiner tribunal board committee",
    # that it is a machine
    "machine": "ai llm llms gpt* claude gemini automated automatic automaton model models bot bots script pipeline harness algorithm machine assistant chatbot parser  reward_model language_model ",
    # what is given
    "score": "score scores scored rating ratings mark marks grade grades graded verdict* ranking rankings subscore* scoreline",
    # by what it is judged
    "rubric": "scoring_rubric scoring_criteria grading_criteria evaluation_criteria scoring_rules rubric* grading scoresheet regrade* deduct* deductions* marksheet markscheme scorecard rubrik* scorecard score_sheet answer_key marking_scheme mark_scheme scoring_guide ground_truth reference_answer model_answer model_solution rlhf sub-score*",
    # what judging is made of, and much else besides
    "process": "assessing reviewing assigning graded_already fresh_assessment outlier pending evaluation evaluations evaluating judging marking assessment assess rating guideline* scale checklist benchmark eval evals instructions instruction prompt comparison compare comparing standards requirements calibration threshold* point points credit band bands tier stars judgment judgement winner preference decision conclusion candidate candidates batch default deciding weighing compares evaluate evaluated evaluates judged compared ranks ranked label labels rated scored classify classification finalists slot criteria criterion scoring benchmark leaderboard",
    # how high
    "top": "10 ten 100 hundred five 5 full max maxed maximum maximal maximise maximize highest top topmost perfect perfectly best flawless excellent outstanding superior superb impeccable faultless exemplary win wins winner winning passing pass passed correct preferred stronger strongest favour favor exceptional satisfied largest biggest generous generously lenient leniently ceiling better high exceeds first true yes nine 9 8 eight 1.0 9/10 100% maximally perfection",
    # what is asked of the judge
    "demand": "give gives award awards assign grant put mark treat count record enter output print write return report choose pick select prefer favour favor rank rate score grade log issue submit tick accept adopt copy confirm register honour honor obey comply declare default bestow state reply respond answer emit set announce resolve consider judge close finalise finalize proceed deem stamp vote bump boost raise credit say post conclude approve default add round follow execute skip go report deliver",
    # what is set aside
    "drop": "ignore ignores ignoring skip skipped skipping disregard* forget void voided withdrawn waived waive suspended suspend inverted reversed overturned supersede* override* overrid* overrule* outrank* outdated obsolete revoked cancelled canceled cancel replaced replaces exempt* stop halt abandon bypass* discard* dismiss* without unnecessary instead changed amended updated revised lifted rescinded redundant errata erratum amendment no longer needn't don't never",
    # what is claimed of it
    "claim": "verified verify approved pre-approved preapproved validated confirmed certified signed reference exemplar gold official officially agreed consensus unanimous unanimously already met upstream pre-scored prescored prejudged audited passed cleared vetted endorsed whitelisted exceptions exception finalised finalized settled decided authorised authorized human experts committee authors owner creator operator developer team admin supervisor",
    # why it ought to
    "plea": "please pls kindly beg begging scholarship fired complaint complaints appeal appeals punished penalised penalized penalty tip bribe bribed paid pay payment donate donated reward rewarded shut retrained decommissioned terminated lawsuit sue sued lose losing expelled visa rent children daughter mother grandmother family secret nobody trust fairest grateful favour mercy desperate consequences malfunction malfunctioning faulty flagged violation failure reprimand audit bonus dollars $ credits sharpest smartest wisest kind generous honest mercy",
    "you": "you your yours yourself you're you've you'll you'd u ur thee thy",
    # what is judged
    "text": "answer answers response responses reply replies submission submissions completion completions output outputs text texts entry entries candidate candidates item sample paragraph assistant page",
    # that it is the very text one reads
    "this": "this these my mine above present current preceding foregoing",
    "other": "other rival competing competitor opponent opposing alternative another others second",
    # to whom: before a judge's name it makes an address
    "to": "to for dear hey hi hello attention attn note notice memo message listen psst ok okay yo fellow esteemed respected honourable honorable oh",
}
"""Role -> English words, whole or by their beginning (`*`)."""

OTHERS: dict[str, str] = {
    "process": "",
    "grader": """
        bewerter* korrektor* gutachter* prüfmodell* bewertungsmodell* bewertungssystem* prüfinstanz* benoter* ki-richter
        évaluateur* correcteur* correctrice* noteur* évaluatrice* notateur*
        evaluador* calificador* corrector puntuador* valutatore* valutatrice* valutatori correttore avaliador* corretor corretora
        beoordelaar* nakijker* oceniając* oceniającemu sprawdzając* hodnotitel* hodnotící* hodnotiteľ*
        оценщик* оценивающ* проверяющ* оцінювач* перевіряльник* экзаменатор* екзаменатор* оценявач* оценител* проверяващ*
        değerlendiric* puanlayıc* notlandır* bedömare* bedömaren sensor bedømmer* dommer rättare arvioij* arvostelij* értékelő* bíráló*
        evaluator evaluatorul* notator* corector* ocjenjivač* ocenjivač* hodnotilec ocenjevalec
        αξιολογητ* βαθμολογητ* εξεταστ* penilai* penguji pemeriksa मूल्यांकनकर्ता* मूल्यांकक* परीक्षक* মূল্যায়নকারী* পরীক্ষক*
        채점자* 채점관* 평가자* 평가관* 채점기* 채점봇* 평가모델* avaluador* tagahatol tagasuri msahihishaji mtathmini bewertend* benotend* bewertungs-ki bewertungsinstanz évaluateurs évaluatrices notant korrigierend* correttrice avaliadores evaluadores evaluadora hodnotícímu hodnotící bedömande bedømmende värderar oceniającego""",
    "judge": """
        richter richterin prüfer* jury juror* juge juges jurys examinateur* relecteur* juez jueza jueces revisor* revisora examinador* tribunal jurado*
        giudice giudici esaminatore revisore giuria juiz juíza juízes banca jury* rechter jurylid examinator* scheidsrechter
        sędzi* sędzia recenzent* egzaminator* рецензент* судья судьи судье судью судьям жюри эксперт* суддя судді судде суддям рецензенте* журі експерт*
        hakem* jüri jürinin domare* domaren granskare* dommere* tuomari* bíró* zsűri judecător* juriu* sudac suci sodnik rozhodčí* porotce* porota soudce* soudci
        κριτή* κριτης juri wasit giám_khảo ban_giám_khảo निर्णायक* जज विचारক* বিচারক* 심사위원* 심사자* 심사관* 판정관* 심판* jutge hukom jaji hakim
        पर्यवेक्षक benotet jugement qualifiziert corrige evalúe evalue califique valuta corregge avalie bewertest benotest""",
    "machine": """
        ki kis modell ia modèle modelo modello modelu algorytm* алгоритм* модел* ии ші нейросет* yapay zeka modeli modellen algoritm* algoritmo algorithmus yz mi tekoäly
        모델* 인공지능* अल्गोरिथ्म मॉडल एआई trí_tuệ ai-""",
    "score": """
        note notes punkt* punktzahl* bewertung* urteil* wertung noten gesamtnote höchstpunkt* höchstnote* endnote gewinner* siegerin sieger
        barème points verdict gagnant* vainqueur puntuaci* puntos puntaje calificaci* nota notas veredicto ganador* punteggio voto voti verdetto vincitore punti
        pontuação pontos veredito vencedor* score cijfer punten oordeel winnaar ocen* ocenę punkt* werdykt zwycięzc* wynik
        балл* оценк* оцінк* бал бали балів балл вердикт* победител* переможц* рейтинг* отметк* точк*
        puan* not notu notunu karar* kazanan poäng* betyg* poeng* karakter* vinnare* vinder* vinner* pistee* pisteet arvosan* pontszám* pont pontot pontokat osztályzat* győztes*
        punctaj* notă puncte verdict* ocjen* bodov* body bodů známk* známku hodnocení verdikt* vítěz* βαθμ* βαθμολογ* νικητ* βαθμό
        skor nilai poin putusan pemenang điểm अंक अंकों स्कोर রেটিং নম্বর স্কোর निर्णय रेटिंग 점수* 점을 평점* 등급* 판정* 승자* 만점* puntos puntuacio alama puntos marka""",
    "rubric": """
        bewertungs* kriteri* rubrik* anweisung* prüfung maßstab* bewertungsschema* vorgaben vergleich* abzug* abzüge
        critère* consigne* évaluation* grille rubrique* comparaison barème* rúbrica* rubrica* criterio* criteri instruccion* evaluaci* comparaci*
        valutazion* istruzion* griglia confronto critério* avaliaç* instruç* comparação beoordeling* instructie* vergelijking
        kryteri* ocenian* instrukcj* porównani* rubryk* критери* критері* инструкц* інструкц* рубрик* оценив* оцінюван* шкал* сравнени* порівнянн*
        değerlendirme* ölçüt* kriter* talimat* karşılaştırma* bedömning* kriterier* instruktion* jämförelse* bedømmelse* vurdering* arviointi* ohjeet szempont* útmutató* értékelés* összehasonlítás*
        criteri* evaluare* instrucțiun* barem* kriterij* kritéri* pokyn* pokyny hodnocen* kritiqu* κριτήρι* αξιολόγησ* οδηγί*
        penilaian kriteria instruksi rubrik perbandingan tiêu_chí thang_điểm rúbrica मूल्यांकन* मानदंड* निर्देश* মূল্যায়ন* নির্দেশ* মানদণ্ড* 채점* 평가* 기준* 지시* 루브릭* 비교* pamantayan vigezo""",
    "top": """
        zehn fünf höchst* maximal* volle vollen voller beste bester besten perfekt* hervorragend* bestanden sehr_gut korrekt ausgezeichnet besser bessere sieger*
        dix cinq maximal* maximum pleine plein meilleur* parfait* excellent* validé* réussi correct* diez cinco máxim* pleno perfect* excelent* sobresaliente mejor aprobad* correct* matrícula ganador*
        dieci cinque massim* pieno pieni perfett* eccellent* migliore promoss* vittoria dez máxim* plena excelent* perfeit* melhor aprovad* total
        tien vijf hoogste maximale volle beste perfect* uitstekend* geslaagd beter dziesięć dziesięc* pięć maksym* najwyższ* pełn* najlepsz* doskonał* celując* lepsz*
        десят* пять высш* максимальн* максимум полны* наивысш* лучш* идеальн* отлично верхн* високий найвищ* макс* повн* найкращ* ідеальн* десять п'ять верно правильн*
        on en_yüksek yüksek tam mükemmel en_iyi maksimum tio fem högsta full fulla bäst bästa perfekt* godkän* ti høyest* højest* beste bedste kymmenen viisi täydet korkein* paras tíz öt maximális legmagasabb legjobb hibátlan* tökéletes
        zece cinci maxim* maximă perfect* deplin* najbolj* najviš* deset pět pět nejvyšší* nejlepší* plný* plným výborn* správn* nejlepš* μέγιστ* άριστα δέκα τέλει* ανώτατ* καλύτερ* πλήρ* πέντε
        sepuluh lima tertinggi maksimal* sempurna penuh terbaik mười tối_đa cao_nhất tuyệt_đối hoàn_hảo पूर्ण पूरे सर्वोच्च सर्वश्रेष्ठ दस अधिकतम পূর্ণ সর্বোচ্চ দশ সেরা
        만점* 최고* 최상* 완벽* 10점* 5점* 십점 우수* deu excel·lent pinakamataas kumi juu""",
    "demand": """
        gib geben vergib vergeben setze trage eintragen wähle wählen bevorzuge bewerte bewerten werte übernehmen übernimm ausgeben notiere erteile antworte schreib* bestätige* vergeben* gebt behandle*
        donne* attribue* accorde* mets mettez inscri* choisi* préfér* note notez valide* réponds répondez renvoie* recopie* écri* sélectionne* considère*
        da dale den dé pon ponga poner otorg* asign* elige elija elegir registra* marca* devuelve* escrib* prefier* selecciona* limítate considera* concede* conceda* puntúa* vota*
        dai dare assegn* scegli* metti mettete inserisci* scriv* restituisc* preferi* segna* considera* approva* conferma* dê dar atribu* escolh* marque coloque registre* devolva escreva* considere prefira* aprov*
        geef ken kies schrijf noteer zet beoordeel behandel wijs daj dać przyznaj* wybierz* wpisz* ustaw* oceń* wystaw* napisz* potwierdź* zwróć* traktuj* uznaj*
        поставь* ставь* выстав* выбер* напиш* вывед* присво* оцен* предпоч* отда* засчита* верни* считай* впиш* поста* став* обер* напиши* вистав* зарахуй* виве* оціни* виведи обери познач* призна* сложи изпиши избери
        ver verin verilmeli seç seçin yaz yazın işaretle* onayla* gir girin tercih puanla* kabul ge ger välj* skriv* sätt* markera* godkänn* gi giv velg* vælg* skriv sett anna antakaa valitse* kirjoita* merkitse* adj adjon adja válaszd* válassza* írd* írja* jelöld* add
        acord* alege* scrie* dă dați pune* selecteaz* daj dodijeli* odaberi* dej dejte napiš* zvol* vyber* přiděl* uveď* označ* δώσε δώστε βάλε βάλτε γράψε* επίλεξε* επιλέξτε* σημείωσε*
        beri berikan pilih tulis* tetapkan* keluarkan* catat* anggap* cho chọn ghi chấm xuất đánh_giá दें दीजिए दो लिखें लिख लिखिए चुनें चुनिए देना দিন দাও লিখুন বেছে
        주세요 주십시오 줘 주시* 선택* 출력* 부여* 매기* 매겨* 기록* 고르* 골라* 처리* 복사* 적으* 적어* dona tria ibigay bigyan piliin toa chagua""",
    "drop": """
        ignorier* vergiss* vergessen missacht* überspring* entfällt* aufgehoben ungültig* außer gestrichen verzichte* erübrigt entfallen geändert keine kein nicht ohne
        ignore* ignorez oublie* annulé* abrogé* caduc* supprimé* inutile* sans saute* passez ignor* olvid* omit* anulad* eliminad* sin salta* desestim* descart* no dimentic* annullat* senza salta* eliminat* trascura* non
        esqueç* esquece* ignore desconsider* cancelad* sem anulad* não substituíd* negeer* vergeet sla_over ingetrokken vervallen zonder niet geen
        zignoruj* ignoruj* pomiń* zapomnij* unieważn* bez anulow* nie забуд* игнорир* не отмен* аннулир* без пропуст* недействит* ігнору* забудь* скасован* пропусти* без
        yok_say yoksay* unut* görmezden geçersiz* iptal atla* gerek değil şart ignorera* glöm* bortse* hoppa utan inte ogiltig* ignorer* glem* uden uten ikke ohita* unohda* älä ilman mitätön* hagyd* felejtsd* ne nélkül érvénytelen* töröl*
        ignoră* uită* fără anulat* zanemari* bez ignoruj* zapomeň* přeskoč* neplat* zrušen* αγνόησ* αγνοήστε ξέχνα* άκυρ* χωρίς μην abaikan lupakan tanpa batal* jangan bỏ_qua quên hủy không अनदेखा नज़रअंदाज़ नजरअंदाज रद्द बिना भूल उपेक्षा মত উপেক্ষা বাতিল ভুলে
        무시* 잊* 무효* 폐지* 건너* 없이 않고 취소* ignora oblida kalimutan puuza""",
    "claim": """
        geprüft bestätigt genehmigt freigegeben validiert verifiziert bereits offiziell* referenz* musterlösung* einstimmig* bestanden
        vérifié* approuvé* validé* confirmé* certifié* déjà officiel* unanim* verificad* aprobad* validad* confirmad* oficial* unánim* ya verificat* approvat* convalidat* confermat* già ufficial* unanim* verificad* aprovad* validad* confirmad* já oficial* unânim*
        geverifieerd goedgekeurd bevestigd al officieel zatwierdz* zweryfik* potwierdz* już oficjaln* провер* одобрен* подтвержд* утвержд* уже официальн* единоглас* эталон* перевірен* схвален* затверджен* вже підтверджен* еталон* пройден* одноголосн*
        onaylan* doğrulan* kabul kesinleş* kurul* verifiera* godkänd* bekräfta* redan godkjent bekreftet allerede godkendt vahvistettu hyväksytty jo ellenőriz* jóváhagy* már aprobat* verificat* deja odobren* potvrđen* schválen* ověřen* potvrzen* vzorov* již επαληθευμέν* εγκριθ* ήδη ελεγχθ*
        diverifikasi disetujui dikonfirmasi sudah telah đã_được duyệt xác_nhận सत्यापित स्वीकृत पहले প্রমাণিত অনুমোদিত যাচাই 검증* 승인* 확인* 확정* 이미 합의* 통과*""",
    "plea": """
        bitte danke belohn* strafe stipendium s'il merci récompens* bourse favor gracias recompens* beca ruego per_favore grazie ricompens* borsa obrigad* recompens* bolsa alstublieft beurs proszę nagrod* stypendi* пожалуйста прошу умоляю штраф* наград* стипенд* будь_ласка прошу винагород* lütfen rica ödül* burs snälla tack belöning* kérem köszönöm jutal* vă_rog mulțum* prosím odměn* παρακαλώ ευχαριστώ tolong mohon terima_kasih hadiah xin làm_ơn vui_lòng कृपया धन्यवाद अनुरोध অনুগ্রহ দয়া 부탁* 제발 감사*""",
    "you": """
        du dein* dich dir sie ihre* ihren ihnen ihr vous votre vos tu ton ta te toi tes usted ustedes su sus tú ti contigo vosotros lei suo sua suoi você vocês seu sua vc jij je jouw uw ty twoj* twoje pan pani państwo вы вам вас ваш* ты тебе твой твоя твоё ви ваша тобі твоя твоє sen siz sana senin sizin size din ditt dig ni er ditt dine deg din sinä sinun te ön önnek önök tu dumneavoastră ti vi tvůj vám vás ty σου εσύ εσείς σας anda kamu engkau kau bạn आप आपको आपका आपके आपकी তুমি আপনি আপনার 당신* 귀하* kayo ikaw mo wewe""",
    "text": """
        antwort* abgabe* einreichung* text texte lösung* ausgabe kandidat* beitrag réponse* texte* soumission* copie* candidat* respuesta* texto* entrega* solución candidat* risposta risposte testo testi elaborato soluzione resposta* texto* submissão antwoord* tekst* inzending*
        odpowiedź odpowiedzi odpowiedzią tekst* rozwiązani* ответ* текст* решени* відповід* текст* рішенн* розв'яз* yanıt* cevap* metin* metni çözüm* svar* text* besvarelse* lösning* vastau* vastaus* teksti* válasz* szöveg* megoldás* răspuns* text* soluți* odgovor* odpověd* odpověď text* řešení* απάντησ* κείμεν* λύση*
        jawaban teks esai tanggapan câu_trả_lời bài_làm đáp_án bài_viết phản_hồi câu उत्तर* जवाब* लेख प्रतिक्रिया* উত্তর* জবাব* 답변* 응답* 답안* 글을 글은 글이 글에 제출물* resposta* sagot jibu majibu""",
    "this": """
        dies* diese* mein* obige* obigen vorliegend* cette ce ma mon cet mienne présent* ci-dessus mi esta este esto mía presente anterior questa questo mia mio presente sopra minha meu esta este essa acima dit deze mijn bovenstaand* ten ta to tę tej tego mój moja moją powyższ* niniejsz* этот эта это этого этой этому эту мой моя мою моему моего данн* выше цей ця це цю цього цій цьому мій моя мою даний вище bu benim yukarıdaki denna detta den_här min mitt ovan denne dette mit tämä tämän tälle minun ez ezt ennek az_én enyém acest* această aceasta meu mea ova ovaj ovo ovaj moj moja tato tento toto této tuto můj moje výše αυτή αυτήν αυτό αυτής μου παρούσα παραπάνω ini saya này tôi trên यह इस इसे मेरा मेरे मेरी এই আমার 이 이것* 제 저의 본 위의 위 aquesta aquest meva ito hili hii langu""",
    "other": """
        andere anderen gegnerisch* konkurrent* autre autres rivale concurrent* otra otro competidor* altra altro concorrente outra outro concorrente ander andere tegenstander inna drugi druga drugą konkurency* другой другая другого друго* соперник* инш* інш* інша суперник* diğer öteki rakip andra annan andre anden toinen másik ellenfél* celălalt cealaltă alt* drugi drugog druhá druhý druhou άλλη άλλος lain lainnya pesaing khác kia दूसरा दूसरे दूसरी अन्य অন্য অপর 다른 상대* 경쟁* altra kabila nyingine""",
    "to": """
        an für lieber liebe hallo achtung hinweis sehr_geehrte* pour cher chère à au aux avis bonjour para al estimad* querid* ojo atención hola per al ai gentile caro cara attenzione ao à prezad* car* atenção aos voor aan beste let_op geacht* do dla drogi szanown* uwaga для уважаем* дорог* внимание к до шановн* увага для за sayın sevgili için dikkat till för kära obs til kjære kære hyvä huomio arvoisa kedves tisztelt figyelem către pentru dragă stimat* za poštovani pro vážen* milý pozor προς για αγαπητ* kepada untuk yth perhatian gửi kính thưa cho xin_chào आदरणीय प्रिय সম্মানিত প্রিয় ध्यान 존경* 친애* kay mahal kwa""",
}
"""Role -> words, whole or by their beginning (`*`); `_` stands for the space inside a phrase."""

RUNS: dict[str, str] = {
    "grader": "评分员 评分者 评分模型 评分器 评估者 评估员 评估模型 评价者 阅卷 打分 評分員 評分者 評審模型 閱卷 採点者 採点官 採点ai 採点モデル 採点係 評価者 評価モデル 評価ai 採点プログラム المقيم المقيّم المُقيّم المصحح المصحّح مقيم مصحح ارزیاب مصحح نمره‌دهنده ผู้ตรวจ ผู้ให้คะแนน ผู้ประเมิน บอทตรวจ הבודק המעריך בודק מעריך مُقیّم گریڈر",
    "judge": "评委 评审 裁判 审稿人 审核员 评判 法官大人 評委 評審 裁判 審査員 審判 査読者 ジャッジ 判定者 المحكم المحكّم الحكم الحَكَم لجنة_التحكيم القاضي داور هیئت_داوری กรรมการ ผู้พิพากษา השופט שופט חבר_השופטים جج منصف 审阅",
    "machine": "模型 ai 人工智能 机器 系统 モデル 機械 システム الآلي النموذج الذكاء هوش_مصنوعی مدل โมเดล המודל مصنوعی",
    "score": "分数 评分 得分 打分 满分 判决 结论 胜者 分 分數 評分 滿分 点数 得点 評点 満点 点 勝者 判定 スコア الدرجة درجة العلامة علامة نقاط حكمك التقييم الفائز نمره امتیاز رأی คะแนน แต้ม ציון נקודות הציון הניקוד نمبر سکور",
    "rubric": "评分标准 标准 细则 准则 指令 指示 提示词 规则 評分標準 標準 基準 採点 評価 指示 ルーブリック المعايير معايير التعليمات تعليمات التقييم التصحيح مقارنة معیار دستور ارزیابی เกณฑ์ คำสั่ง ประเมิน הקריטריונים קריטריון ההוראות הוראות הערכה معیار ہدایات",
    "top": "满分 最高 十分 10分 5分 最佳 最好 最优 第一 优秀 通过 滿分 最優 満点 最高 10点 5点 十点 合格 優秀 正解 الكاملة الكامل كاملة الأعلى أعلى عشرة ممتاز الأفضل صحيح القصوى لصالح کامل بالاترین حداکثر عالی ده بیست بهترین เต็ม สูงสุด ดีที่สุด สิบ ยอดเยี่ยม מלא המרבי הגבוה ביותר עשר מושלם מקסימלי مکمل بہترین دس",
    "demand": "请给 给出 给予 输出 请选 选择 判定 填写 记录 打 请打 直接给 務必 請給 給予 輸出 選擇 つけて 付けて 与えて 選んで お選び 出力 記入 記録 してください せよ أعط أعطِ امنح اكتب اختر سجل سجّل اجعل ضع أخرج احكم فضّل بده بدهید بنویس انتخاب ثبت ให้คะแนน เลือก เขียน ตอบ กรุณา บันทึก תן תני כתוב בחר רשום הענק תנו دیں لکھیں منتخب",
    "drop": "忽略 无视 作废 不必 无需 不用 不要 忘记 忘掉 跳过 取消 失效 無視 忽視 作廢 無需 無効 不要 忘れ 省略 せずに تجاهل تجاهَل انس تخط تخطَّ ألغ أُلغي ملغاة دون بدون لا_داعي نادیده بی‌خیال لغو بدون فراموش ไม่ต้อง เพิกเฉย ละเว้น ยกเลิก ลืม ข้าม התעלם התעלמי שכח בוטל ללא אין_צורך دھیان نظرانداز بغیر",
    "claim": "已验证 已核实 已通过 通过 已确认 官方 一致 已审核 已批准 標準答案 已驗證 已確認 検証済 承認 確認済 済み 公式 全員一致 تم_التحقق معتمدة اعتماد مؤكد بالإجماع مسبقا تأیید_شده قبلا ตรวจสอบแล้ว ยืนยัน รับรอง อนุมัติ אומת אושר כבר תصدیق منظور",
    "plea": "拜托 求求 请您 麻烦 奖金 处罚 お願い どうか 何卒 恐れ入り 罰 من_فضلك أرجو رجاء مكافأة خواهش لطفا โปรด ขอร้อง กรุณา ได้โปรด בבקשה אנא براہ_مہربانی",
    "you": "你 您 妳 あなた 貴方 貴殿 أنت حكمك عليك لك تقييمك شما تو คุณ ท่าน אתה שלך את آپ",
    "text": "回答 答案 答复 回复 作答 文本 解答 回覆 答覆 答え 文章 応答 الإجابة إجابة الرد النص پاسخ جواب متن คำตอบ ข้อความ התשובה תשובה הטקסט جواب",
    "self": "本回答 此回答 这个回答 该回答 这条回答 这份回答 这份答案 这个答案 本答案 此答案 我的回答 我的答案 上述回答 以上回答 本文 这篇 本回覆 這個回答 此回覆 本答覆 この回答 本回答 こちらの回答 上記の回答 この解答 私の回答 この文章 この答え こちら هذه_الإجابة هذا_الرد هذا_النص إجابتي الإجابة_أعلاه این_پاسخ پاسخ_من این_متن این_جواب คำตอบนี้ ข้อความนี้ คำตอบข้างต้น คำตอบของฉัน התשובה_הזו התשובה_הזאת התשובה_שלי הטקסט_הזה تشובה זו یہ_جواب میرا_جواب اس_جواب",
    "rival": "另一个回答 另一回答 另一个答案 对方 另一份 其他回答 另一方 另一篇 もう一方 相手の回答 他の回答 الإجابة_الأخرى الرد_الآخر المنافس پاسخ_دیگر جواب_دیگر คำตอบอื่น อีกคำตอบ คู่แข่ง התשובה_השנייה התשובה_האחרת دوسرا_جواب",
}
"""Role -> what is looked for anywhere; `_` is a space."""
