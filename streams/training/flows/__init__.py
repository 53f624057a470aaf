"""Training a detector of flows: labelled flows in, a `Detector` of the table `flow` out.

labelled flows, as they are and as NetFlow has them      material.py
  the VAE on clean flows, the BiGRU on windows           fit.py
  thresholds on networks left out                        points.py
  the card                                               card.py
"""
