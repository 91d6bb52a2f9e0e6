"""What a plan is compared with at equal cost: a small file each, behind `baseline.Baseline`."""
