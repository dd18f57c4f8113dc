-- Whether a model ranks the pairs that train as they are labelled, by round: the share of pairs with log pi(chosen) >= log pi(rejected).
-- It is no reward accuracy, which would look at ratios to the reference. Where the pairs hold the reference's log-probabilities:
-- reference is its own accuracy, idealised that of the policy which minimises the DPO loss exactly, alignment_gap the idealised less
-- the model's, and gap the mean of c = log ref(rejected) - log ref(chosen): pairs above 0 start out ranked wrongly.
--   $logprob            the scorer: an answer's log-probability, the sum (or the mean a token, for the length-normalised accuracy)
--   $beta = 0.1         of DPO
--   $share = 0.99       share of raters behind a pair without a probability; probabilities are clipped to [1 - share, share]
--   $experiment = null  one experiment; null: all
--   $role = "policy"    the model that the pairs train
-- Source: Chen et al., "Preference Learning Algorithms Do Not Learn Preference Rankings", arXiv 2405.19534.
WITH ranked AS (
    SELECT
        p.experiment,
        p.round,
        p.row_id,
        c.value AS chosen,
        r.value AS rejected,
        p.ref_rejected_logps - p.ref_chosen_logps AS gap,
        least(greatest(coalesce(p.probability, $share::DOUBLE), 1.0::DOUBLE - $share::DOUBLE), $share::DOUBLE) AS share
    FROM lake.pairs AS p
    INNER JOIN lake.scores AS c
        ON c.experiment = p.experiment AND c.round = p.source_round AND c.part = 'rollout/' || $logprob AND c.item_id = p.chosen_id
    INNER JOIN lake.scores AS r
        ON r.experiment = p.experiment AND r.round = p.source_round AND r.part = 'rollout/' || $logprob AND r.item_id = p.rejected_id
    WHERE
        p.part = $role
        AND c.value IS NOT NULL
        AND r.value IS NOT NULL
        AND c.segment IS NULL
        AND r.segment IS NULL
        AND ($experiment::VARCHAR IS NULL OR p.experiment = $experiment)
),

summed AS (
    SELECT
        experiment,
        round,
        count(row_id) AS pairs,
        count(row_id) FILTER (WHERE chosen >= rejected) / count(row_id) AS accuracy,
        count(row_id) FILTER (WHERE gap <= 0) / nullif(count(gap), 0) AS reference,
        -- in logs, so that a large gap does not overflow
        count(row_id) FILTER (WHERE ln(idealised_ratio(1, share, $beta)) > gap) / nullif(count(gap), 0) AS idealised,
        fsum(gap) / nullif(count(gap), 0) AS gap
    FROM ranked
    GROUP BY experiment, round
)

SELECT experiment, round, pairs, accuracy, reference, idealised, idealised - accuracy AS alignment_gap, gap
FROM summed
ORDER BY experiment, round
