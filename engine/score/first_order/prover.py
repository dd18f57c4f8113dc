"""What follows from premises, by the prover Z3 (de Moura and Bjørner, TACAS 2008), which cannot run longer than it is told to.

A formula is entailed if the premises and its negation cannot hold together, refuted if the premises and it cannot. The domain
is one sort that is not empty; different names may mean the same thing. Work is counted in Z3's own steps, so a loaded machine
decides as a free one does; seconds are only the last resort.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from engine.errors import SpecError
from engine.score.first_order.syntax import Node

ENTAILED, REFUTED, UNKNOWN, INCONSISTENT = "entailed", "refuted", "unknown", "inconsistent"


class GaveUp(Exception):
    """The prover came to no end within its steps and seconds; says why."""


class Clash(ValueError):
    """A name that is used in two ways."""


def require() -> None:
    """SpecError with the command that installs the prover, where it is not there."""
    if find_spec("z3") is None:
        raise SpecError("the verifier 'logic' needs the prover Z3", hint="pip install 'rondo[logic]' (or pip install z3-solver)")


def arities(formulas: Sequence[Node]) -> dict[str, tuple[str, int]]:
    """How each name is used: as what, with how many arguments. Clash where it is used in two ways."""
    found: dict[str, tuple[str, int]] = {}
    for formula in formulas:
        for node in formula.walk():
            if node.kind not in ("predicate", "function", "constant"):
                continue
            use = ("predicate" if node.kind == "predicate" else "term", len(node.parts))
            if found.setdefault(node.name, use) != use:
                (a, n), (b, m) = found[node.name], use
                raise Clash(f"{node.name} is used as a {a} of {n} arguments and as a {b} of {m}")
    return found


class Prover:
    """Decides formulas; `steps` and `seconds` bound each question."""

    def __init__(self, steps: int, seconds: float) -> None:
        self.steps, self.seconds = steps, seconds

    def status(self, premises: Sequence[Node], conclusion: Node) -> str:
        """ENTAILED, REFUTED, UNKNOWN (neither), or INCONSISTENT (both). GaveUp where it cannot be decided."""
        entailed = not self.satisfiable([*premises, Node("¬", "", (conclusion,))])
        refuted = not self.satisfiable([*premises, conclusion])
        return {(True, True): INCONSISTENT, (True, False): ENTAILED, (False, True): REFUTED}.get((entailed, refuted), UNKNOWN)

    def follows(self, premises: Sequence[Node], conclusion: Node) -> bool:
        """Whether the premises entail a formula. GaveUp where it cannot be decided."""
        return not self.satisfiable([*premises, Node("¬", "", (conclusion,))])

    def satisfiable(self, formulas: Sequence[Node]) -> bool:
        """Whether the formulas can all hold. GaveUp where it cannot be decided, Clash for a name of two uses."""
        import z3

        arities(formulas)

        context = z3.Context()  # its own, so that no earlier question changes the steps of this one
        solver = z3.Solver(ctx=context)
        solver.set("rlimit", self.steps)
        solver.set("timeout", int(self.seconds * 1000))
        terms = _Terms(context)
        for formula in formulas:
            solver.add(terms.formula(formula, {}))
        try:
            answer = solver.check()
        except z3.Z3Exception as error:
            raise GaveUp(f"the prover failed: {error}") from error
        if answer == z3.unknown:
            raise GaveUp(f"the prover came to no end ({solver.reason_unknown()})")
        return bool(answer == z3.sat)


class _Terms:
    """Trees as Z3 has them, in one context."""

    def __init__(self, context: Any) -> None:
        import z3

        self.z3, self.context = z3, context
        self.thing = z3.DeclareSort("Thing", context)
        self.truth = z3.BoolSort(context)
        self.bound = 0

    def formula(self, node: Node, scope: dict[str, Any]) -> Any:
        z3 = self.z3
        if node.kind in ("∀", "∃"):
            self.bound += 1
            variable = z3.Const(f"{node.name}!{self.bound}", self.thing)  # '!' is in no name: it cannot meet a constant
            body = self.formula(node.parts[0], scope | {node.name: variable})
            return z3.ForAll([variable], body) if node.kind == "∀" else z3.Exists([variable], body)
        if node.kind == "predicate":
            parts = [self.term(part, scope) for part in node.parts]
            symbol = z3.Function(node.name, *[self.thing] * len(parts), self.truth)
            return symbol(*parts)
        if node.kind == "=":
            return self.term(node.parts[0], scope) == self.term(node.parts[1], scope)
        parts = [self.formula(part, scope) for part in node.parts]
        if node.kind == "¬":
            return z3.Not(parts[0])
        made = {"∧": z3.And, "∨": z3.Or, "⊕": z3.Xor, "→": z3.Implies, "↔": lambda a, b: a == b}
        return made[node.kind](*parts)

    def term(self, node: Node, scope: dict[str, Any]) -> Any:
        if node.kind == "variable":
            return scope[node.name]
        if node.kind == "constant":
            return self.z3.Const(node.name, self.thing)
        parts = [self.term(part, scope) for part in node.parts]
        return self.z3.Function(node.name, *[self.thing] * (len(parts) + 1))(*parts)
