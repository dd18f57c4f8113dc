-- The answer of each prompt that the others agree with, as the picker `consensus` found it; no verifier is asked.
--   $picker = "consensus"  the picker's name
-- Source: Lee et al., "Ensemble-Instruct", EMNLP Findings 2023.
SELECT
    g.prompt_id,
    g.generation_id,
    CASE s.detail ->> '$.rule'
        WHEN 'equal' THEN format('{:s} of {:s} answers are equal', s.detail ->> '$.equal', s.detail ->> '$.answers')
        ELSE format(
            'medoid of {:s} answers, similarities sum to {:.4f}, the least is {:.4f}',
            s.detail ->> '$.answers',
            (s.detail ->> '$.total')::DOUBLE,
            (s.detail ->> '$.least')::DOUBLE
        )
    END AS reason
FROM generations AS g
INNER JOIN scores AS s ON s.item_id = g.generation_id AND s.scorer = $picker
WHERE s.value IS NOT NULL
