-- idealised_ratio(reference_ratio, share, beta): pi(w) / pi(l) of the policy that minimises the DPO loss exactly: the reference's
-- ratio times (share / (1 - share)) ** (1 / beta). Above 1 it ranks the pair as the raters do.
--   reference_ratio: pi_ref(w) / pi_ref(l); share: of raters that prefer w, above 0 and below 1 (clip it); gives a double
-- Example: idealised_ratio(0.25, 0.8, 0.5) is 4, idealised_ratio(0.25, 0.8, 2) is 0.5.
-- Source: Chen et al., "Preference Learning Algorithms Do Not Learn Preference Rankings", arXiv 2405.19534.
CREATE MACRO idealised_ratio(reference_ratio, share, beta) AS
    reference_ratio::DOUBLE * (share::DOUBLE / (1.0::DOUBLE - share::DOUBLE)) ** (1.0::DOUBLE / beta::DOUBLE)
