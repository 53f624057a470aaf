"""How detectors of flows are judged: whole networks left out, thresholds of the other networks, incidents.

labelled flows   of all captures, as features and classes           labelled.py
  folds            a data set or a capture left out                 folds.py
  scores           of each flow, by the model that left it out      (whoever fits models)
  verdicts         by thresholds from clean flows of other folds    deciding.py
  incidents        3 of a device's last 10 flows                    incidents.py
  figures          recall, episodes, time, false incidents          figures.py
"""
