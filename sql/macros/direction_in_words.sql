-- direction_in_words(degrees): the whole numbers by which a prompt says a direction: 100 times its cosine and sine.
--   degrees: angle; gives a list of two whole numbers
-- Example: direction_in_words(-15) is [97, -26], as in "maximize weighted rating = helpfulness*97 + verbosity*-26".
-- Source: the README of Directional-Preference-Alignment (DPA, arXiv 2402.18571).
CREATE MACRO direction_in_words(degrees) AS
    [round(100.0::DOUBLE * cos(radians(degrees::DOUBLE)))::BIGINT, round(100.0::DOUBLE * sin(radians(degrees::DOUBLE)))::BIGINT]
