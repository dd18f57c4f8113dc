-- vote_weight(score, squash, generation_id): what an answer's vote counts by its score: 0 for null, the score itself, or its sigmoid.
--   score: a number; squash: sigmoid or none; generation_id: whose vote it is
--   gives a double from 0 up, and an error that names the answer for a negative weight
-- Example: vote_weight(2, 'none', 'g1') is 2.0, vote_weight(0, 'sigmoid', 'g1') is 0.5.
CREATE MACRO vote_weight(score, squash, generation_id) AS
    CASE
        WHEN score IS NULL THEN 0.0::DOUBLE
        WHEN squash = 'sigmoid' THEN sigmoid(score)
        WHEN squash <> 'none' THEN error(format('squash: expected none or sigmoid, found {}', squash))::DOUBLE
        WHEN score < 0
            THEN error(format('answer {}: a weight of {} (a negative weight cannot vote; try squash: sigmoid)', generation_id, score))::DOUBLE
        ELSE score::DOUBLE
    END
