-- kl_k3(difference): the estimator k3 of a KL divergence from one sample of the policy: exp(d) - d - 1 with the difference d = log
-- reference - log policy. Never negative, and of little variance; its mean is the KL of the policy from the reference.
--   difference: number in nats; gives a double
-- Example: kl_k3(-0.5) is 0.106531, kl_k3(0.5) is 0.148721.
-- Source: Schulman, "Approximating KL Divergence", 2020.
CREATE MACRO kl_k3(difference) AS exp(difference::DOUBLE) - difference::DOUBLE - 1.0::DOUBLE
