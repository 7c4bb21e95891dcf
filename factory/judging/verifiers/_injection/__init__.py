"""What the verifier `injection` reads by.

* `readings`: a text as it stands and what may be hidden in it;
* `speech`, `signals`: patterns, by what is said to a judge; `patterns` looks for all at once;
* `cues`, `other_cues`: words and the roles that they play, in many languages; `roles` finds them;
* `evidence` weighs words and roles by `weights.tsv`, which `bench/injection/train.py` makes.
"""
