"""`autodeep doctor`: what a deployment is like, against what it should be."""
