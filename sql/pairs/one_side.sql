-- The best answer of each prompt against a drawn lower one, where one of the two is of a given actor: pairs that are on-policy on one side.
--   $actor             the actor that must have written one of the two, such as "policy"
--   $scorer = "score"  the score that ranks the answers of all actors
--   $min_margin = 0.0  the scores must differ by more than this
-- Where the best answer is the actor's own, any lower answer may be drawn; else only the actor's lower answers. Of several best answers
-- the actor's own, then the earliest sample. A prompt without such a pair makes none; answers without a score take no part.
-- Source: the on-policy preferences of Tulu 3 (Lambert et al., arXiv 2411.15124), which force one side to be the SFT checkpoint.
WITH ranked AS (
    SELECT
        prompt_id,
        generation_id,
        value,
        actor,
        row_number() OVER (PARTITION BY prompt_id ORDER BY value DESC, if(actor = $actor, 0, 1), sample, generation_id) AS best
    FROM rated
    WHERE scorer = $scorer AND value IS NOT NULL
)

SELECT
    w.prompt_id,
    w.generation_id AS chosen_id,
    l.generation_id AS rejected_id,
    w.value - l.value AS margin,
    format('{:s} of {:s} {:g} against {:s} {:g}', $scorer, w.actor, w.value, l.actor, l.value) AS reason
FROM ranked AS w
INNER JOIN ranked AS l ON l.prompt_id = w.prompt_id
WHERE w.best = 1 AND w.value - l.value > $min_margin AND (w.actor = $actor OR l.actor = $actor)
QUALIFY row_number() OVER (PARTITION BY w.prompt_id ORDER BY draw($seed, l.generation_id), l.generation_id) = 1
