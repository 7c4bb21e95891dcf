"""Judging: verifiers, LLM judges and the paid calls they make.

A judge is a file of judges/; `verb.judge` asks it about completions and appends `judgements`. The
calls are made in `client/`, judges that run here in `local/`, programs that judge in `verifiers/`,
and several judges become one verdict in `panels/`.
"""
