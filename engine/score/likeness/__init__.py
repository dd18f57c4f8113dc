"""How alike answers are: METEOR, BLEU, n-gram sets, vectors. Measures and SQL use them; none knows a table."""
