"""How well a bank finds and compresses: data sets, metrics, baselines; whoever asks the bank is passed in."""
