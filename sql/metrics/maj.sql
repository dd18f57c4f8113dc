-- maj@k: whether the most frequent final answer of k samples is right (score >= 1); k must be the number of samples.
--   $k  samples that vote, the number after the @
-- The final answer is that of the macro final_answer; numbers compare as numbers. Unparseable answers do not vote; where none
-- votes the value is 0. Equal counts share the vote: the value is the expectation over a fair choice among the tied answers. If
-- a scorer judges more than the final answer, an answer's value is the share of its voters that are right.
-- Source: Wang et al., "Self-Consistency Improves Chain of Thought Reasoning", arXiv 2203.11171.
WITH cut AS (
    SELECT
        prompt_id,
        generation_id,
        score,
        coalesce(verdict, '') <> 'unparseable' AS votes,
        final_answer(response) AS answer
    FROM answers
),

ballots AS (
    SELECT
        prompt_id,
        answer,
        count(generation_id) AS copies,
        count(generation_id) FILTER (WHERE score >= 1) AS right_copies
    FROM cut
    WHERE votes
    GROUP BY ALL
),

winners AS (
    SELECT prompt_id, right_copies / copies AS share
    FROM ballots
    QUALIFY copies = max(copies) OVER (PARTITION BY prompt_id)
),

elected AS (
    SELECT prompt_id, fsum(share) / count(share) AS share
    FROM winners
    GROUP BY prompt_id
),

voters AS (
    SELECT prompt_id, count(generation_id) AS n
    FROM answers
    GROUP BY prompt_id
)

SELECT
    prompt_id,
    CASE
        WHEN $k::BIGINT <> n THEN error(format('k is {} but a prompt has {} samples; they must be equal', $k::BIGINT, n))::DOUBLE
        ELSE coalesce(share, 0.0)
    END AS value
FROM voters LEFT JOIN elected USING (prompt_id)
