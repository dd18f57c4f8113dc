-- direction_at(first_, second_, degrees): the reward of an answer with two numbers in the direction of an angle.
--   first_, second_: such as helpfulness and verbosity; degrees: 0 is the first alone, 45 both alike, -45 the second against it
--   gives cos(angle) * first_ + sin(angle) * second_, a double, null where one is null
-- Example: direction_at(70, 30, -15) is 59.850; of (70, 30), (74, 60), (62, 20) and (66, 12) the last is best at -15.
-- Source: Wang et al. (DPA), arXiv 2402.18571.
CREATE MACRO direction_at(first_, second_, degrees) AS
    cos(radians(degrees::DOUBLE)) * first_::DOUBLE + sin(radians(degrees::DOUBLE)) * second_::DOUBLE
