"""``understudy report``: runs, families and comparisons as one page of HTML that needs nothing else."""
