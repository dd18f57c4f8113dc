-- What the stop rule says after each round: the learning curve of a gate metric, -a x^-b + c, fitted over the rounds so far.
-- x: rounds, or rows trained; gain: what is left to the asymptote; per_round: the part of it that another round would bring;
-- in_a_row: rounds whose gain was at most tau; ends: whether that ends the experiment. Rounds without the rule have no row.
SELECT
    s.experiment,
    s.round,
    s.detail ->> '$.stop.settings.metric' AS metric,
    s.detail ->> '$.stop.settings.x' AS unit,
    (s.detail ->> '$.stop.points')::BIGINT AS points,
    (s.detail ->> '$.stop.x')::DOUBLE AS x,
    (s.detail ->> '$.stop.value')::DOUBLE AS value,
    (s.detail ->> '$.stop.asymptote')::DOUBLE AS asymptote,
    (s.detail ->> '$.stop.exponent')::DOUBLE AS exponent,
    (s.detail ->> '$.stop.gain')::DOUBLE AS gain,
    (s.detail ->> '$.stop.per_round')::DOUBLE AS per_round,
    (s.detail ->> '$.stop.settings.tau')::DOUBLE AS tau,
    (s.detail ->> '$.stop.in_a_row')::BIGINT AS in_a_row,
    (s.detail ->> '$.stop.ends')::BOOLEAN AS ends,
    s.detail ->> '$.stop.why' AS why
FROM steps AS s
INNER JOIN decisions AS d ON d.experiment = s.experiment AND d.round = s.round AND d.role = 'policy'
WHERE s.step = 'promotion' AND (s.detail -> '$.stop') IS NOT NULL
