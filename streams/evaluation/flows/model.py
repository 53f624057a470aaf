"""Our detector of flows as a method: trained anew for each fold, by the code that trains the shipped one."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable

import numpy as np

from streams.evaluation.flows.methods import Fitted, Method, Task
from streams.evaluation.flows.views import FULL, NETFLOW
from streams.model.detector import Detector
from streams.training.flow_protocol.deciding import Scores
from streams.training.flow_protocol.labelled import LabelledFlows
from streams.training.flows.fit import fit, found_by
from streams.training.flows.heads import HEADS
from streams.training.flows.material import Seen
from streams.training.flows.plan import FlowPlan


def trained(plan: FlowPlan) -> Method:
    """Of the classes' log-odds and the novelty, as they are before operating points are chosen."""
    description = (
        f"VAE and bidirectional GRU over the last {plan.window} flows, with evidence's own way to the "
        f"output; {plan.vae_steps} and {plan.classifier_steps} steps; beside it {plan.tree_rounds} trees for "
        f"each of {' and '.join(HEADS)}"
    )
    return Method(
        name="this model",
        description=description,
        fit=functools.partial(_fit, plan),
        is_seeded=True,
        has_novelty=True,
        choices=json.dumps(dataclasses.asdict(plan), sort_keys=True),
    )


def _fit(plan: FlowPlan, task: Task) -> Fitted:
    full, bare = task.learn[FULL], task.learn[NETFLOW]
    learn = np.ones(len(full), bool)
    detector = fit(Seen(full, bare), learn, dataclasses.replace(plan, seed=task.seed), _report(task))
    return functools.partial(_scores, detector)


def _scores(detector: Detector, flows: LabelledFlows) -> Scores:
    found = found_by(detector, flows, np.arange(len(flows)))
    return np.concatenate((found.scores, found.novelty[:, None]), axis=1)


def _report(task: Task) -> Callable[[str, int, int, float], None]:
    def report(phase: str, step: int, steps: int, loss: float) -> None:
        if step % max(steps // 2, 1) == 0:
            task.tell(f"seed {task.seed}, {phase}: step {step:,} of {steps:,}, loss {loss:.4f}")

    return report
