"""A small integer program, solved by HiGHS. The only file that knows the solver."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .problem import Ints

Floats = NDArray[np.float64]
INFINITY: Final = float("inf")
NO_BOUND: Final = -(2**62)


@dataclass(frozen=True, slots=True)
class Limits:
    """Where the search stops. Counting nodes keeps it deterministic; the time is a safety net."""

    nodes: int = 2000
    seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one minimisation."""

    values: Ints | None
    """The best solution that was found."""
    bound: int
    """No solution is better."""
    infeasible: bool = False
    """It is proven that there is no solution."""


@dataclass(slots=True)
class Model:
    """Integer columns from ``lower`` to ``upper``, and rows."""

    lower: Ints
    upper: Ints
    _starts: list[int] = field(default_factory=lambda: [0])
    _indices: list[Ints] = field(default_factory=list)
    _coefficients: list[Ints] = field(default_factory=list)
    _low: list[float] = field(default_factory=list)
    _high: list[float] = field(default_factory=list)

    def add(
        self,
        columns: Sequence[int] | Ints,
        coefficients: Sequence[int] | Ints,
        low: float,
        high: float,
    ) -> None:
        """``low <= sum(coefficients * columns) <= high``."""
        self._indices.append(np.asarray(columns, np.int64))
        self._coefficients.append(np.asarray(coefficients, np.int64))
        self._starts.append(self._starts[-1] + len(columns))
        self._low.append(low)
        self._high.append(high)

    def minimise(self, cost: Ints, start: Ints | None, limits: Limits) -> Outcome:
        """From ``start``, a solution, if there is one."""
        for hint in (start, None):
            outcome = self._run(cost, hint, limits)
            if outcome is not None:
                return outcome
        return Outcome(start, NO_BOUND)

    def _run(self, cost: Ints, start: Ints | None, limits: Limits) -> Outcome | None:
        """None when the solver contradicts itself: HiGHS 1.16 sometimes answers with the objective of
        a better solution, but with the columns of ``start``."""
        import highspy

        solver = _silent(highspy)
        for option, value in _options(limits).items():
            solver.setOptionValue(option, value)
        solver.passModel(self._program(highspy, cost))
        if start is not None:
            hint = highspy.HighsSolution()
            hint.col_value = start.astype(float).tolist()
            solver.setSolution(hint)
        solver.run()
        outcome = _outcome(highspy, solver)
        objective = solver.getInfo().objective_function_value
        consistent = outcome.values is None or int(cost @ outcome.values) == round(objective)
        return outcome if consistent else None

    def _program(self, highspy: Any, cost: Ints) -> Any:
        program = highspy.HighsLp()
        program.num_col_, program.num_row_ = len(self.upper), len(self._low)
        program.col_cost_ = cost.astype(float)
        program.col_lower_, program.col_upper_ = self.lower.astype(float), self.upper.astype(float)
        program.row_lower_, program.row_upper_ = np.array(self._low), np.array(self._high)
        program.integrality_ = [highspy.HighsVarType.kInteger] * len(self.upper)
        matrix = program.a_matrix_
        matrix.format_ = highspy.MatrixFormat.kRowwise
        matrix.start_ = np.array(self._starts, np.int32)
        matrix.index_ = np.concatenate(self._indices).astype(np.int32)
        matrix.value_ = np.concatenate(self._coefficients).astype(float)
        return program


def _silent(highspy: Any) -> Any:
    """A solver that does not print: enabling callbacks, which are not needed here, prints a banner
    before any option can be set."""
    return type("Silent", (highspy.Highs,), {"enableCallbacks": lambda _: None})()


def _options(limits: Limits) -> dict[str, Any]:
    return {
        "output_flag": False,
        "threads": 1,
        "random_seed": 0,
        "mip_rel_gap": 0.0,
        # All objectives are whole numbers.
        "mip_abs_gap": 0.99,
        "mip_max_nodes": limits.nodes,
        "time_limit": limits.seconds,
    }


def _outcome(highspy: Any, solver: Any) -> Outcome:
    if solver.getModelStatus() == highspy.HighsModelStatus.kInfeasible:
        return Outcome(None, 0, infeasible=True)
    info, solution = solver.getInfo(), solver.getSolution()
    found = info.primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible
    values = np.rint(np.array(solution.col_value)).astype(np.int64) if found else None
    if solver.getModelStatus() == highspy.HighsModelStatus.kOptimal:
        return Outcome(values, round(info.objective_function_value))
    bound = info.mip_dual_bound
    if not np.isfinite(bound):
        return Outcome(values, NO_BOUND)
    return Outcome(values, ceil(bound - 1e-6 * max(1.0, abs(bound))))
