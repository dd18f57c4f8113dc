-- Siblings of a tree of answers, one better than the other: nodes that continue the same parent. What stands before them is the prefix.
--   $scorer = "score"     the value of a node
--   $min_margin = 0.0     the values must differ by more than this
--   $all = false          false: the best and the worst child of each parent; true: all ordered pairs of a parent's children
--   $roots = true         also the nodes without a parent: the first steps, which are siblings below the prompt
--   $per_prompt = null    pairs of a prompt at most, drawn; null: all
-- Ties go to the earlier sample; nodes without a value take no part, and an only child makes no pair.
-- Source: step-level pairs of MCTS-DPO (Xie et al., arXiv 2405.00451) and of tree search with learned values; sibling pairs with a gap.
WITH nodes AS (
    SELECT
        prompt_id,
        generation_id,
        value,
        sample,
        depth,
        coalesce(parent_id, '') AS parent,
        row_number() OVER (PARTITION BY prompt_id, parent_id ORDER BY value DESC, sample, generation_id) AS best,
        row_number() OVER (PARTITION BY prompt_id, parent_id ORDER BY value, sample, generation_id) AS worst
    FROM rated
    WHERE scorer = $scorer AND value IS NOT NULL AND ($roots::BOOLEAN OR parent_id IS NOT NULL)
)

SELECT
    w.prompt_id,
    w.generation_id AS chosen_id,
    l.generation_id AS rejected_id,
    w.value - l.value AS margin,
    format('depth {}: {:s} {:g} against {:g}', w.depth, $scorer, w.value, l.value) AS reason
FROM nodes AS w
INNER JOIN nodes AS l ON l.prompt_id = w.prompt_id AND l.parent = w.parent
WHERE w.value - l.value > $min_margin AND ($all::BOOLEAN OR (w.best = 1 AND l.worst = 1))
QUALIFY $per_prompt::BIGINT IS NULL
    OR row_number() OVER (
        PARTITION BY w.prompt_id
        ORDER BY draw($seed, concat(w.generation_id, '/', l.generation_id)), w.generation_id, l.generation_id
    ) <= $per_prompt
