-- best_of_n_kl(n): how far best-of-n sampling is from the policy that it samples: ln(n) - (n - 1) / n nats, an upper bound where
-- scores can tie.
--   n: whole number from 1 up; gives a double
-- Example: best_of_n_kl(4) is 0.636294, best_of_n_kl(16) is 1.835089.
-- Source: Beirami et al., "Theoretical guarantees on the best-of-n alignment policy", arXiv 2401.01879.
CREATE MACRO best_of_n_kl(n) AS ln(n::DOUBLE) - (n::DOUBLE - 1) / n::DOUBLE
