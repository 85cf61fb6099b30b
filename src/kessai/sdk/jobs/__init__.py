"""Dated jobs (バッチ): durable workflows with an id per business date, resumable, re-runnable, dry-runnable.

A service with dated jobs names this component in its SchemaSpec, after `kessai.foundation.events` and
`kessai.sdk.workflow`, and declares its jobs:

    @define("settlement.daily", version=1)
    async def daily(wf: Workflow[Deps], order: JobOrder) -> JobDone:
        page = Page()
        while not page.last:
            page = await wf.activity(settle_page, PageOrder(order=order, after=page.after))
        return JobDone(done=page.done, note="…")

    async def settle_page(activity: Activity[Deps], asked: PageOrder) -> Page:
        ...
        await progress(deps.database, deps.clock, asked.order, done=page.done, total=page.total)
        return page

    DAILY = DatedJob(name="settlement.daily", summary="…", definition=daily, at="00:30", days_back=1)

What may be relied on:
- A run is the workflow `<job>:<date>#<attempt>` of the service's own engine, so that a crash resumes it where it was.
- Whoever asks for a day whose run is under way joins it. When the day was done, the next attempt begins: the job then
  finds nothing left to do, or what came since. A dry run says what would be done and writes nothing.
- The job's function decides by `order.day`; the clock may show a later day.
- What falls due by itself is started once, whatever number of processes there are, the days in their order.
"""

from kessai.sdk.jobs.model import DatedJob, JobDone, JobOrder, JobRun, RunState, service_of, workflow_id_of
from kessai.sdk.jobs.runs import Started, finish, open_runs, progress, runs_of_day, settle, start, status

__all__ = [
    "DatedJob",
    "JobDone",
    "JobOrder",
    "JobRun",
    "RunState",
    "Started",
    "finish",
    "open_runs",
    "progress",
    "runs_of_day",
    "service_of",
    "settle",
    "start",
    "status",
    "workflow_id_of",
]
