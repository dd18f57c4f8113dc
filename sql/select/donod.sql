-- The right answers whose own gradient step on the output head raises the head's norm most (DON) and moves it least (NOD),
-- ranked by TOPSIS over both.
--   $keep = 0.3       share of the right answers that is kept, rounded down, at least one
--   $direction = "max"  what is good in DON: max or min (small NOD is always good)
--   $eta = 1e-5       size of the step W - eta G
--   $don_weight = 0.5 weight of DON; NOD has the rest
--   $winsor = 0.0     share of each tail of both columns that is drawn in to its quantile, so that one outlier sets no ideal
--   $min_score = 1.0  an answer below it is not right
-- Needs the measure `head_gradient` with the name `head`. Answers of equal text count once.
-- Source: Hu et al., "DONOD: Robust and Generalizable Instruction Fine-Tuning for LLMs via Model-Intrinsic Dataset Pruning",
-- arXiv 2504.14810 (it keeps 20 to 30 %). Accounts of it differ in the direction of DON; no code was published.
WITH steps AS (
    SELECT
        prompt_id,
        generation_id,
        head_head2 AS head2,
        $eta * sqrt(head_norm2) AS nod,
        $eta * $eta * head_norm2 - 2 * $eta * head_dot AS growth
    FROM scored
    WHERE score >= $min_score AND head_norm2 IS NOT NULL
    QUALIFY row_number() OVER (PARTITION BY prompt_id, content_id ORDER BY generation_id) = 1
),

criteria AS (  -- sqrt(head2 + growth) - sqrt(head2), without the cancellation
    SELECT prompt_id, generation_id, growth / (sqrt(greatest(head2 + growth, 0)) + sqrt(head2)) AS don, nod FROM steps
),

bounds AS (
    SELECT
        list_sort(list(don)) AS dons,
        list_sort(list(nod)) AS nods,
        count(1) AS n,
        1 + floor($winsor * (count(1) - 1))::BIGINT AS cut
    FROM criteria
),

drawn_in AS (
    SELECT
        prompt_id,
        generation_id,
        don,
        nod,
        n,
        least(greatest(don, dons[cut]), dons[n + 1 - cut]) AS x,
        least(greatest(nod, nods[cut]), nods[n + 1 - cut]) AS y
    FROM criteria, bounds
),

normal AS (
    SELECT
        *,
        if($direction = 'max', 1, -1) * $don_weight * coalesce(x / nullif(sqrt(fsum(x * x) OVER ()), 0), 0) AS a,
        -(1 - $don_weight) * coalesce(y / nullif(sqrt(fsum(y * y) OVER ()), 0), 0) AS b
    FROM drawn_in
),

distances AS (
    SELECT
        *,
        sqrt((a - max(a) OVER ()) ** 2 + (b - max(b) OVER ()) ** 2) AS to_ideal,
        sqrt((a - min(a) OVER ()) ** 2 + (b - min(b) OVER ()) ** 2) AS to_worst
    FROM normal
),

ranked AS (
    SELECT
        prompt_id,
        generation_id,
        don,
        nod,
        n,
        coalesce(to_worst / nullif(to_ideal + to_worst, 0), 0.5) AS closeness
    FROM distances
)

SELECT
    prompt_id,
    generation_id,
    row_number() OVER (ORDER BY closeness DESC, generation_id) AS rank,
    format('closeness {:.6f}, DON {:.6g}, NOD {:.6g}', closeness, don, nod) AS reason
FROM ranked
QUALIFY rank <= greatest(1, floor($keep * n + 1e-9))
