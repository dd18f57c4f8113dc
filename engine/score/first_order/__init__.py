"""First-order logic: formulas as text (syntax), and what follows from what (prover)."""
