"""Training: token-exact SFT and DPO in a child process whose only channel is a result manifest."""
