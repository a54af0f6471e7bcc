"""Calls to AWS that are not in `store` (DynamoDB) or `batches/bucket.py` (S3)."""
