"""Whether judges can be trusted: agreement, bias, calibration, drift, and leaderboards.

Reads the lake through SQL, computes with the field's libraries, returns plain tables. Every rate
has an interval clustered by prompt, because two verdicts on one prompt are not two experiments.
"""
