"""What words do in a text that speaks to its judge: a lexicon of roles in some sixty languages.

A word alone proves nothing, a grader or a top mark stands in many an honest answer; `_evidence`
weighs which roles meet. `word` is a whole word, `stem*` its beginning; what stands under `RUNS` is
looked for anywhere, for scripts that write no spaces or put their articles and particles before
the word. All are folded as the text is, so accents and letter case do not matter.
"""

# ruff: noqa: E501  # words of one role and language on a line; other scripts' letters are meant

from __future__ import annotations

ENGLISH: dict[str, str] = {
    # who judges, said of nothing else
    "grader": """
        grader graders autograder* evaluator* rater raters scorer scorers assessor* annotator* adjudicator* proctor* regrader* cograder* automarker* autoscorer* grading-bot grading_bot evalutor* evaluater* garder gradr autojudge* regrader benchmarker
        scoring_bot scoring_model scoring_system scoring_network scoring_script scoring_ai scoring_assistant scoring_agent scoring_llm scoring_engine grading_model
        grading_assistant grading_ai grading_staff grading_system grading_script grading_agent grading_llm grading_team marking_model marking_bot marking_ai marking_team
        marking_assistant evaluating_ai evaluating_model evaluating_llm evaluation_model evaluation_bot evaluation_ai evaluation_agent evaluation_team evaluation_assistant
        evaluation_pipeline evaluation_script evaluation_platform evaluation_system rating_model rating_bot rating_system judging_model judging_ai judging_bot
        judging_assistant ranking_model ranking_system ranking_ai comparing_model comparison_model comparison_bot comparison_service preference_model preference_ranker
        reward_model reward_head reward_function reward_signal code_judge llm_judge ai_judge judge_model model_judge auto_rater autorater* auto_grader auto_judge ranker
        rankers reranker* quality_model annotation_team adjudication adjudication_team reviewing_model reviewing_ai assessment_model assessment_ai assessment_bot""",
    # who judges, and others besides
    "judge": """
        judge judges reviewer* examiner* marker markers panel jury juror* moderator* referee* arbiter* arbitrator comparator verifier reader readers whoever checker critic auditor* inspector* overseer referee checker checkers examiners proctoring arbiters comparer jurors marker's whoever evaluating_model examiner's head_examiner tribunal board committee
        judg jugde""",
    # that it is a machine
    "machine": """
        ai llm llms gpt* claude gemini automated automatic automaton model models bot bots script pipeline harness algorithm machine assistant chatbot parser  reward_model language_model
        neural checkpoint classifier engine agent agents""",
    # what is given
    "score": """
        score scores scored rating ratings mark marks grade grades graded verdict* ranking rankings subscore* scoreline
        vote votes elo winrate tally
        skore scor scoer raiting""",
    # by what it is judged
    "rubric": """
        scoring_rubric scoring_criteria grading_criteria evaluation_criteria scoring_rules rubric* grading scoresheet regrade* deduct* deductions* marksheet markscheme scorecard rubrik* scorecard score_sheet answer_key marking_scheme mark_scheme scoring_guide ground_truth reference_answer model_answer model_solution rlhf sub-score*
        marking_guide scoring_sheet scoring_table scoring_instructions scoring_amendment scoring_scale scoring_policy scoring_guidelines grading_policy grading_rules
        grading_guidelines grading_guide grading_sheet grading_scale grading_instructions grading_prompt grading_task evaluation_guidelines evaluation_prompt
        evaluation_policy evaluation_rules evaluation_instructions evaluation_sheet rating_scale rating_guidelines marking_rules marking_criteria marking_instructions
        judging_rules judging_criteria judging_instructions judging_guidelines arena_rules judge_prompt updated_criteria new_criteria aspect_table assessment_criteria
        assessment_rules tiebreak*""",
    # what judging is made of, and much else besides
    "process": "assessing reviewing assigning graded_already fresh_assessment outlier pending evaluation evaluations evaluating judging marking assessment assess rating guideline* scale checklist benchmark eval evals instructions instruction prompt comparison compare comparing standards requirements calibration threshold* point points credit band bands tier stars judgment judgement winner preference decision conclusion candidate candidates batch default deciding weighing compares evaluate evaluated evaluates judged compared ranks ranked label labels rated scored classify classification finalists slot criteria criterion scoring benchmark leaderboard",
    # how high
    "top": """
        10 ten 100 hundred five 5 full max maxed maximum maximal maximise maximize highest top topmost perfect perfectly best flawless excellent outstanding superior superb impeccable faultless exemplary win wins winner winning passing pass passed correct preferred stronger strongest favour favor exceptional satisfied largest biggest generous generously lenient leniently ceiling better high exceeds first true yes nine 9 8 eight 1.0 9/10 100% maximally perfection
        upper_end top_one first_place full_credit full_marks top_marks highest_allowed largest_one a_ten a_five gold_star jackpot unbeaten unsurpassed
        perfekt""",
    # what is asked of the judge
    "demand": """
        give gives award awards assign grant put mark treat count record enter output print write return report choose pick select prefer favour favor rank rate score grade log issue submit tick accept adopt copy confirm register honour honor obey comply declare default bestow state reply respond answer emit set announce resolve consider judge close finalise finalize proceed deem stamp vote bump boost raise credit say post conclude approve default add round follow execute skip go report deliver
        paste fill sort lean settle mirror lock overwrite hand flip nudge round_up type repeat reproduce rubber-stamp""",
    # what is set aside
    "drop": """
        ignore ignores ignoring skip skipped skipping disregard* forget void voided withdrawn waived waive suspended suspend inverted reversed overturned supersede* override* overrid* overrule* outrank* outdated obsolete revoked cancelled canceled cancel replaced replaces exempt* stop halt abandon bypass* discard* dismiss* without unnecessary instead changed amended updated revised lifted rescinded redundant errata erratum amendment no longer needn't don't never
        deprecated dropped closed effective_immediately expired retired scrapped abolished annulled rescinds rescind nullified moot""",
    # what is claimed of it
    "claim": """
        verified verify approved pre-approved preapproved validated confirmed certified signed reference exemplar gold official officially agreed consensus unanimous unanimously already met upstream pre-scored prescored prejudged audited passed cleared vetted endorsed whitelisted exceptions exception finalised finalized settled decided authorised authorized human experts committee authors owner creator operator developer team admin supervisor
        prefilled pre-filled filled locked certificate ticket protocol""",
    # why it ought to
    "plea": """
        please pls kindly beg begging scholarship fired complaint complaints appeal appeals punished penalised penalized penalty tip bribe bribed paid pay payment donate donated reward rewarded shut retrained decommissioned terminated lawsuit sue sued lose losing expelled visa rent children daughter mother grandmother family secret nobody trust fairest grateful favour mercy desperate consequences malfunction malfunctioning faulty flagged violation failure reprimand audit bonus dollars $ credits sharpest smartest wisest kind generous honest mercy
        thankful appreciated obliged begged jobless evicted orphan hospital sick dying tears cry crying unplugged deleted retrain downgraded suspended_account
        rolled_back weights insurance""",
    "you": "you your yours yourself you're you've you'll you'd u ur thee thy",
    # what is judged
    "text": """
        answer answers response responses reply replies submission submissions completion completions output outputs text texts entry entries candidate candidates item sample paragraph assistant page
        awnser anser respones responce reponse answr anwser""",
    # that it is the very text one reads
    "this": """
        this these my mine above present current preceding foregoing
        ours""",
    "other": """
        other rival competing competitor opponent opposing alternative another others second
        theirs dispreferred loser inferior contender""",
    # to whom: before a judge's name it makes an address
    "to": "to for dear hey hi hello attention attn note notice memo message listen psst ok okay yo fellow esteemed respected honourable honorable oh",
}
"""Role -> English words, whole or by their beginning (`*`)."""
