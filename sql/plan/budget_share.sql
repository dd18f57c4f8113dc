-- How a round's examples are shared between demonstrations and pairs: keys rho and budget, read by select/ and pairs/budget_share.sql.
--   $rho             share of the examples that train as demonstrations, the others as pairs; above 0 and below 1
--   $budget = null   examples of the round, demonstrations and pairs together; null: as many as there are prompts
-- Source: "Balancing the Budget: Understanding Trade-offs Between Supervised and Preference-Based Finetuning", arXiv 2502.11284.
SELECT
    'rho' AS key,
    CASE
        WHEN $rho > 0 AND $rho < 1 THEN $rho::DOUBLE
        ELSE error(format('rho: expected a share above 0 and below 1, found {}; recipe raft is 1, online-dpo is 0', $rho))::DOUBLE
    END AS value,
    'share of examples that train as demonstrations' AS reason
FROM (SELECT count(1) AS n FROM prompts)
UNION ALL
SELECT
    'budget' AS key,
    least(coalesce($budget::BIGINT, n), n)::DOUBLE AS value,
    'most examples of the round' AS reason
FROM (SELECT count(1) AS n FROM prompts)
