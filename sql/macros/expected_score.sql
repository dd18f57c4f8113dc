-- expected_score(logits): what a scorer model expects: its scores 1, 2, 3, ... weighted by the softmax of their logits.
--   logits: list of numbers, that of score 1 first (DEITA's scorers have six); gives a double
-- Example: expected_score([0, 0, 0, 0, ln(2), ln(4)]) is 4.4.
-- Source: the complexity and quality scorers of Liu et al. (DEITA), arXiv 2312.15685.
CREATE MACRO expected_score(logits) AS
    list_aggregate(list_transform(softmax(logits, 1), lambda share, place: share * place), 'fsum')
