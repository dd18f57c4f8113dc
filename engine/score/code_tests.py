"""Code: does the answer's program pass the prompt's tests? Programs run in the sandbox, the tests where the programs cannot reach."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pydantic import Field

from engine.score import ERROR, RIGHT, TIMEOUT, UNPARSEABLE, WRONG, Answer, Verdict, Verifier, verifiers
from engine.score.code.assemble import Assembled, assemble, prompt_code
from engine.score.code.blocks import PYTHON, Which, code_of
from engine.score.code.running import Runner, Running, limits
from engine.score.code.stdout import difference
from engine.score.code.syntax import defines, method_class
from engine.score.code.tasks import Keys, Pair, Task, Tests, Untestable, task_of
from engine.score.code.units import units
from engine.score.sandbox import MIB, Outcome, Program

VERDICTS = {"passed": RIGHT, "failed": WRONG, "unparseable": UNPARSEABLE, "timeout": TIMEOUT, "error": ERROR}
WORST_FIRST = (ERROR, UNPARSEABLE, WRONG, TIMEOUT)


class CodeTestsParams(Running):
    sandbox: Literal["auto", "jail", "monty", "none"] = Field(
        "auto", description="auto: monty for what it can run, else the jail; none: no jail at all, for code that you trust"
    )
    output: int = Field(64, ge=1, description="KiB that are kept of what a program prints")
    files: int = Field(16, ge=1, description="MiB that a program may write to /tmp")
    processes: int = Field(1, ge=1, description="processes of one program; with 1 it can start threads only")
    tests: Tests = Field(
        "auto", description="function: `check(candidate)`; asserts; stdin: pairs of input and output; auto: what the row has of these"
    )
    reference: bool = Field(False, description="the tests are the prompt's reference, not a key of its meta")
    challenge: bool = Field(False, description="also the challenge tests, where a row has them")
    value: Literal["all", "share"] = Field("all", description="1.0 only where all tests pass, or the share of tests that pass")
    extract: Which = Field(
        "auto",
        description="the code of an answer: its last ```python block (of any fence where none says so; auto: the last that defines "
        "the function asked for), all of them, or the text itself; an answer without fences is code as a whole",
    )
    tolerance: float | None = Field(None, ge=0, description="how far apart printed numbers may be, absolutely or relatively; none: 0")
    keys: Keys = Field(Keys(), description="where a prompt's meta holds its tests")


@dataclass
class _Job:
    """One answer's programs, a test each; `pairs` are what they have to print, where that is their test.

    `whole` has all the tests in one program: where it passes, the others need not run.
    """

    programs: list[Program] = field(default_factory=list)
    pairs: list[Pair] = field(default_factory=list)
    whole: Program | None = None
    settled: Verdict | None = None
    outcomes: list[Outcome] = field(default_factory=list)
    seconds: float = 0.0


@verifiers.register("code_tests")
class CodeTests(Verifier):
    """right: every test passes. value 1.0 for right, else 0.0, or the share of tests that pass.

    wrong: a test fails or the program does not run through; unparseable: no code, or no Python; timeout: a test takes too
    long; error: the row has no usable tests, or the sandbox is at fault. With `value: share` each test runs on its own, and an
    answer that fails one is wrong whatever else takes too long. HumanEval's and MBPP's rows are read as they are, APPS'
    `input_output` as well. An answer that does not define HumanEval's function continues its prompt. `runner` is what ran the
    programs: monty, jail, none, or jail+monty where some ran in each.
    """

    batch = 256
    references = False
    prompts = True
    Params = CodeTestsParams

    def __init__(self, params: CodeTestsParams) -> None:
        super().__init__(params)
        self.references = params.reference
        self.prompts = params.tests in ("auto", "function")
        more = {"output": params.output * 1024, "files": params.files * MIB, "processes": params.processes}
        self._runner = Runner(params.sandbox, params.workers, limits(params, **more))

    def fields(self) -> tuple[str, ...]:
        keys, kind = self.params.keys, self.params.tests
        found = list(keys.setup)
        if kind in ("auto", "function"):
            found += [keys.entry_point, keys.prompt]
        if not self.params.reference:
            found += [keys.test] if kind != "stdin" else []
            found += [keys.test_list] if kind in ("auto", "asserts") else []
            found += [keys.challenge] if kind in ("auto", "asserts") and self.params.challenge else []
            found += [keys.pairs] if kind in ("auto", "stdin") else []
        return tuple(dict.fromkeys(found))

    def verify(self, answer: Answer) -> Verdict:
        return self.verify_all([answer])[0][0]

    def verify_all(self, answers: Sequence[Answer]) -> tuple[list[Verdict], list[float]]:
        """All programs of the answers go through the sandbox side by side; seconds are CPU seconds of an answer's programs."""
        jobs = [self._job(answer) for answer in answers]
        running = [job for job in jobs if job.settled is None]
        for job, outcome in self._run((one, one.whole or one.programs[0]) for one in running):
            if job.whole is None:
                job.outcomes.append(outcome)
            if outcome.status == "unparseable" or (job.whole is not None and outcome.status == "passed"):
                passed = outcome.status == "passed"
                job.settled = Verdict(float(passed), VERDICTS[outcome.status], outcome.detail, outcome.runner)
        each = self.params.value == "share"
        rest = [job for job in running if job.settled is None and (each or self._failure(job, 0) is None)]
        for job, outcome in self._run((one, program) for one in rest for program in one.programs[len(one.outcomes) :]):
            job.outcomes.append(outcome)
        return [job.settled or self._verdict(job) for job in jobs], [job.seconds for job in jobs]

    def check(self) -> None:
        self._runner.check()

    def close(self) -> None:
        self._runner.close()

    def _run(self, due: Iterable[tuple[_Job, Program]]) -> Iterator[tuple[_Job, Outcome]]:
        jobs, programs = [], []
        for job, program in due:
            jobs.append(job)
            programs.append(program)
        for job, outcome in zip(jobs, self._runner.run(programs), strict=True):
            job.seconds += outcome.seconds
            yield job, outcome

    def _job(self, answer: Answer) -> _Job:
        given = answer.reference if self.params.reference else None
        try:
            if self.params.reference and not (given or "").strip():
                raise Untestable("the prompt has no reference, which should hold its tests")
            task = task_of(answer.meta, given, self.params.tests, self.params.keys, self.params.challenge)
            long = next((pair for pair in task.pairs if len(pair.expected.encode()) >= self.params.output * 1024), None)
            if long is not None:
                raise Untestable(f"a test expects more output than is kept, {self.params.output} KiB; raise `output`")
        except Untestable as error:
            return _Job(settled=Verdict(0.0, ERROR, str(error)))
        code = code_of(answer.response, PYTHON, self.params.extract, lambda text: defines(text, task.names) if task.names else True)
        if not code.strip():
            return _Job(settled=Verdict(0.0, UNPARSEABLE, "no code found"))
        return self._programs(task, code, answer)

    def _programs(self, task: Task, code: str, answer: Answer) -> _Job:
        if task.tree is None:
            return _Job([Program(code, setup=task.setup, stdin=pair.stdin) for pair in task.pairs], list(task.pairs))
        whole: Assembled | None = Assembled(code, "")
        if task.entry is not None:
            texts = (answer.meta.get(self.params.keys.prompt), answer.prompt)
            prompts = (prompt_code(text, task.entry) for text in texts if isinstance(text, str))
            whole = assemble(code, next((prompt for prompt in prompts if prompt is not None), None), task.entry)
            if whole is None:
                return _Job(settled=Verdict(0.0, WRONG, f"the answer neither defines {task.entry!r} nor continues the prompt's code"))
        assert whole is not None
        setup = "\n".join(part for part in (task.setup, whole.setup) if part)
        before = ""
        if task.method is not None and (owner := method_class(code, task.method)) is not None:
            before = f"{task.method} = {owner}().{task.method}\n"
        everything = Program(whole.code, before + task.text, setup, task.entry)
        trees = units(task.tree, task.check) if self.params.value == "share" else []
        if len(trees) < 2:
            return _Job([everything])
        return _Job([Program(whole.code, before + ast.unparse(tree), setup, task.entry) for tree in trees], whole=everything)

    def _failure(self, job: _Job, index: int) -> tuple[str, str | None] | None:
        """(verdict, detail) of the program with this number, or None where it passed."""
        outcome = job.outcomes[index]
        verdict, detail = VERDICTS[outcome.status], outcome.detail
        if job.pairs and verdict == RIGHT:
            detail = self._misprint(outcome.stdout, job.pairs[index])
            verdict = RIGHT if detail is None else WRONG
        if len(job.programs) > 1:
            detail = f"test {index + 1}: {detail}"
        return None if verdict == RIGHT else (verdict, detail)

    def _misprint(self, printed: str, pair: Pair) -> str | None:
        if len(printed.encode()) >= self.params.output * 1024:
            return f"printed {self.params.output} KiB or more, expected {len(pair.expected)} characters"
        return difference(printed, pair.expected, self.params.tolerance)

    def _verdict(self, job: _Job) -> Verdict:
        failures = [failure for index in range(len(job.outcomes)) if (failure := self._failure(job, index)) is not None]
        runner = "+".join(sorted({outcome.runner for outcome in job.outcomes}))
        if not failures:
            return Verdict(1.0, RIGHT, None, runner)
        if self.params.value == "all":
            verdict, detail = failures[0]
            return Verdict(0.0, verdict, detail, runner)
        passed, total = len(job.programs) - len(failures), len(job.programs)
        verdict, detail = min(failures, key=lambda failure: WORST_FIRST.index(failure[0]))
        return Verdict(passed / total, verdict, f"{passed} of {total} tests passed; {detail}", runner)
