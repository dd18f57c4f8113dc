-- salmon_score(forward, swapped, variance): how much better the left of two answers follows a principle, from a judge that was asked
-- in both orders; 0 where the two orders name different winners (the judge then follows the place and not the principle).
--   forward, swapped: margins for the left answer, log p(left) - log p(right), where it is shown first and where it is shown second
--   variance: of the principle's margins, so that principles with loud margins do not drown the others; 0 gives 0
-- Example: salmon_score(2, 1, 2) is 0.75, salmon_score(-3, -1, 4) is -0.5, salmon_score(1, -2, 1) is 0.
-- Source: Sun et al., "SALMON: Self-Alignment with Instructable Reward Models" (arXiv 2310.05910), stage 2.
CREATE MACRO salmon_score(forward, swapped, variance) AS
    CASE
        WHEN forward IS NULL OR swapped IS NULL OR variance IS NULL THEN NULL
        WHEN sign(forward) <> sign(swapped) OR variance = 0 THEN 0.0::DOUBLE
        ELSE (forward::DOUBLE + swapped) / 2 / variance
    END
