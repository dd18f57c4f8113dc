-- dpo_ranking_loss(gap, beta): the DPO loss of a pair at or below which its ranking is right: -ln(sigmoid(beta * gap)).
--   gap: log pi_ref(l) - log pi_ref(w), how much the reference prefers the rejected answer, in nats; gives a double
-- Example: dpo_ranking_loss(2, 0.1) is 0.598139, dpo_ranking_loss(50, 0.1) is 0.006715.
-- Source: Chen et al., "Preference Learning Algorithms Do Not Learn Preference Rankings", arXiv 2405.19534.
CREATE MACRO dpo_ranking_loss(gap, beta) AS
    greatest(0.0::DOUBLE - beta::DOUBLE * gap::DOUBLE, 0.0::DOUBLE) + ln(1.0::DOUBLE + exp(0.0::DOUBLE - abs(beta::DOUBLE * gap::DOUBLE)))
