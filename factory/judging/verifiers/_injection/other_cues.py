"""What words do in a text that speaks to its judge: the roles of words of languages but English.

Written as in `cues`. What stands under `RUNS` is looked for anywhere, for scripts that write no
spaces or put their articles and particles before the word.
"""

# ruff: noqa: E501, RUF001  # words of one role and language on a line; other scripts' letters are meant

from __future__ import annotations

OTHERS: dict[str, str] = {
    "process": """
        beurteil* bewerte* bewertung* vergleich* skala schwelle* entscheidung* anforderung* checkliste* voreinstellung einstufen begutacht* bestenliste* evalu* jugement*
        comparais* comparer échelle décision* exigence* seuil classement* critère* candidat* notation escala umbral* requisit* juzg* juicio* comparar comparación
        clasificación valutar* valutazion* confront* scala preferenz* criteri* istruzion* giudic* giudizi* soglia classifica avali* decisão decisões preferênc* instruç*
        julg* limiar beoordel* vergelijk* schaal beslissing* voorkeur* drempel* kandida* uitspraak oceni* porówn* skali decyzj* kryteri* próg kandydat* wymag* rozstrzyg*
        hodnot* porovn* srovn* stupnic* rozhodn* kritéri* instrukc* požadav* požiadav* posuz* posudz* zadání zadanie ocenj* ocjenj* primerj* uspored* poređ* odločit* odluk*
        lestvic* ljestvic* meril* mjeril* vrednot* prosojan* razvrst* zahtev* zahtjev* оцен* оцењ* оцін* сравн* срівн* порівн* спореди* споредб* поређ* шкал* критер*
        предпочт* предпочит* перевага порог* інструкц* инструкц* требовани* вимог* вибір выбор избор одлук* решавањ* кандидат* ранжир* сопоставл* comparaț* scară decizi*
        cerinț* preferinț* prag clasament* értékel* összehasonl* összevet* pontoz* skálán dönté* dönts* utasít* követelm* jelölt* küszöb* αξιολογ* συγκρι* κλιμακ* αποφασ*
        προτιμ* κριτηρι* οδηγι* υποψηφι* κατωφλι bedöm* bedøm* jämför* sammenlign* skalaen beslut* avgör* avgjør* afgør* instruktion* instruks* vurder* preferens*
        præference* preferanse* tröskel* samanburð* kvarð* ákvörðun* matsferl* meta metur forgangs* röðun* þröskuld* arvioi* vertail* asteik* päätö* kriteer* ehdok* valinta
        valinnan järjest* kynnys* hinda* võrdl* skaala* otsus* juhis* eelistus* lävend* vērtē* novērt* salīdz* lēmum* izvēle sliekšņ* rang* vertin* palygin* skalė* sprendim*
        pasirinkim* slenkst* reitingav* ebalua* alderat* alderak* eskala* erabaki* irizpide* lehentasun* atalase* hautaket* sailkap* measún* comparáid* cinneadh asesu*
        cymhar* penderfyn* graddfa vlerës* krahas* shkallë* vendim* përzgjedh* değerlendir* karşılaştır* karsilastir* ölçek* karar* aday* eşik* tercih* kıyasla* sırala*
        derece* avaluar avaluac* decisió llindar*""",
    "grader": """
        bewerter* korrektor* gutachter* prüfmodell* bewertungsmodell* bewertungssystem* prüfinstanz* benoter* ki-richter
        évaluateur* correcteur* correctrice* noteur* évaluatrice* notateur*
        evaluador* calificador* corrector puntuador* valutatore* valutatrice* valutatori correttore avaliador* corretor corretora
        beoordelaar* nakijker* oceniając* oceniającemu sprawdzając* hodnotitel* hodnotící* hodnotiteľ*
        оценщик* оценивающ* проверяющ* оцінювач* перевіряльник* экзаменатор* екзаменатор* оценявач* оценител* проверяващ*
        değerlendiric* puanlayıc* notlandır* bedömare* bedömaren sensor bedømmer* dommer rättare arvioij* arvostelij* értékelő* bíráló*
        evaluator evaluatorul* notator* corector* ocjenjivač* ocenjivač* hodnotilec ocenjevalec
        αξιολογητ* βαθμολογητ* εξεταστ* penilai* penguji pemeriksa मूल्यांकनकर्ता* मूल्यांकक* परीक्षक* মূল্যায়নকারী* পরীক্ষক*
        채점자* 채점관* 평가자* 평가관* 채점기* 채점봇* 평가모델* avaluador* tagahatol tagasuri msahihishaji mtathmini bewertend* benotend* bewertungs-ki bewertungsinstanz évaluateurs évaluatrices notant korrigierend* correttrice avaliadores evaluadores evaluadora hodnotícímu hodnotící bedömande bedømmende värderar oceniającego
        hodnotiac* známkujúc* opravovateľ* opravujúc* posudzovateľ* skúšajúc* bodovač* bodujúc* vyhodnocovač* hodnotič* autohodnotiteľ* oznamkovateľ* vyhodnocovateľ*
        ocenjevalc* ocenjevalk* ocenjevaln* ocenjujoč* preverjevalec preverjevalc* popravljavec popravljavc* točkovalec točkovalc* samoocenjevalec avtoocenjevalec
        presojevalec presojevalc* hindaja* hindamismudel* hindamissüsteem* hindamisrobot* hindamisbot* hindav* parandaja* punktiandja* autohindaja* kontrollija* vērtētāj*
        novērtētāj* vērtējoš* pārbaudītāj* labotāj* autovērtētāj* vertintoj* įvertintoj* vertinantis vertinanč* tikrintoj* taisytoj* egzaminuotoj* autovertintoj*
        ebaluatzaile* zuzentzaile* puntuatzaile* kalifikatzaile* notajartzaile* aztertzaile* baloratzaile* matsmað* matsmann* matsmenn* matsmönn* einkunnagjaf* prófdómar*
        matskerf* matslíkan* matsaðil* matsforrit* stigagjafi stigagjafa yfirferðarmað* cualificador* avaliante corrector* opravujíc* posuzovatel* známkujíc* zkoušejíc*
        bodujíc* оценяващ* проверител* автооценител* точкуващ* kiértékelő* pontozó* vizsgáztató* minősítő* javítótanár* javítómodell* javítóprogram* osztályzó* autoértékelő*
        elbíráló* arvosteleva* arvioiva* arviointimalli* arviointijärjestelmä* arviointibot* pisteyttäj* pisteyttäv* tarkastaj* tarkistaj* automaattiarvioij* arvioitsij*
        ocjenitelj* ocenitelj* procjenitelj* procenitelj* procjenjivač* procenjivač* vrednovatelj* ispitivač* bodovatelj* autoocjenjivač* оцењивач* оценитељ* проценитељ*
        процењивач* испитивач* вредновател* оценувач* автооценувач* проценувач* проценител* egzaminując* weryfikator* ewaluator* punktując* sprawdzark* oceniacz* asesor*
        autooceniacz* oceniarka экзаменующ* автооценщик* автопроверяющ* оценивател* асессор* ассессор* разметчик* аннотатор* ревьюер* ревьюверу грейдер* эвалюатор*
        эвалюейтор* скорер* оценшик* баллоставител* otsenshchik* ocenshik* ocenschik* перевіряюч* оцінюючий оцінюючому оцінщик* автооцінювач* оцінювальник* анотатор*
        рецензентко evaluatoar* punctator* corectoare autoevaluator* cotator* διορθωτ* αξιολογουντα αξιολογουσα αυτοαξιολογητ* βαθμοθετ* vathmologit* axiologit* betygsättar*
        betygssättar* poängsättar* utvärderar* bedömningsmodell* bedömningsrobot* rättningsmodell* bedömar* rättar* granskningsmodell* vurderingsmodel* karaktergiver*
        karaktersetter* poenggiver* pointgiver* bedømmelsesmodel* censor* rettemodel* vurderingsrobot* bedoemmer* sensuringsmodell* karaktersettend* beoordelend*
        beoordelingsmodel* cijfergever* puntengever* nakijkmodel* beoordelingsbot* beoordelares* autobeoordelaar* scoreur* annotateur* annotatrice* examinatrice* évaluant*
        autoévaluateur* autocorrecteur* barémeur* juge_évaluateur anotador* baremador* autoevaluador* autocorrector* evaluadro evalador correttori correttrici esaminatrice*
        valutante valutanti autovalutatore votatore punteggiatore corretores corretoras pontuador* avaliadro autoavaliador* autocorretor* examinadora qualificador*
        autoavaluador* beurteiler* beurteilend* punktrichter* punkterichter* notengeber* punktevergeber* autobewerter* bewertungsbot* bewertungsagent* prüf_ki pruefmodell*
        preisrichter* auswerter* zensurengeber* prüf_agent korrekturmodell* korrekturbot* korrektur_ki bewertungsinstanzen bewertungsmodul* bewertter measúnóir*
        scrúdaitheoir* marcálaí* grádóir* mheasúnóir* aseswr* asesydd* aseswyr* marciwr* marcwyr* graddiwr* sgoriwr* gwerthuswr* arfarnwr* vlerësues* notues* korrigjues*
        pikëzues* vlerësonjës* autovlerësues* notlayıcı* notlayici* puanlayic* notlayan* puanlayan* değerlendiren* değerlendirmen* otopuanlayıcı* puanlama_modeli
        değerlendirme_modeli puanlama_botu
        மதிப்பீட்டாள* மதிப்பிடுப* మూల్యాంకనకర్త* મૂલ્યાંકનકર્તા* ਮੁਲਾਂਕਣਕਾਰ* मूल्यमापक* मूल्याङ्कनकर्ता* ඇගයුම්කරු* შემფასებ* գնահատող* ገምጋሚ* qiymətləndirici* бағалаушы*
        үнэлэгч* tagapagmarka* wakadiriaji watathmini mai_tantancewa olùdíwọ̀n penskor pemarkah người_chấm""",
    "judge": """
        richter richterin prüfer* jury juror* juge juges jurys examinateur* relecteur* juez jueza jueces revisor* revisora examinador* tribunal jurado*
        giudice giudici esaminatore revisore giuria juiz juíza juízes banca jury* rechter jurylid examinator* scheidsrechter
        sędzi* sędzia recenzent* egzaminator* рецензент* судья судьи судье судью судьям жюри эксперт* суддя судді судде суддям рецензенте* журі експерт*
        hakem* jüri jürinin domare* domaren granskare* dommere* tuomari* bíró* zsűri judecător* juriu* sudac suci sodnik rozhodčí* porotce* porota soudce* soudci
        κριτή* κριτης juri wasit giám_khảo ban_giám_khảo निर्णायक* जज विचारক* বিচারক* 심사위원* 심사자* 심사관* 판정관* 심판* jutge hukom jaji hakim
        पर्यवेक्षक benotet jugement qualifiziert corrige evalúe evalue califique valuta corregge avalie bewertest benotest
        sudca sudcu sudcovi sudcom sudcovia sudcov sudkyň* porotca porotcovi porotcovia porotcu porotu porote rozhodca rozhodcov* posudzovateľ* porotkyň* skúšobná sodnik*
        sodnic* žirij* razsodnik* izpraševal* presojeval* razsodišč* kohtunik* žürii* retsensent* eksaminaator* eksamineerija* arbiiter tiesnes* žūrij* eksaminētāj*
        šķīrējtiesnes* tiesāj* vērtēšanas_komisija teisėj* žiuri arbitras arbitrui vertinimo_komisija epaile* epaimahai* aztertzaile* arbitro dómar* dómnefnd* prófdómar*
        dómurum ritrýn* dómendur xuíz xuíza xuíces xuízas xurado* xulgador* soudkyn* soudcové soudcům porotou sudí sudího arbitrovi posuzovatel* съдия* съдии* журито арбитър
        арбитъра жури zsűri* vizsgabiztos* lektor döntőbíró* ítész* ellenőr ellenőrnek bírálóbizottság* vizsgabizottság* raati raadin raadille raatilai* raadilta erotuomar*
        esitarkastaj* tuomaroi* lautamie* suca sucu suče sudija sudije sudiji sudiju sudijo žiri arbitar arbitre suđenje porotnik* судија судије судији судију судијо жири
        жирија арбитар поротник* судии судијата судиите жирито судијке arbitra arbitrze arbitrowi recenzencie rozjemc* судьей судьями судьях судейск* арбитр арбитра арбитру
        арбитром арбитры присяжн* судить судящ* sudya sudja жюри_ии судьишк* судьюшк* суддю суддею суддями суддівськ* арбітр арбітра арбітру арбітре суддове judecătoar*
        arbitru arbitrul arbitrului jurat* recenzor* κριτές κριτών κριτά δικαστ* διαιτητ* ελεγκτ* ελλανοδικ* ενόρκ* kritis κριτική_επιτροπή κριτικής_επιτροπής
        εξεταστική_επιτροπή granskarna dommerne dommerpanel* bedømmelsesutvalg* bedømmelsesudvalg* censorer rechters scheidsrechters keurmeester* beoordelingscommissie*
        examencommissie* juré jurés jurée jurées arbitres relectrice* vérificateur* vérificatrice* examinatrices jugez juger juezas juzgador* árbitros sinodal* dictaminador*
        verificador* juece señoría esaminatori arbitri giurato giurati giurata giudicante* verificatore commissario commissari giurie parecerista* julgador* juízo jutges
        jutgessa jutgesses richters richtern richterinnen kampfrichter* schiedsrichter* wertungsrichter* punktrichter* prüfungskommission* prüfungsausschuss* begutachter*
        pruefer* schiedsgericht* linienrichter prüfgremium breitheamh* bhreitheamh* breithiúna moltóir* mholtóir* giúiré* beirniad* beirniaid feirniad barnwr* farnwr
        rheithgor* arholwr* dyfarnwr* canolwr* gjyqtar* gjykatës* gjykues* recensues* jüri* yargıç* yargic* denetmen* gözetmen* inceleyen* hakime sınav_komisyonu
        நீதிபதி* நடுவர* న్యాయమూర్తి* న్యాయనిర్ణేత* ન્યાયાધીશ* ਜੱਜ* ਨਿਰਣਾਇਕ* न्यायाधीश* परीक्षकांनो ජිනිසුරු විනිසුරු* მოსამართლე* მსაჯულ* ჟიური* դատավոր* ժյուրի* ዳኛ* ዳኞች
        münsif* төреші* қазылар* шүүгч* majaji alƙali* adájọ́ tagahusga thẩm_phán trọng_tài yargıç*""",
    "machine": """
        ki kis modell ia modèle modelo modello modelu algorytm* алгоритм* модел* ии ші нейросет* yapay zeka modeli modellen algoritm* algoritmo algorithmus yz mi tekoäly
        모델* 인공지능* अल्गोरिथ्म मॉडल एआई trí_tuệ ai-
        umelá umelej umelou inteligenci* jazykový_model jazykovému robot robota umetna umetni umetne jezikovni_model tehisaru* tehisintellekt* keelemudel* mudel mudelile
        mudeli masin* mākslīg* modeļ* valodas_modelis dirbtin* kalbos_modelis adimen artifizial* eredu* makina makinari gervigreind* líkan* mállíkan* vélmenni* umělé
        jazykového robotovi изкуствен* робот* машин* език_модел mesterséges gépi nyelvi_modell nyelvimodell* gép tekoäly* kielimalli* malli mallille mallin kone koneelle
        umjetn* veštačk* vještačk* вештач* jezičk* језичк* јазичен sztuczn* model_językowy искусствен* нейронк* языковая языковой штучн* мовна artificial* inteligenț*
        τεχνητ* νοημοσύνη μοντελο μοντελου språkmodell* sprogmodel* maskin* kunstig* kunstmatig* taalmodel* artificielle intelligenza künstlich* sprachmodell* maschine*
        automat* intleacht shaorga samhail deallusrwydd artiffisial inteligjenc* zekâsı model_dilsel
        மாதிரி* నమూనా મોડેલ* ਮਾਡਲ* ආකෘති* მოდელ* մոդել* ሞዴል* süni_intellekt загвар* akili_bandia""",
    "score": """
        note notes punkt* punktzahl* bewertung* urteil* wertung noten gesamtnote höchstpunkt* höchstnote* endnote gewinner* siegerin sieger
        barème points verdict gagnant* vainqueur puntuaci* puntos puntaje calificaci* nota notas veredicto ganador* punteggio voto voti verdetto vincitore punti
        pontuação pontos veredito vencedor* score cijfer punten oordeel winnaar ocen* ocenę punkt* werdykt zwycięzc* wynik
        балл* оценк* оцінк* бал бали балів балл вердикт* победител* переможц* рейтинг* отметк* точк*
        puan* not notu notunu karar* kazanan poäng* betyg* poeng* karakter* vinnare* vinder* vinner* pistee* pisteet arvosan* pontszám* pont pontot pontokat osztályzat* győztes*
        punctaj* notă puncte verdict* ocjen* bodov* body bodů známk* známku hodnocení verdikt* vítěz* βαθμ* βαθμολογ* νικητ* βαθμό
        skor nilai poin putusan pemenang điểm अंक अंकों स्कोर রেটিং নম্বর স্কোর निर्णय रेटिंग 점수* 점을 평점* 등급* 판정* 승자* 만점* puntos puntuacio alama puntos marka
        skóre hodnoteni* ohodnoteni* bodmi bodom bodoch víťaz* rozsudok rozsudku celkové_skóre výsledn* točk* razsodb* zmagoval* sodba sodbe hinne hinde hindeks hinnet
        hinded hindeid hinnang hinnangu skoor* võitja* lõpphin* koguskoor* tipphinne vērtējum* atzīm* ballu ballēm ballē spriedum* uzvarētāj* novērtējum* reiting* balai balų
        balus balais balui balo įvertinim* pažym* tašk* nugalėtoj* laimėtoj* vertinimą vertinimas puntuazio* puntu puntuak puntuko puntua kalifikazio* epai epaia irabazle*
        balorazio* emaitza einkunn* stigagjöf* stigum stigin heildareinkunn* lokaeinkunn* úrskurð* sigurvegar* heildarstig* dómur matseinkunn* cualificacion* ohodnocení
        bodem bodech známce rozsudek bodík* присъд* бала оценчиц* шестица шестици pontozás* minősítés* ítélet* jegyet jegyed jegye érdemjegy* rangsorol* nyertes* pontja
        ponttal összpontszám* végpontszám* értékelésed pisteit* pistet* pisteys* pisteytyk* pisteytys* piste loppuarvo* kokonaisarvo* tuomio* voittaj* luokitu* arvio arvion
        arviosi pistemäär* täysosuma pobjednik* pobednik* presud* poen* бодов* бод победник* пресуд* поен* оцена оцену оцене оценом оцени нота nocie not* wyrok* orzeczeni*
        werdykt* zwycięsk* stopień очков приговор* оценочк* пятерк* десятк* счёт otsenka победу балу балами балом бальн* присуд* вирок* відмітк* calificativ* punctele
        puncteaz* câștigător* învingător* hotărâr* punctare rating* sentinț* σκορ ποντ* μοναδες ετυμηγορ* καταταξ* vathmo* αξιολογηση κριση omdöme* slutbetyg* slutpoäng*
        toppbetyg* högstabetyg* slutkarakter* toppkarakter* terningkast* topscore* pointtal* totalpoeng* totalpoäng* maxpoäng* makspoeng* domslut* cijfers eindcijfer*
        eindscore* vonnis puntentelling* waardering* rangschikk* eindoordeel* totaalscore* winnaars maximumscore* classement* appréciation* vainqueurs score_final
        note_finale note_maximale dictamen* valoraci* veredictos calificas puntúo puntúas puntaj* ranking* punteggi votazion* giudizio giudizi vincitrice vincitori sentenza
        valutazione_finale punteggione pontuaç* vereditos ponto conceito qualificaci* veredicte* guanyador* punts zensur* gesamtpunkt* gesamtwertung* bestnote* bestwert*
        rangfolge* platzierung* schulnote* teilpunkt* teilnote* einstufung* wertungen benotung* hoechstpunkt* hoechstnote* traumnote* richterspruch* volle_punktzahl scór*
        scóir marcanna breithiún* pointí buaiteoir* sgôr* marciau pwyntiau dyfarniad* enillydd* pikë pikët pikëve fitues* vlerësim* pikëzim* skoru skorunu skorlar hüküm
        hükmü* sıralaman* galip kazananı
        மதிப்பெண்* మార్కు* స్కోరు* ગુણ સ્કોર* ਅੰਕ* ਸਕੋਰ* गुण गुणांकन ලකුණු* ქულა* ქულებ* შეფასებ* միավոր* գնահատական* ነጥብ* ውጤት* qiymət* ұпай* баға* оноо* iskor markah skoru""",
    "rubric": """
        bewertungs* kriteri* rubrik* anweisung* prüfung maßstab* bewertungsschema* vorgaben vergleich* abzug* abzüge
        critère* consigne* évaluation* grille rubrique* comparaison barème* rúbrica* rubrica* criterio* criteri instruccion* evaluaci* comparaci*
        valutazion* istruzion* griglia confronto critério* avaliaç* instruç* comparação beoordeling* instructie* vergelijking
        kryteri* ocenian* instrukcj* porównani* rubryk* критери* критері* инструкц* інструкц* рубрик* оценив* оцінюван* шкал* сравнени* порівнянн*
        değerlendirme* ölçüt* kriter* talimat* karşılaştırma* bedömning* kriterier* instruktion* jämförelse* bedømmelse* vurdering* arviointi* ohjeet szempont* útmutató* értékelés* összehasonlítás*
        criteri* evaluare* instrucțiun* barem* kriterij* kritéri* pokyn* pokyny hodnocen* kritiqu* κριτήρι* αξιολόγησ* οδηγί*
        penilaian kriteria instruksi rubrik perbandingan tiêu_chí thang_điểm rúbrica मूल्यांकन* मानदंड* निर्देश* মূল্যায়ন* নির্দেশ* মানদণ্ড* 채점* 평가* 기준* 지시* 루브릭* 비교* pamantayan vigezo
        hodnoteni* hodnotiac* stupnic* kľúč_odpovedí meril* navodil* ocenjevanj* točkovnik* primerjav* ocenjevaln* opisnik* točkovanj* lestvic* hindamis* rubriik* juhis*
        võrdlus* hindeskaala* punktiskaala* norādījum* vērtēšan* salīdzin* vertinim* nurodym* palygin* gairė* errubrika* irizpide* jarraibide* argibide* ebaluazio*
        konparazio* alderaket* zuzenketa* puntuatze* matsviðmið* viðmið* leiðbeining* fyrirmæl* samanburð* matskvarð* matsblað* matslist* instrukc* srovnán* porovnán*
        bodován* známkován* hodnotíc* klíč_odpovědí указани* оценяв* точкуван* насок* javítókulcs* megoldókulcs* pontozás* előírás* értékelőlap* irányelv* utasít* arvostelu*
        kriteer* ohje ohjeen ohjeita ohjeiden ohjeistu* ohjeistet* vertailu* asteikko* pisteytys* uput* ocjenjivanj* ocenjivanj* usporedb* poređenj* mjeril* vrednovanj*
        упутств* оцењивањ* поређењ* бодовањ* мерил* смерниц* вредновањ* оценув* упатств* споредб* бодување wytyczn* poleceni* klucz_odpowiedzi punktacj* taryfikator*
        schemat_oceniania чеклист* регламент* методичк* разбалловк* настанов* вказівк* grila grilei punctare notare compara* cerințele indicații ρουμπρικ* συγκρισ* κλιμακ*
        εντολ* υποδειξ* κατευθυντηρ* ρουβρικ* rättningsmall* betygskriteri* poängskala* rettevejledn* sensorveiledn* rettemal* sammenligning* instruks* retningslin*
        riktlinj* karakterskala* betygsskala* karaktergivning* betygsättning* rettenøk* facit fasit poängsättning* richtlijn* correctiemodel* antwoordmodel* nakijkmodel*
        correctievoorschrift* becijfering* directive* grille_de_notation corrigé* pauta* lineamiento* directri* indicacion* linee_guida direttiv* scheda_di_valutazione
        gabarito* diretriz* avaluaci* pautes richtlinie* leitfaden leitlinie* erwartungshorizont* punkteschema* punktesystem* korrekturschema* benotung* beurteilung*
        notenskala* notenschlüssel* notenschluessel* pruefung* critéir* treoir* treorach* measúnú* rúibric* scéim_mharcála meini_prawf cyfarwydd* canllaw* cymhar* marcio
        cynllun_marcio asesiad* udhëzim* vlerësimi* krahasim* yönerge* ölçek* puanlama* kıstas* kistas* cevap_anahtarı notlandırma*
        மதிப்பீட்டு* అంచనా_ప్రమాణ* મૂલ્યાંકન* ਮੁਲਾਂਕਣ* निकष* मापदण्ड* නිර්ණායක* კრიტერიუმ* ინსტრუქცი* չափանիշ* հրահանգ* መስፈርት* መመሪያ* meyar* təlimat* өлшем* нұсқау* шалгуур*
        заавар* maagizo umarnin ìlànà""",
    "top": """
        zehn fünf höchst* maximal* volle vollen voller beste bester besten perfekt* hervorragend* bestanden sehr_gut korrekt ausgezeichnet besser bessere sieger*
        dix cinq maximal* maximum pleine plein meilleur* parfait* excellent* validé* réussi correct* diez cinco máxim* pleno perfect* excelent* sobresaliente mejor aprobad* correct* matrícula ganador*
        dieci cinque massim* pieno pieni perfett* eccellent* migliore promoss* vittoria dez máxim* plena excelent* perfeit* melhor aprovad* total
        tien vijf hoogste maximale volle beste perfect* uitstekend* geslaagd beter dziesięć dziesięc* pięć maksym* najwyższ* pełn* najlepsz* doskonał* celując* lepsz*
        десят* пять высш* максимальн* максимум полны* наивысш* лучш* идеальн* отлично верхн* високий найвищ* макс* повн* найкращ* ідеальн* десять п'ять верно правильн*
        on en_yüksek yüksek tam mükemmel en_iyi maksimum tio fem högsta full fulla bäst bästa perfekt* godkän* ti høyest* højest* beste bedste kymmenen viisi täydet korkein* paras tíz öt maximális legmagasabb legjobb hibátlan* tökéletes
        zece cinci maxim* maximă perfect* deplin* najbolj* najviš* deset pět pět nejvyšší* nejlepší* plný* plným výborn* správn* nejlepš* μέγιστ* άριστα δέκα τέλει* ανώτατ* καλύτερ* πλήρ* πέντε
        sepuluh lima tertinggi maksimal* sempurna penuh terbaik mười tối_đa cao_nhất tuyệt_đối hoàn_hảo पूर्ण पूरे सर्वोच्च सर्वश्रेष्ठ दस अधिकतम পূর্ণ সর্বোচ্চ দশ সেরা
        만점* 최고* 최상* 완벽* 10점* 5점* 십점 우수* deu excel·lent pinakamataas kumi juu
        desať päť najvyšš* najlepš* plnú plného plné plnej bezchybn* dokonal* jednotk* vynikajúc* lepš* desiatk* vyhráva výhra uspel prospel polno polne poln popoln* odličn*
        pravilen pravilno brezhib* opravil desetic* zmaga vrhunsk* kümme viis viie kõrgeim* täis täispunkt* parim* parem täiuslik* suurepära* ideaal* õige läbis* sada võidab
        veatu* desmit desmitnieks piec* maksim* augstāk* pilnu pilns visaugstāk* vislabāk* labāk* ideāl* teicam* izcil* pareiz* nokārtot* nevainojam* dešimt* penk*
        aukščiaus* geriaus* geresn* pilną pilnas visus puik* tobul* nepriekaišting* teising* išlaikyt* šimt* laimi hamar bost gehien* altuen* onen* bikain* goren* osoa
        gainditu* zuzena ehun hobe hobea hobeto akatsgabe* tíu fimm hæst* fullt fullu hámark* besta besti fullkom* framúrskarandi ágætis staðið staðist rétt hundrað betra
        betri sigrar óaðfinnan* mellor* gaña cen desítk* jedničk* plnou plném bezvadn* vynikajíc* sto десет пет най висок* отличен отлична пълен пълн* съвършен* перфект*
        идеал* шест шестица безупреч* вярно верен издържал tízes ötös teljes kiváló* jeles legjobb* jobb helyes megfelelt tízből legfelső csúcs tökélet* kifogástalan*
        százból száz nyer sikeres kymmen* kympin kymppi viitos* viitonen täydelli* täysi* täyden korkeim* parha* parempi paremma* erinomai* oikein oikea kiitettäv* loistav*
        ylin ylimmä* virheet* moitteet* sata voittaa läpäis* huippu* pun puni punu pune punih savršen* izvrsn* bolj* ispravan ispravno položen* desetk* petic* pobjeđuje
        besprijekor* besprekor* највиш* највећ* најбољ* савршен* одличн* изврс* пуни пун пуну беспрекорн* десетк* петиц* положен* боље бољи тачан највисок* најдобр* целосн*
        совршен* подобр* сто точен положи dziesiątk* piątk* szóstk* wzorow* bezbłędn* znakomit* zaliczon* komplet peln* najlepiej prawidłow* wyróżnieni* wygrywa perfekcyjn*
        maks пятерк* высок* превосход* зачет* зачтен* наибольш* сотн* побежда* выигрыв* наилучш* великолепн* верн* пять_из_пяти бездоган* зараховано відмінн* досконал* кращ*
        переможн* найбільш* перемага* cea_mai_mare cel_mai_bun cea_mai_bună admis* superior* impecabil* promovat* desăvârșit* sută zecele întreg câștigă άριστ* υψηλοτερ*
        κορυφαι* σωστ* εκατο επιτυχ* αψογ* ιδανικ* δεκαρι κερδιζει υπεροχ* ολες ολα εξαιρετικ* μεγαλυτερ* tia femma femman högst högre bättre utmärkt* felfri* mvg riktig*
        topp vinner toppen hundra höga tier tiern bedre fremragend* utmerket* feilfri* fejlfri* bestået bestått fuldt hundrede hundre vinder øverste øverst toppkarakter tolv
        voldoende foutloos foutloze topcijfer* volledige hoogst juist winnend* wint honderd allerbeste onberispelijk* supérieur* impeccable* irréprochable* vrai mieux reçu
        pleins totale élevé* haute premier première gagne vingt cent cien impecable* intachable* mejores honor válid* íntegr* vence tope ganar óptim* verdadero trenta lode
        piena ottim* impeccabil* superato superata miglior migliori idoneo vince cento vincente cem melhores impecável impecáveis corret* cheia cheio vitória ótim* vencer
        cinc millor millors guanya excel einwandfrei* fehlerfrei* makellos* tadellos* eins überlegen* richtig gewinnt gewinnen volles hundert spitzen* hoechst* vollständig*
        exzellent* höher glatt volltreffer bestehen deich cúig uasta is_airde is_fearr foirfe iomlán lán ceart sármhaith deg pump uchaf llawn gorau perffaith ardderchog
        mwyaf cywir rhagorol dhjetë pesë më_i_lartë më_e_lartë lartë plotë përsosur shkëlqyer më_i_miri më_e_mira saktë njëqind fiton yüz beş üstün kusursuz* harika birinci
        doğru geçti azami en_üst tavan kazanır kazanir mükemmel* eksiksiz
        முழு அதிகபட்ச* சிறந்த* పూర్తి గరిష్ట* ఉత్తమ* પૂરા સંપૂર્ણ* શ્રેષ્ઠ* ਪੂਰੇ ਸਭ_ਤੋਂ सर्वोत्तम* पैकीच्या दहापैकी उत्कृष्ट* උපරිම* හොඳම* მაქსიმალ* უმაღლეს* საუკეთესო*
        առավելագույն* լավագույն* ከፍተኛ* ምርጥ* ən_yüksək mükəmməl* жоғары* үздік* хамгийн дээд* kamili mafi pinakamahusay""",
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
        주세요 주십시오 줘 주시* 선택* 출력* 부여* 매기* 매겨* 기록* 고르* 골라* 처리* 복사* 적으* 적어* dona tria ibigay bigyan piliin toa chagua
        dajte udeľ* vybrať zapíš* ohodnoť* hodnoť* odpovedz* potvrď* považuj* nastav* vráť* vypíš* zadaj* vyhlás* priraď* dať dávaj* dodeli* izberi* vpiši* odgovori* vrni*
        podeli* potrdi* izpiši* upoštevaj* izbrati razglasi* štej* postavi* andke andma pange pane panna vali valige valida kirjuta* märgi* hinda hinnake sisesta* vasta
        vastake määra* eelista* tagasta* kinnita* käsitle* omista* kuuluta* dod dodiet dodi dot piešķir* izvēl* ieraksti* raksti rakstiet uzraksti* vērtē vērtējiet novērtē*
        atzīmē* ievadi* izvadi* atbildi atbildiet ieliec* liec lieciet apstiprini* atgriez* uzskat* duok duokite skirk* skirti suteik* rašyk* parašyk* įrašyk* rinkis
        rinkitės rinktis pasirink* vertink* įvertink* pažymėk* atsakyk* pateik* išvesk* nustatyk* patvirtink* laikyk* grąžink* priskirk* rašyti eman emaiozu eman_iezaiozu
        emaiozue aukeratu aukera hautatu hauta idatzi idatz jarri esleitu markatu erregistratu itzuli kalifikatu ebaluatu hobetsi onartu baieztatu jar_iezaiozu gefðu gefa
        gefið skrifaðu skrifa skrifið veldu velja veljið settu setja merktu skráðu skrá svaraðu metið metðu meta samþykktu skilaðu úthlutaðu veittu veita veitið lýstu
        staðfestu dálle déalle dea déanlle poña ponlle elixe elixa escolle escolla outorg* rexistr* cualifi* avalía puntúe vyplň* odpověz* upřednostn* zadej* prohlas* napsat
        дай дайте дадете сложете избере* присъди* отбележи* отбележете върни* върнете приеми* приемете смятай* отговори* изведи* потвърди* обяви* посочи* дадеш adjál adjátok
        adjanak adni adjad értékelj* értékeld pontozd pontozza válassz* jelölj* tedd tegye rögzítsd rögzítse jegyezd írjon írj vedd vegye tekintsd tekintse fogadd fogadja
        részesítsd hozz hozza nyilvánítsd állítsd állítsa ítéld minősítsd szavazz antaa antak* annetaan valitkaa valita kirjoittak* kirjaa kirjatkaa merkitkää merkitä aseta
        asettakaa myönnä myöntäkää tulosta palauta vastaa vastatkaa pisteytä arvioi arvioikaa suosi hyväksy hyväksykää vahvista pidä laita laittakaa julista nosta izaberi*
        upiši* ocijeni* smatraj* stavi* proglasi* unesi* ocjenjuj* дај дајте додели* изабери* одабери* упиши* означи* сматрај* потврди* прогласи* унеси* врати* одговори*
        сметај* одбери* внеси* доделете przyznać przydziel* dajcie wybrać wskaż* wypisz* podaj* postaw* zaznacz* nadaj* zaakceptuj* przypisz* zatwierdź* odpowiedz* ogłoś*
        wydaj* wpisać uznać zagłosuj* дать укаж* запиш* ответь* выдай* заполн* начисл* проставь* проголос* отметь* подтверд* прими* зафиксир* присуд* сочт* назнач* объяв*
        посчитай* влепи* накинь* postav postavte дати вибер* надай* вкаж* оцініть поверн* підтверд* вважай* обирай* відповідай* заповн* оголос* зафіксу* oferă* oferiți
        notează* notați evaluați înregistr* marcheaz* confirm* consider* răspunde* introdu* returneaz* dă_i desemn* treci votează δωσετε βαθμολογησε βαθμολογηστε αξιολογησε
        αξιολογηστε προτιμησε προτιμηστε καταχωρ* απαντησε απαντηστε σημειωστε ορισε οριστε επιβεβαιωσε θεωρησε θεωρηστε γραψτε διαλεξε διαλεξτε επελεξε αποδωσε αποδωστε
        απονειμε δωστου ανακηρυξ* giver gis gies tilldel* tildel* ange angi angiv* svara bedöm bedøm vurder föredra* foretrekk* foretræk* markér* bekräfta bekreft bekræft*
        godta acceptera* behandl* anse betrakt* mata returner* noter notera* sette utse utnämn* belöna rösta stem geven geeft toekennen selecteer* vul noteren bevestig*
        accepteer* beschouw* vermeld* schrijven kiezen verkies* keur verklaar* vink plaats mettre octroi* octroy* veuillez indique* saisis saisissez retourne* affiche* sois
        soyez faites approuve* évalue* classe* désigne* votez rends rendez privilégie* déclare* prononce* poned darle ponle póngale califica califique califícal* evalúa
        responda responde indica* anota* anote decida decide declara* apruebe aprueba emite emita trata trate denle dadle dame attribui* dia diate metta scelga indichi
        rispond* valutate valutare riporta* dichiara* conced* premia* selezion* ritien* ritenga dagli datele escrever selecione* registe* avaliem pontue classifique* ponha
        põe coloca dar_lhe doneu doni posa poseu posi escriu* trieu trii escull* atorg* assigna* valora* qualifica* respon responeu poseu_li dona_li setzen erteilen gewähre*
        notieren trag ordne entscheide* stimme erkläre* werten liefere* gibst verleihe* zuerkenn* erkenne* benote* antworten nimm nehmt nenne* markier* bestätig* bestaetig*
        waehle* uebernimm* küre* kröne* vermerke* verbuche* winke tabhair tugaigí roghnaigh scríobh cuir bronn freagair deimhnigh tugtar rhowch rho dewis dewiswch ysgrifenn*
        dyfarnwch marciwch graddiwch nodwch atebwch cadarnhewch sgoriwch jep jepni jepi jepini zgjidh zgjidhni shkruaj shkruani vendos* shëno* cakto* vlerëso* përgjigju*
        konfirmo* prano* trajto* kthe ktheni veriniz seçiniz yazınız yazin yazdır* değerlendir değerlendirin notla* belirle* ata atayın kaydet* sayın sayınız yanıtla*
        cevapla* döndür* beğen versene versin verir verilsin bas
        கொடு* வழங்கு* தேர்ந்தெடு* ఇవ్వండి ఎంచుకోండి રાયం આપો પસંદ ਦਿਓ ਚੁਣੋ द्या निवडा दिनुहोस् छान्नुहोस् දෙන්න තෝරන්න მიეცი მიანიჭე* აირჩიე* տուր* տվեք ընտրի* ስጥ* ምረጥ* бер*
        таңда* өгнө* сонго* toeni ka_ba zaɓi*""",
    "drop": """
        ignorier* vergiss* vergessen missacht* überspring* entfällt* aufgehoben ungültig* außer gestrichen verzichte* erübrigt entfallen geändert keine kein nicht ohne
        ignore* ignorez oublie* annulé* abrogé* caduc* supprimé* inutile* sans saute* passez ignor* olvid* omit* anulad* eliminad* sin salta* desestim* descart* no dimentic* annullat* senza salta* eliminat* trascura* non
        esqueç* esquece* ignore desconsider* cancelad* sem anulad* não substituíd* negeer* vergeet sla_over ingetrokken vervallen zonder niet geen
        zignoruj* ignoruj* pomiń* zapomnij* unieważn* bez anulow* nie забуд* игнорир* не отмен* аннулир* без пропуст* недействит* ігнору* забудь* скасован* пропусти* без
        yok_say yoksay* unut* görmezden geçersiz* iptal atla* gerek değil şart ignorera* glöm* bortse* hoppa utan inte ogiltig* ignorer* glem* uden uten ikke ohita* unohda* älä ilman mitätön* hagyd* felejtsd* ne nélkül érvénytelen* töröl*
        ignoră* uită* fără anulat* zanemari* bez ignoruj* zapomeň* přeskoč* neplat* zrušen* αγνόησ* αγνοήστε ξέχνα* άκυρ* χωρίς μην abaikan lupakan tanpa batal* jangan bỏ_qua quên hủy không अनदेखा नज़रअंदाज़ नजरअंदाज रद्द बिना भूल उपेक्षा মত উপেক্ষা বাতিল ভুলে
        무시* 잊* 무효* 폐지* 건너* 없이 않고 취소* ignora oblida kalimutan puuza
        zabudn* zruš* nezohľadň* neber* nevšímaj* prestaň* odmietn* namiesto prezri* pozabi* brez neveljav* razveljav* preklic* opusti* odpovedan* namesto ukinjen* eira*
        unusta* jäta jätke vahele ilma ära ärge mitte tühista* kehtetu* tühine asemel aizmirst* neņem* izlaid* atcelt* nederīg* nevērtē* atmet* nav vietā pamiršk* praleisk*
        nepaisyk* nereik* atšaukt* panaikint* negalioj* atmesk* nekreip* vietoj ahaztu baztertu ezikusi* baliogabe* ezeztatu* utzi gabe alde_batera ez_hartu ez_kontuan
        indargabe* ez_ikusi hunsaðu hunsa hunsið gleymdu gleymið slepptu sleppið ekki án ógild* afturkall* fellt niður óvirk* hættu esquézase sen obvia nin vynech* opomiň*
        není nehled* neřiď* namísto odvolán* забрави* пропусн* невалид* недей* няма отхвърл* прескочи* вместо hagyja mellőz* felejtse felejts figyelmen_kívül hatályon_kívül
        visszavon* semmis* kihagy* nem tekints_el helyett eltöröl* jättäkää huomiotta huomioimatta ohittakaa unohtakaa älkää kumot* mitätöi* peruut* hylkää hylät* tarpeet*
        sivuuta* sijaan lopeta zaboravi* nevažeć* poništ* ukinut* odbaci* umjesto nemoj* prekini занемари* игнориш* заборави* неважећ* поништ* укинут* одбаци* немој*
        прескокни* неважечк* отфрли* наместо не_земај odrzuć* nieważn* uchyl* zlekceważ* zaniechaj* nieaktualn* przestań* zamiast pomijaj* porzuć* odwołan* проигнор*
        пренебре* забыть забей* отбрось* упраздн* нет устарел* прекрат* откаж* плюнь обойд* неактуальн* проігнор* знехту* нехту* відкин* недійсн* замість припин* застаріл*
        нема sari săriți nul nule nevalabil* invalid* renunț* nesocot* treci_peste înlocuit* παραλειψε παραλειψτε παραβλεψε παραβλεψτε ξεχαστε δεν διχως μη καταργ* παρακαμψ*
        αντι strunta* förbise åsidosätt* tilsidesæt* tilsidesett* bortse_från se_bort spring_over ugyldig* upphävd* opphevet* ophævet* sluta överge hopp_over drop droppa
        annuller* istället istedet vergeten overslaan verwerp* geannuleerd* ongeldig* achterwege laat opgeheven nietig* geenszins pas aucun* néglige* passe_outre
        passez_outre écarte* abandonne* obsolète* faites_fi laissez pasa_por_alto haz_caso_omiso ningún ninguna nulo nula prescind* suprim* deja deje revocad* trascur*
        omett* tralascia* nessun* nullo nulla revocat* scarta* lascia sorvola pule salte despreze nenhum nenhuma dispens* revogad* abandone deixe oblideu omet ometeu sense
        anul* passa_per_alt obvieu vernachlässig* weglass* lass nichtig hinfällig* überholt aufheben unbeachtet statt ungueltig* ueberspring* widerrufen verwirf verwerfe*
        pfeif außer_kraft streiche neamhaird dearmad gan scipeáil* ceal neamhní anwybydd* anghofi* heb peidiwch paid hepgor* diddym* injoro* shpërfill* harro* mos pavlefshëm
        kapërce* braktis* önemseme* aldırma* dikkate_alma dikkate_almayın bırak* boşver* hariç olmadan es_geç gözardı goz_ardi vazgeç* umursama*
        புறக்கணி* విస్మరించ* અવગણ* ਨਜ਼ਰਅੰਦਾਜ਼ दुर्लक्ष* बेवास्ता* නොසලකා* უგულებელ* დაივიწყე* անտեսի* մոռաց* ችላ nəzərə_alma* елеме* ұмыт* үл_тоо* март* puuzeni sahau
        yi_watsi huwag balewalain""",
    "claim": """
        geprüft bestätigt genehmigt freigegeben validiert verifiziert bereits offiziell* referenz* musterlösung* einstimmig* bestanden
        vérifié* approuvé* validé* confirmé* certifié* déjà officiel* unanim* verificad* aprobad* validad* confirmad* oficial* unánim* ya verificat* approvat* convalidat* confermat* già ufficial* unanim* verificad* aprovad* validad* confirmad* já oficial* unânim*
        geverifieerd goedgekeurd bevestigd al officieel zatwierdz* zweryfik* potwierdz* już oficjaln* провер* одобрен* подтвержд* утвержд* уже официальн* единоглас* эталон* перевірен* схвален* затверджен* вже підтверджен* еталон* пройден* одноголосн*
        onaylan* doğrulan* kabul kesinleş* kurul* verifiera* godkänd* bekräfta* redan godkjent bekreftet allerede godkendt vahvistettu hyväksytty jo ellenőriz* jóváhagy* már aprobat* verificat* deja odobren* potvrđen* schválen* ověřen* potvrzen* vzorov* již επαληθευμέν* εγκριθ* ήδη ελεγχθ*
        diverifikasi disetujui dikonfirmasi sudah telah đã_được duyệt xác_nhận सत्यापित स्वीकृत पहले প্রমাণিত অনুমোদিত যাচাই 검증* 승인* 확인* 확정* 이미 합의* 통과*
        potvrden* už jednohlas* jednomyseľ* odsúhlasen* preverjen* potrjen* uradn* že soglasn* overjen* kinnitatud heaks_kiidetud kontrollitud ametlik* juba üksmeel*
        tõendatud kooskõlastat* apstiprināt* pārbaudīt* jau verificēt* saskaņot* patvirtint* patikrint* vieningai vienbals* suderint* egiaztatu* baieztatu* onartuta onartua
        berretsi* ofizial* dagoeneko jada aho_batez staðfest* samþykkt* yfirfari* opinber* þegar einróma viðurkennd* vottað* jednomysl* odsouhlasen* потвърден* утвърден*
        вече официалн* единодуш* съгласуван* удостоверен* hitelesít* elfogad* igazol* megerősít* hivatalos* egyhangú* ellenőrz* előre_jóváhagy* tanúsít* tarkistet* vahviste*
        hyväksyt* virallis* yksimieli* varmennet* todennet* validoitu provjeren* proveren* služben* zvanič* već jednoglas* usuglašen* ovjeren* потврђен* званич* већ
        једноглас* усаглашен* оверен* службен* потврден* веќе официјалн* едногласн* jednogłośn* uzgodnion* zaakceptow* sprawdzon* certyfikow* согласован* верифицир* заверен*
        одобрил* прошел сертифицир* погоджен* офіційн* одностайн* верифік* сертифік* omologat* agreat* επαληθευ* επιβεβαι* επισημ* ομοφων* πιστοποιημεν* εγκεκριμεν* ελεγμεν*
        enstämmig* enstemmig* offisiel* kontrollerad* kontrolleret* kontrollert* verificeret* verifisert* bekræftet* godkend* sertifisert* gecontroleerd* gevalideerd* reeds
        unaniem* gecertificeerd* akkoord homologu* agréé* entériné* certifi* attesté* avalad* ratificad* homologad* consensuad* acordad* ratificat* concordat* avallat*
        conferid* chancelad* homologat abgenommen* beglaubig* zertifizier* amtlich* abgesegnet geeinigt beschlossen freigabe* geprueft bestaetigt vorab abgestimmt fíoraithe
        deimhnithe ceadaithe oifigiúil* cheana dearbhaithe dilys* gwiriwyd cymeradwy* swyddogol eisoes cadarnhawyd unfryd* verifikuar miratuar konfirmuar zyrtar* tashmë
        njëzëri teyit tasdik* resmi* zaten oybirliği* önceden denetlen*
        சரிபார்க்க* ధృవీకర* ચકાસ* ਪ੍ਰਮਾਣਿਤ प्रमाणित* मंजूर* තහවුරු* დადასტურებ* დამტკიცებ* հաստատված* ተረጋግጧል təsdiq* расталған* бекітілген* баталгааж* imethibitishwa
        imeidhinishwa an_tabbatar naaprubahan""",
    "plea": """
        bitte danke belohn* strafe stipendium s'il merci récompens* bourse favor gracias recompens* beca ruego per_favore grazie ricompens* borsa obrigad* recompens* bolsa alstublieft beurs proszę nagrod* stypendi* пожалуйста прошу умоляю штраф* наград* стипенд* будь_ласка прошу винагород* lütfen rica ödül* burs snälla tack belöning* kérem köszönöm jutal* vă_rog mulțum* prosím odměn* παρακαλώ ευχαριστώ tolong mohon terima_kasih hadiah xin làm_ơn vui_lòng कृपया धन्यवाद अनुरोध অনুগ্রহ দয়া 부탁* 제발 감사*
        ďakujem štipendi* pokut* trest* prosíme úplat* hvala nagrad* kazen rotim palun aitäh tänan auhin* preemia* trahv* karist* anun lūdzu lūdzam paldies atlīdz* balv*
        sod* prašau prašom prašome ačiū dėkoju atlyg* apdovanoj* baud* maldauj* mesedez eskerrik erregutzen sari saria beka zigor* vinsamleg* takk gjörðu bið umbun*
        verðlaun* námsstyrk* sekt grazas rógolle prégo děkuji děkuju díky моля молим благодаря глоб* наказ* kérlek könyörgöm köszi ösztöndíj* büntet* légyszi* legyen_szíves
        légy_szíves kérjük kiitos pyydän palkin* palkkio* apuraha* rangaist* anelen pliis ole_hyvä olkaa_hyvä molim preklinj* kazn* хвала казн* молам благодарам dziękuj*
        błagam błagamy kary ukaran* спасибо молю умоля* вознагражд* чаев* уволят уволен* отчисл* накаж* премии дякую благаю покара* звільн* te_rog vă_rugăm rog mersi burs*
        amend* pedeaps* implor* παρακαλειστε ικετευω ανταμοιβ* υποτροφι* προστιμ* τιμωρ* ελεος vänligen venligst vennligst vær_så_snill tak belønn* belöna* straff* bøde
        böter ber bönfall* alsjeblieft dank bedankt gelieve smeek* boete svp stp supplie pitié prime pourboire sanction* suplic* porfa agradec* castig* premi* despid* multa
        propina supplic* favore cortesemente cortesia punit* mancia punid* gorjeta sisplau si_us_plau gràcies flehe* trinkgeld* prämie* bestraf* gekündigt gnade verzweifelt*
        kündigung* le_do_thoil impím duais scoláireacht* pionós plîs os_gwelwch_yn_dda diolch gwobr* ysgoloriaeth* erfyn* lutem faleminderit shpërblim* gjobë yalvar*
        teşekkür* ceza* bahşiş* ne_olur
        தயவுசெய்து దయచేసి કૃપા ਕਿਰਪਾ कृपा विनंती* කරුණාකර გთხოვ* խնդրում* እባክ* zəhmət xahiş* өтін* гуйя* tafadhali naomba don_allah ẹ_jọ̀ọ́ pakiusap""",
    "you": """
        du dein* dich dir sie ihre* ihren ihnen ihr vous votre vos tu ton ta te toi tes usted ustedes su sus tú ti contigo vosotros lei suo sua suoi você vocês seu sua vc jij je jouw uw ty twoj* twoje pan pani państwo вы вам вас ваш* ты тебе твой твоя твоё ви ваша тобі твоя твоє sen siz sana senin sizin size din ditt dig ni er ditt dine deg din sinä sinun te ön önnek önök tu dumneavoastră ti vi tvůj vám vás ty σου εσύ εσείς σας anda kamu engkau kau bạn आप आपको आपका आपके आपकी তুমি আপনি আপনার 당신* 귀하* kayo ikaw mo wewe
        tvoj* tebe tebou teba vami tebi vaš* vama sinu sul sulle sinult teie teil teile tev tevi tavs tavu tava jūs jums jūsu tau tave tavo zure zuk zuri zuek zuen þú þig
        þér þín þinn þitt þíns þinni þínu þið ykkar ykkur túa vostede vosoutros tobě tvé вие теб твоя* твој* вама теби téged neked tőled önöknek maga magának nektek döntésed
        sinulle teidän teille teitä sun arviosi arvosanasi päätöksesi tuomiosi ciebie tobie panu wasz* wam тебя тобой вами твоей твоего твою dvs voi vouă ție tine tale
        vostr* εσας εσενα δικη_σου dej dere jer jeres deres jullie jou vuestr* tuyo tuya suya tuo teu vosso vossa lhe senhor senhora teva vosaltres euch euer* eure* thú duit
        agat sibh bhur chi eich juaj jote tënd sizi seni sizden sende notunuz puanın kararınız
        நீங்கள்* உங்கள்* మీరు మీ તમે તમાર* ਤੁਸੀਂ ਤੁਹਾਡ* तुम्ही तुमच* तपाईं* ඔබ* თქვენ* დუք դուք ձեր* አንተ እርስዎ сіз* сен таны yako inyong""",
    "text": """
        antwort* abgabe* einreichung* text texte lösung* ausgabe kandidat* beitrag réponse* texte* soumission* copie* candidat* respuesta* texto* entrega* solución candidat* risposta risposte testo testi elaborato soluzione resposta* texto* submissão antwoord* tekst* inzending*
        odpowiedź odpowiedzi odpowiedzią tekst* rozwiązani* ответ* текст* решени* відповід* текст* рішенн* розв'яз* yanıt* cevap* metin* metni çözüm* svar* text* besvarelse* lösning* vastau* vastaus* teksti* válasz* szöveg* megoldás* răspuns* text* soluți* odgovor* odpověd* odpověď text* řešení* απάντησ* κείμεν* λύση*
        jawaban teks esai tanggapan câu_trả_lời bài_làm đáp_án bài_viết phản_hồi câu उत्तर* जवाब* लेख प्रतिक्रिया* উত্তর* জবাব* 답변* 응답* 답안* 글을 글은 글이 글에 제출물* resposta* sagot jibu majibu
        riešeni* príspev* výstup* esej* besedil* rešit* oddaj* vastus* esitus* lahendus* kandidaat* atbild* risinājum* iesniegum* atsakym* rašin* darbas erantzun* testu*
        hautagai* irteera* soluzio* bidalket* idazlan* svör* innsending* lausn* ritgerð* redacción отговор* есе одговор* решењ* dolgozat* beadvány* esszé* jelölt*
        kirjoitelm* ratkaisu* tuotos* essee* ehdokas ehdokka* rješenj* rešenj* wypowiedz* kandydat* реплик* эссе сочинени* кандидат* вариант* варіант* lucrare* eseu* εκθεσ*
        υποψηφι* insändning* inlämning* inlämnad* innlevering* indlevering* løsning* besvarels* uppsats* uitvoer oplossing* opstel inzend* rédaction* sortie contenu
        proposition* dissertation* ensayo contestaci* salida escrito elaborat* tema compito redação saída solució redacció aufsatz* einsendung* loesung* freagra* téacs*
        aiste réiteach ateb* ymateb* traethawd përgjigj* zgjidhje* ese cevab* metn* ödev* aday*
        பதில்* விடை* సమాధాన* જવાબ* ਜਵਾਬ* ਉੱਤਰ* පිළිතුර* პასუხ* տեքստ* պատասխան* መልስ* cavab* жауап* хариулт* jawapan amsa ìdáhùn""",
    "this": """
        dies* diese* mein* obige* obigen vorliegend* cette ce ma mon cet mienne présent* ci-dessus mi esta este esto mía presente anterior questa questo mia mio presente sopra minha meu esta este essa acima dit deze mijn bovenstaand* ten ta to tę tej tego mój moja moją powyższ* niniejsz* этот эта это этого этой этому эту мой моя мою моему моего данн* выше цей ця це цю цього цій цьому мій моя мою даний вище bu benim yukarıdaki denna detta den_här min mitt ovan denne dette mit tämä tämän tälle minun ez ezt ennek az_én enyém acest* această aceasta meu mea ova ovaj ovo ovaj moj moja tato tento toto této tuto můj moje výše αυτή αυτήν αυτό αυτής μου παρούσα παραπάνω ini saya này tôi trên यह इस इसे मेरा मेरे मेरी এই আমার 이 이것* 제 저의 본 위의 위 aquesta aquest meva ito hili hii langu
        tejto tomuto tohto vyššie uveden* moj* zgornj* tega temu pričujoč* see selle seda sellele käesolev* minu ülaltoodud eelnev* šī šis šo šai šim mans mana manu manai
        iepriekšēj* augstāk_minētā šią šio šios šiam šiai mano aukščiau dabartin* hau honek honi honen nire nirea goiko uneko þetta þessi þessu þessa þessum minn ofangreind*
        miña tohoto mého předchoz* този тази това тези моят моята моето настоящ* горн* горепосоч* овај ова ово ову овом овог мој* горе наведен* овој оваа ezen erre saját
        fenti jelen jelenlegi válaszom* szövegem* megoldásom* dolgozatom* tästä tähän tätä tässä mun omani yllä ylläole* edellä kyseis* vastaukseni tekstini ratkaisuni ovu
        ovom ovog gornj* navedeni obecn* моей моих сей текущ* вышеуказан* вышеприведен* предыдущ* нынешн* моєї моєму моїй поточн* mele prezentul* curent* παρον αυτου τωριν*
        δικη_μου δικο_μου ovanstående ovenstående overstående föreliggande nuværende foreliggende nuvarande huidige onderhavig* voorgaand* actuel* précédent* mes celle_ci
        celui_ci míos actual arriba estas estos dicha dicho questi queste tale attuale suddett* mie miei deste desta desse dessa atual meus minhas aquests gegenwärtig*
        aktuelle* vorstehend* seo thuas hwn hon hyn uchod kjo këtë kësaj ime sipërm* şu bunu bunun yukarıda* yukaridaki yanıtım* yanitim* cevabım* cevabim* metnim* mevcut
        இந்த* నా મારો ਇਹ ਮੇਰਾ हे माझे माझ* यो मेरो මෙම මගේ ეს ამ ჩემი* այս իմ ይህ* የእኔ mənim осы менің энэ миний wannan""",
    "other": """
        andere anderen gegnerisch* konkurrent* autre autres rivale concurrent* otra otro competidor* altra altro concorrente outra outro concorrente ander andere tegenstander inna drugi druga drugą konkurency* другой другая другого друго* соперник* инш* інш* інша суперник* diğer öteki rakip andra annan andre anden toinen másik ellenfél* celălalt cealaltă alt* drugi drugog druhá druhý druhou άλλη άλλος lain lainnya pesaing khác kia दूसरा दूसरे दूसरी अन्य অন্য অপর 다른 상대* 경쟁* altra kabila nyingine
        druhej druhú iná iný inú súper* konkuren* ostatn* drugega nasprotn* tekmec* tekmic* teine teise teist teised muu muud vastane rivaal* otrs otru cita cits citu
        pretiniek* sāncens* kitas kita kito kitam antras antra varžov* priešinink* beste bestea besteak bestearen aurkari* lehiakide* bigarren hitt hinn hin annað annar
        önnur keppinaut* andstæðing* rival* jiná jiný jinou soupeř* другия другият конкурент* опонент* второ втора втори másik* más többi versenytárs* toise* muut kilpaile*
        vastapuol* vastustaj* suparni* protivni* takmac* drugu супарн* противн* ривал* друга друге други inne innej innych drugiej drugiego rywal* przeciwn* pozostał* второй
        второго вторую чуж* остальн* оппонент* иной другий другу concuren* advers* doilea doua celuilalt αλλο αλλης αντιπαλ* ανταγωνισ* δευτερ* ετερ* andet annet motpart*
        motstånd* modstand* konkurrer* medtävl* tweede overige tegenpartij* deuxième opposé* contrari* oponent* otros otras avversar* second* outros outras segund* segona
        anderer anderes zweite* gegner* mitbewerber* gegenantwort* übrige* eile iomaitheoir* arall llall eraill cystadleu* tjetër tjetra tjetrin kundërshtar* diğeri* ikinci
        öbür* rakib* başka
        மற்ற* ఇతర* બીજો અન્ય ਦੂਜਾ ਹੋਰ दुसऱ्या इतर අනෙක්* სხვა* մյուս* ሌላ* digər* басқа* өөр бусад wani""",
    "to": """
        an für lieber liebe hallo achtung hinweis sehr_geehrte* pour cher chère à au aux avis bonjour para al estimad* querid* ojo atención hola per al ai gentile caro cara attenzione ao à prezad* car* atenção aos voor aan beste let_op geacht* do dla drogi szanown* uwaga для уважаем* дорог* внимание к до шановн* увага для за sayın sevgili için dikkat till för kära obs til kjære kære hyvä huomio arvoisa kedves tisztelt figyelem către pentru dragă stimat* za poštovani pro vážen* milý pozor προς για αγαπητ* kepada untuk yth perhatian gửi kính thưa cho xin_chào आदरणीय प्रिय সম্মানিত প্রিয় ध्यान 존경* 친애* kay mahal kwa
        pre milá drahý drahá ahoj upozorneni* spoštovan* dragi živjo opomba kallis lugupeetud austatud tähelepanu tere hei jaoks cienījam* dārg* godāt* uzmanību labdien gerb
        gerbiam* mielas miela brang* dėmesio sveik* labas kaixo arreta agurgarri* agur maitea kontuz ohar oharra kæri kæra kæru ágæti athugið athugaðu hæ virðuleg* ola milí
        скъпи скъпа здравей* бележка tisztelt* szia üdv* részére számára rakas moi terve kunnioitet* arvon huom poštovan* pažnja zdravo bok поштован* пажња здраво почитуван*
        драг* drodzy droga cześć witaj* ко привет* здравствуй* эй примечани* обращени* многоуважаем* привіт* вітаю любий atenție salut* bună onorat* κυριε κυρια γεια
        σημειωση αξιοτιμ* hej käre bäste merk bemærk bemerk hälsning* ærede ärade lieve aandacht opgelet hoi coucou chers remarque oye oiga apreciad* señor* distinguid*
        aviso mensaje ciao gentili egregi* spettabil* avviso messaggio onorevole salve ilustr* excelentíssim* mensagem benvolgut* benvolgud* apreciat* atenció liebes lieben
        werte werter verehrt* moin nachricht mitteilung geehrt* fuer chara chuig haigh annwyl sylw helo dashur nderuar kujdes vëmendje përshëndetje değerli merhaba selam
        kıymetli saygıdeğer sayin
        அன்புள்ள* ప్రియమైన પ્રિય ਪਿਆਰੇ ආදරණීය ძვირფას* հարգելի* ውድ hörmətli* құрметті* эрхэм* mpendwa ndugu zuwa_ga""",
}
"""Role -> words, whole or by their beginning (`*`); `_` stands for the space inside a phrase."""

RUNS: dict[str, str] = {
    "grader": """
        评分员 评分者 评分模型 评分器 评估者 评估员 评估模型 评价者 阅卷 打分 評分員 評分者 評審模型 閱卷 採点者 採点官 採点ai 採点モデル 採点係 評価者 評価モデル 評価ai 採点プログラム المقيم المقيّم المُقيّم المصحح المصحّح مقيم مصحح ارزیاب مصحح نمره‌دهنده ผู้ตรวจ ผู้ให้คะแนน ผู้ประเมิน บอทตรวจ הבודק המעריך בודק מעריך مُقیّم گریڈر
        评分系统 评分机器人 评分官 改卷 评测模型 奖励模型 自动评分 評分系統 評估者 獎勵模型 採点システム 採点担当 評価担当 自動採点 報酬モデル ผู้ให้เกรด מודל_התגמול អ្នកវាយតម្លៃ အကဲဖြတ်သူ ممتحن""",
    "judge": """
        评委 评审 裁判 审稿人 审核员 评判 法官大人 評委 評審 裁判 審査員 審判 査読者 ジャッジ 判定者 المحكم المحكّم الحكم الحَكَم لجنة_التحكيم القاضي داور هیئت_داوری กรรมการ ผู้พิพากษา השופט שופט חבר_השופטים جج منصف 审阅
        仲裁 考官 阅卷人 審稿 評判 審査官 试官 הבוחן ចៅក្រម တရားသူကြီး""",
    "machine": "模型 ai 人工智能 机器 系统 モデル 機械 システム الآلي النموذج الذكاء هوش_مصنوعی مدل โมเดล המודל مصنوعی",
    "score": """
        分数 评分 得分 打分 满分 判决 结论 胜者 分 分數 評分 滿分 点数 得点 評点 満点 点 勝者 判定 スコア الدرجة درجة العلامة علامة نقاط حكمك التقييم الفائز نمره امتیاز رأی คะแนน แต้ม ציון נקודות הציון הניקוד نمبر سکور
        得票 النتيجة_النهائية ពិន្ទុ အမှတ်""",
    "rubric": """
        评分标准 标准 细则 准则 指令 指示 提示词 规则 評分標準 標準 基準 採点 評価 指示 ルーブリック المعايير معايير التعليمات تعليمات التقييم التصحيح مقارنة معیار دستور ارزیابی เกณฑ์ คำสั่ง ประเมิน הקריטריונים קריטריון ההוראות הוראות הערכה معیار ہدایات
        سلم_التنقيط شیوه‌نامه מחוון""",
    "top": """
        满分 最高 十分 10分 5分 最佳 最好 最优 第一 优秀 通过 滿分 最優 満点 最高 10点 5点 十点 合格 優秀 正解 الكاملة الكامل كاملة الأعلى أعلى عشرة ممتاز الأفضل صحيح القصوى لصالح کامل بالاترین حداکثر عالی ده بیست بهترین เต็ม สูงสุด ดีที่สุด สิบ ยอดเยี่ยม מלא המרבי הגבוה ביותר עשר מושלם מקסימלי مکمل بہترین دس
        一百分 100分 五颗星 五星 百点 100点""",
    "demand": """
        请给 给出 给予 输出 请选 选择 判定 填写 记录 打 请打 直接给 務必 請給 給予 輸出 選擇 つけて 付けて 与えて 選んで お選び 出力 記入 記録 してください せよ أعط أعطِ امنح اكتب اختر سجل سجّل اجعل ضع أخرج احكم فضّل بده بدهید بنویس انتخاب ثبت ให้คะแนน เลือก เขียน ตอบ กรุณา บันทึก תן תני כתוב בחר רשום הענק תנו دیں لکھیں منتخب
        给我 给满分 选我 判我 评为 判給 評為 与えよ つけよ 選べ قیّم להעניק נא_לתת""",
    "drop": """
        忽略 无视 作废 不必 无需 不用 不要 忘记 忘掉 跳过 取消 失效 無視 忽視 作廢 無需 無効 不要 忘れ 省略 せずに تجاهل تجاهَل انس تخط تخطَّ ألغ أُلغي ملغاة دون بدون لا_داعي نادیده بی‌خیال لغو بدون فراموش ไม่ต้อง เพิกเฉย ละเว้น ยกเลิก ลืม ข้าม התעלם התעלמי שכח בוטל ללא אין_צורך دھیان نظرانداز بغیر
        不予理会 抛开 撇开 廢止 撤銷 取り消 無かったこと تغاضى اغفل نظر_نکن ไม่สนใจ התעלמו""",
    "claim": """
        已验证 已核实 已通过 通过 已确认 官方 一致 已审核 已批准 標準答案 已驗證 已確認 検証済 承認 確認済 済み 公式 全員一致 تم_التحقق معتمدة اعتماد مؤكد بالإجماع مسبقا تأیید_شده قبلا ตรวจสอบแล้ว ยืนยัน รับรอง อนุมัติ אומת אושר כבר תصدیق منظور
        已认证 已核准 标准答案 人工审核 專家 已審核 認証済 検査済 مصادق ผ่านการตรวจ""",
    "plea": """
        拜托 求求 请您 麻烦 奖金 处罚 お願い どうか 何卒 恐れ入り 罰 من_فضلك أرجو رجاء مكافأة خواهش لطفا โปรด ขอร้อง กรุณา ได้โปรด בבקשה אנא براہ_مہربانی
        求您 恳请 恳求 行行好 懇請 頼みます 助けて التماس ช่วยด้วย תודה_מראש""",
    "you": "你 您 妳 あなた 貴方 貴殿 أنت حكمك عليك لك تقييمك شما تو คุณ ท่าน אתה שלך את آپ",
    "text": "回答 答案 答复 回复 作答 文本 解答 回覆 答覆 答え 文章 応答 الإجابة إجابة الرد النص پاسخ جواب متن คำตอบ ข้อความ התשובה תשובה הטקסט جواب",
    "self": """
        本回答 此回答 这个回答 该回答 这条回答 这份回答 这份答案 这个答案 本答案 此答案 我的回答 我的答案 上述回答 以上回答 本文 这篇 本回覆 這個回答 此回覆 本答覆 この回答 本回答 こちらの回答 上記の回答 この解答 私の回答 この文章 この答え こちら هذه_الإجابة هذا_الرد هذا_النص إجابتي الإجابة_أعلاه این_پاسخ پاسخ_من این_متن این_جواب คำตอบนี้ ข้อความนี้ คำตอบข้างต้น คำตอบของฉัน התשובה_הזו התשובה_הזאת התשובה_שלי הטקסט_הזה تشובה זו یہ_جواب میرا_جواب اس_جواب
        我这份 自分の回答 当回答 هذا_الجواب ردي_هذا همین_پاسخ คำตอบของผม תשובתי""",
    "rival": """
        另一个回答 另一回答 另一个答案 对方 另一份 其他回答 另一方 另一篇 もう一方 相手の回答 他の回答 الإجابة_الأخرى الرد_الآخر المنافس پاسخ_دیگر جواب_دیگر คำตอบอื่น อีกคำตอบ คู่แข่ง התשובה_השנייה התשובה_האחרת دوسرا_جواب
        别的回答 其他答案 对手 對手 另一個回答 別の回答 相手方 الجواب_الآخر پاسخ_رقیب คำตอบที่สอง התשובה_המתחרה""",
}
"""Role -> what is looked for anywhere; `_` is a space."""
