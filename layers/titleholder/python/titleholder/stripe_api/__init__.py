"""The only package that imports Stripe's SDK or knows Stripe's wire format."""
