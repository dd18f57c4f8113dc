-- The decision that counts for each round and role: the newest one made since the round was last opened.
WITH opened AS (
    SELECT
        experiment,
        round,
        max((ingredients ->> '$.opening')::BIGINT) OVER (PARTITION BY experiment ORDER BY round) AS opening
    FROM steps
    WHERE step = 'opening'
)

SELECT
    promotions.experiment,
    promotions.round,
    promotions.role,
    promotions.decision,
    promotions.digest,
    promotions.effective_round,
    promotions.reason,
    promotions.decided_by,
    promotions.sequence,
    promotions."at"
FROM promotions
LEFT JOIN opened ON opened.experiment = promotions.experiment AND opened.round = promotions.round
WHERE promotions.opening >= coalesce(opened.opening, 0)
QUALIFY row_number() OVER (
    PARTITION BY promotions.experiment, promotions.round, promotions.role ORDER BY promotions.sequence DESC, promotions.digest
) = 1
