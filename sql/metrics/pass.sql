-- pass@k: the chance that at least one of k answers drawn without repetition is right (score >= 1), without bias.
--   $k  answers drawn, the number after the @
-- Source: Chen et al., "Evaluating Large Language Models Trained on Code", arXiv 2107.03374; the macro pass_at_k.
SELECT
    prompt_id,
    pass_at_k(count(generation_id), count(generation_id) FILTER (WHERE score >= 1), $k) AS value
FROM answers
GROUP BY prompt_id
