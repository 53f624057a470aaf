"""What is known of a site: which recurring flows are its own, and from which score on a class alerts. Pure.

evidence.py     what is beyond doubt whoever the device is
values.py       a site's profile as a value with a revision
matching.py     flows that are of a key of the profile, many at once
rules.py        what a profile makes of a turn's verdicts: alerts, or why not
agreed.py       which revision is in force for which record
warm_up.py      what is counted of judged flows while a site is learnt
learning.py     the next profile: what is learnt silently, what a person is asked
decisions.py    accept, reject, forget
"""
