"""Says within a minute what works in a deployed stack, and what to do about the rest. docs/deploying.md has an example.

    python -m tools.smoke --stack titleholder --region eu-central-1

It pays for nothing: Stripe gets reads only, and no account is refreshed. What it writes is marked `smoke` and expires within a day.
"""
