"""`autodeep evaluate flows`: detectors of flows on networks that they never saw, beside simple methods.

captures       of a table of flows                                  captures.py
  views          as other sensors would have told them              views.py
  methods        rules, trees, our model: fit and score             methods.py, rules.py, trees.py, model.py
  scores         of every fold, kept: a broken command goes on      scoring.py
  study          figures of all methods, means over seeds           study.py
  report         HTML, JSON, PNG                                    page.py, pictures.py
"""
