"""Batches of verifications: their life cycle, the steps of `verify_batch`, manifests and the bucket."""
