"""The methods the paper is compared with, and its own ablation: one file per paper."""
