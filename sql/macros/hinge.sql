-- hinge(x, target): how far x falls short of the target; 0 from there on. A loss: subtract it.
--   x, target: numbers; gives a double from 0 up, null where one is null
-- Example: -0.001 * (hinge(a, 2) + hinge(b, 2) + hinge(c, 2)) is -0.0027 for a = 1.5, b = 2.4, c = -0.2.
-- Source: Zhang et al., "IterComp", arXiv 2410.07171: several reward models, each pushed up to a target and no further.
CREATE MACRO hinge(x, target) AS
    -- greatest passes nulls over
    CASE WHEN x IS NOT NULL AND target IS NOT NULL THEN greatest(target::DOUBLE - x::DOUBLE, 0.0::DOUBLE) END
