-- cooldown(first, last, round, rounds): a setting that goes from `first` in round 0 to `last` in the last round in equal steps.
--   rounds: how many there are; later rounds stay at `last`, a single round is at `first`
-- Example: cooldown(5, 1, 1, 3) is 3.
-- Source: the schedule of the sampling temperature in "Upsample or Upweight?", arXiv 2410.04579.
CREATE MACRO cooldown("first", "last", round, rounds) AS
    "first"::DOUBLE + ("last"::DOUBLE - "first"::DOUBLE) * if(rounds > 1, least(greatest(round, 0)::DOUBLE / (rounds - 1), 1.0::DOUBLE), 0.0::DOUBLE)
