"""What runs are asked: statistics, measures of networks, exports."""
