-- Whether two scores rank a prompt's answers alike, from 0 (reversed) to 1: the same number for every answer of a prompt. Answers
-- that lack one of the scores are left out; a prompt with fewer than two others has none.
--   $first                 a scorer, such as the reward under this round's policy
--   $second                another, such as the reward under the one before
--   $method = "kendall"    kendall: (tau + 1) / 2; spearman: (rho + 1) / 2; top_order: 1 where best and worst answer are the same
--   $over = "prompt"       prompt: each prompt has its own; round: every answer has the mean over prompts
--   $missing = null        mean: a prompt that has none gets the mean over prompts; null: it stays without
-- Source: the consistency rate C of CREAM (Wang et al., arXiv 2410.12735): $over "round" is its `avg`, "prompt" with $missing "mean"
-- its `dyn`. Ranks are ordinal, ties in the order of the samples. Its code joins prompts by position and leaves a prompt out where
-- one answer has no score; its top order compares the ranks of the first and the last sample.
WITH given AS (
    SELECT
        g.generation_id,
        g.prompt_id,
        g.sample,
        scored_value(a.item_id, a.value, g.generation_id, $first) AS ours,
        scored_value(b.item_id, b.value, g.generation_id, $second) AS theirs
    FROM generations AS g
    LEFT JOIN scores AS a ON a.item_id = g.generation_id AND a.scorer = $first AND a.segment IS NULL
    LEFT JOIN scores AS b ON b.item_id = g.generation_id AND b.scorer = $second AND b.segment IS NULL
),

lists AS (
    SELECT
        prompt_id,
        list(ours ORDER BY sample, generation_id) AS ours,
        list(theirs ORDER BY sample, generation_id) AS theirs
    FROM given
    WHERE ours IS NOT NULL AND theirs IS NOT NULL
    GROUP BY prompt_id
),

agreed AS (
    SELECT
        prompt_id,
        CASE $method
            WHEN 'kendall' THEN (kendall_tau(ours, theirs) + 1) / 2
            WHEN 'spearman' THEN (spearman_rho(ours, theirs) + 1) / 2
            WHEN 'top_order' THEN top_order(ours, theirs)
            ELSE error(format('method: expected kendall, spearman or top_order, found {}', $method))::DOUBLE
        END AS consistency
    FROM lists
),

whole AS (SELECT fsum(consistency) / nullif(count(consistency), 0) AS mean FROM agreed)

SELECT
    given.generation_id AS item_id,
    CASE
        WHEN $over = 'round' THEN whole.mean
        WHEN $over <> 'prompt' THEN error(format('over: expected prompt or round, found {}', $over))::DOUBLE
        WHEN agreed.consistency IS NULL AND $missing::VARCHAR = 'mean' THEN whole.mean
        WHEN $missing::VARCHAR <> 'mean' THEN error(format('missing: expected mean or null, found {}', $missing::VARCHAR))::DOUBLE
        ELSE agreed.consistency
    END AS value
FROM given
CROSS JOIN whole
LEFT JOIN agreed ON agreed.prompt_id = given.prompt_id
