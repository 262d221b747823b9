"""Whether everything that a spec becomes computes the same, and whether its gradients are right."""
