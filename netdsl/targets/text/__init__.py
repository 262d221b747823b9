"""What emitters share: names of variables, the text of kernels, templates, and the gate."""
