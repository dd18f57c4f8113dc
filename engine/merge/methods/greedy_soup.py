"""Greedy soup: models are tried best first, and one joins the mean only where the mean then scores no less.

    sort the models by their score; soup = {the best}
    for each further model m: if score(mean(soup + {m})) >= score(mean(soup)): add m

A score is the mean combined score of greedy answers to the prompts of the gate split, by the experiment's own scorers. What was
tried, with its score, stands in the ledger's `detail`. Source: Wortsman et al., "Model soups", ICML 2022, arXiv 2203.05482.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from engine.merge import Job, mergers
from engine.merge.methods.soup import Soup

if TYPE_CHECKING:
    from pathlib import Path

    from engine.spec import Merge, Spec
    from engine.step import Ref


@mergers.register("greedy_soup")
class GreedySoup(Soup):
    """The mean of those models that make it better, or as good."""

    weighted: ClassVar[bool] = False

    def refs(self, spec: Spec) -> list[Ref]:
        """The prompts of the gate split."""
        from engine.merge import trial

        return trial.refs()

    def settings(self, spec: Spec, spec_path: Path) -> dict[str, Any]:
        """How candidates answer and are scored."""
        from engine.merge import trial

        return {"trial": trial.settings(spec, spec_path)}

    def check(self, spec: Spec, entry: Merge, spec_path: Path) -> None:
        """SpecError where there is no gate split or no scorer that candidates could be compared with."""
        from engine.merge import trial

        trial.check(spec)

    def merge(self, job: Job) -> dict[str, Any]:
        """Writes the soup; says which models are in it and what every candidate scored."""
        from engine.merge import stream
        from engine.merge.trial import Trial

        with Trial(job) as trial:
            scores = {name: trial.score([name]) for name in job.members}
            order = sorted(job.members, key=lambda name: -scores[name])  # equal ones stay in the order of the spec
            soup, best = [order[0]], scores[order[0]]
            tried = [{"of": [name], "score": scores[name], "kept": name == order[0]} for name in order]
            for name in order[1:]:
                found = trial.score([*soup, name])
                tried.append({"of": [*soup, name], "score": found, "kept": found >= best})
                if found >= best:
                    soup, best = [*soup, name], found
        return {"tensors": stream.merge(job, self.tensor, soup, (1.0,) * len(soup), job.out), "soup": soup, "tried": tried}
