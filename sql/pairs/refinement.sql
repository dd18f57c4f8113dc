-- A draft and its revision (a second generation): the better one against the other, both as answers to the prompt itself.
--   $followup = "refine"   the entry of `followup` with the revisions, whose parent is the draft
--   $scorer = "score"      the score of both
--   $min_margin = 0.0      the scores must differ by more than this
--   $flips = "improved"    improved: only where the revision is better; both: also where it is worse, with the draft as the chosen one
--   $per_prompt = null     pairs of a prompt at most, drawn; null: all
-- reason says in which direction the score went. A revision that is as good as its draft makes no pair, nor does one without a score.
-- Source: the flips of self-correction learning (He et al., "Self-Correction is More than Refinement", arXiv 2410.04055), whose pairs
-- too have the plain question as their prompt.
WITH revised AS (
    SELECT
        g.prompt_id,
        g.generation_id AS after_id,
        g.parent_id AS before_id,
        s.value AS after_value,
        d.value AS before_value
    FROM followup.generations AS g
    INNER JOIN followup.scores AS s
        ON s.part = g.part || '/' || s.scorer AND s.item_id = g.generation_id AND s.scorer = $scorer AND s.segment IS NULL
    INNER JOIN rated AS d ON d.generation_id = g.parent_id AND d.scorer = $scorer
    WHERE g.part = 'followup/' || $followup AND s.value IS NOT NULL AND d.value IS NOT NULL
),

paired AS (
    SELECT *, after_value > before_value AS improved
    FROM revised
    WHERE abs(after_value - before_value) > $min_margin AND CASE $flips
        WHEN 'improved' THEN after_value > before_value
        WHEN 'both' THEN true
        ELSE error(format('flips: expected improved or both, found {:s}', $flips))::BOOLEAN
    END
)

SELECT
    prompt_id,
    if(improved, after_id, before_id) AS chosen_id,
    if(improved, before_id, after_id) AS rejected_id,
    abs(after_value - before_value) AS margin,
    if(improved, 'improved by its revision', 'spoilt by its revision') AS reason
FROM paired
QUALIFY $per_prompt::BIGINT IS NULL
    OR row_number() OVER (PARTITION BY prompt_id ORDER BY draw($seed, after_id), after_id) <= $per_prompt
