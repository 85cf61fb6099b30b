"""Dated jobs (バッチ): durable workflows with an id per business date, resumable, re-runnable, dry-runnable."""

from kessai.sdk.jobs.model import DatedJob, JobDone, JobOrder

__all__ = ["DatedJob", "JobDone", "JobOrder"]
