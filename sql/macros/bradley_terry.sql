-- bradley_terry(ours, theirs): the chance that an answer beats another, from their scores: 1 / (1 + exp(theirs - ours)).
--   ours, theirs: numbers in nats; gives a double in [0, 1]
-- Example: bradley_terry(1, -1) is 0.880797, bradley_terry(2, 2) is 0.5.
-- Source: Bradley and Terry, "Rank analysis of incomplete block designs", Biometrika 1952.
CREATE MACRO bradley_terry(ours, theirs) AS sigmoid(ours::DOUBLE - theirs::DOUBLE)
