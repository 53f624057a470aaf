"""The paper's model: network, detector, artifact, explanations, and what a candidate must pass. No I/O."""
